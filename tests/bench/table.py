"""The result of a benchmark as a table, ratios first: they travel between machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

from tests.bench.rows import Row
from tests.bench.sampling import Sample


def table(rows: Sequence[Row], best: Mapping[str, Sample]) -> Table:
    """`best` holds the best sample of each row, by what it measures."""
    shown = Table()
    shown.add_column("what")
    for heading in ("budget", "measured", "per CPU-second", "each"):
        shown.add_column(heading, justify="right")
    for row in rows:
        ratio = _ratio(row, best)
        rate = best[row.what].rate
        figures = (f"{rate:,.0f} {row.unit}s", f"{1e6 / rate:,.2f} us")
        shown.add_row(row.what, _budget(row), _measured(row, ratio), *figures)
    return shown


def _ratio(row: Row, best: Mapping[str, Sample]) -> float | None:
    """To the row it is compared with, else to its budget."""
    rate = best[row.what].rate
    if row.of is not None:
        return rate / best[row.of].rate
    return None if row.least is None else rate / row.least


def _budget(row: Row) -> str:
    if row.least is None:
        return ""
    if row.of is None:
        return f"{row.least:,.0f} {row.unit}s"
    return f"{row.least:.2f} of {_short(row.of)}"


def _short(what: str) -> str:
    """The name of a row up to its colon."""
    return what.partition(":")[0]


def _measured(row: Row, ratio: float | None) -> str:
    if ratio is None:
        return ""
    text = f"{ratio:.2f} of " + ("budget" if row.of is None else _short(row.of))
    if row.least is None:
        return text
    kept = ratio >= (1.0 if row.of is None else row.least)
    return f"[green]{text}[/green]" if kept else f"[red]{text}: missed[/red]"
