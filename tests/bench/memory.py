"""How much memory `poller run` takes, as a process: idle, per idle shard and per busy one.

    python -m tests.bench.memory

Streams of the canned server feed a child process whose resident memory is read from /proc once it
has had time to fill what it keeps.  A budget is that of a process with nothing to do, and so much
more for each shard.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench import replies
from tests.bench.canned import CANNED
from tests.outside.poller_process import Running, poller
from tests.servers import running
from tests.waiting import eventually

MIB = 1024 * 1024
BASE_BYTES_MAX = 60 * MIB
SECONDS = 15.0  # of running before memory is read, which is when it has levelled off
LOOK = 0.25
WIDTH_MIN = 110  # where the output is not a terminal, rich would take 80


@dataclass(frozen=True, slots=True)
class Load:
    """One line of the table: `stream` tells the canned server what it has, such as `busy-8`.

    `shard_bytes_max` is the budget of a shard.
    """

    what: str
    stream: str
    shards: int
    shard_bytes_max: int


BASE = Load("1 idle shard: the base", "idle-1", 0, 0)
LOADS = (
    BASE,
    Load("idle shards", "idle-100", 100, 100 * 1024),
    Load("idle shards", "idle-1000", 1000, 100 * 1024),
    Load("busy shards, BatchSize 100", "busy-8", 8, 2 * MIB),
)


@dataclass(frozen=True, slots=True)
class Resident:
    """Bytes of resident memory: at the end, and the most that was ever there."""

    last: int
    peak: int


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.memory", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="default: %(default)s")
    seconds = parser.parse_args().seconds
    with running(CANNED) as server:
        found = [measured(load, server.url, seconds) for load in LOADS]
    console = Console()
    console.width = max(console.width, WIDTH_MIN)
    console.print(table(found))


def measured(load: Load, url: str, seconds: float) -> Resident:
    """What `poller run` takes after so many seconds of this load."""
    config = {
        "aws": {"region": replies.REGION, "endpoints": {"kinesis": url}},
        "functions": {"nothing": {"url": url, "timeout": 30}},
        "mappings": [
            {
                "EventSourceArn": replies.arn(load.stream),
                "FunctionName": "nothing",
                "StartingPosition": "TRIM_HORIZON",
                "BatchSize": 100,
            }
        ],
    }
    with poller(config) as process:
        eventually(lambda: process.metrics("poller_fetches_total") >= max(load.shards, 1))
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            time.sleep(LOOK)
        found = resident(process)
        process.kill()
    return found


def resident(process: Running) -> Resident:
    """VmRSS and VmHWM of a process of Linux."""
    status = Path(f"/proc/{process.process.pid}/status").read_text()
    lines = dict(line.split(":", 1) for line in status.splitlines())
    last, peak = (int(lines[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    return Resident(last, peak)


def table(found: Sequence[Resident]) -> Table:
    """Loads with what was found for each, in their order; the first is the base."""
    shown = Table()
    shown.add_column("what")
    for heading in ("budget", "resident", "peak", "budget of a shard", "each shard"):
        shown.add_column(heading, justify="right")
    base = found[0].last
    for load, it in zip(LOADS, found, strict=True):
        budget = BASE_BYTES_MAX + load.shards * load.shard_bytes_max
        each = (it.last - base) / load.shards if load.shards else 0.0
        shown.add_row(
            f"{load.shards} {load.what}" if load.shards else load.what,
            _mib(budget),
            _judged(_mib(it.last), kept=it.last <= budget),
            _mib(it.peak),
            _kib(load.shard_bytes_max) if load.shards else "",
            _judged(_kib(each), kept=each <= load.shard_bytes_max) if load.shards else "",
        )
    return shown


def _judged(text: str, *, kept: bool) -> str:
    return f"[green]{text}[/green]" if kept else f"[red]{text}: missed[/red]"


def _mib(size: float) -> str:
    return f"{size / MIB:,.1f} MiB"


def _kib(size: float) -> str:
    return f"{size / 1024:,.0f} KiB"


if __name__ == "__main__":
    main()
