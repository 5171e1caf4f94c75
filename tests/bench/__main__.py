"""Measures every row side by side in a few short rounds; the best sample of each counts."""

from __future__ import annotations

import argparse
import asyncio
import gc
from collections.abc import Sequence

from rich.console import Console
from rich.progress import track

from tests.bench.canned import CANNED
from tests.bench.rows import ROWS, Row
from tests.bench.sampling import Sample
from tests.bench.table import table
from tests.servers import running

ROUNDS = 3
SECONDS = 1.0
WARM_UP_SECONDS = 0.05
WIDTH_MIN = 110  # where the output is not a terminal, rich would take 80


def main() -> None:
    arguments = _arguments()
    rows = [row for row in ROWS if _is_wanted(row, ROWS, arguments.only)]
    with running(CANNED) as server:
        best = measured(rows, server.url, rounds=arguments.rounds, seconds=arguments.seconds)
    console = Console()
    console.width = max(console.width, WIDTH_MIN)
    console.print(table(rows, best))


def measured(rows: Sequence[Row], url: str, *, rounds: int, seconds: float) -> dict[str, Sample]:
    """The best sample of each row; rows alternate, so that a slow moment hits them alike."""
    gc.freeze()  # what was imported is no garbage, and not to be searched for any
    best: dict[str, Sample] = {}
    turns = [(row, number) for number in range(rounds) for row in rows]
    for row, number in track(turns, "measuring", transient=True):
        if number == 0:
            asyncio.run(_sample(row, url, WARM_UP_SECONDS))
        gc.collect()
        sample = asyncio.run(_sample(row, url, seconds))
        best[row.what] = max(sample, best.get(row.what, sample), key=lambda each: each.rate)
    return best


async def _sample(row: Row, url: str, seconds: float) -> Sample:
    return await row.measure(url, seconds)


def _is_wanted(row: Row, rows: Sequence[Row], only: str) -> bool:
    """Whether its name holds `only`, or a wanted row is compared with it."""
    compared = {other.of for other in rows if only.lower() in other.what.lower()}
    return only.lower() in row.what.lower() or row.what in compared


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="default: %(default)s")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="of each sample, default: %(default)s"
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="only rows that are called so")
    return parser.parse_args()


if __name__ == "__main__":
    main()
