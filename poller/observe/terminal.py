"""How `run` and `demo` get on: a live table on a terminal, else a line in the log now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from poller.core.model import Seconds

from .board import Board
from .lines import follow_in_log
from .progress import Row, describe, lag_text, number_text, rows, total
from .tally import Tally

REFRESH_PERIOD: Seconds = 0.5
WIDE = 110  # columns from which numbers are written in full, and all of them are shown
NOTES_MAX = 3
SUMMARY_MAX = 200  # mappings; writing thousands takes seconds and helps nobody
NAME_WIDTH_MIN = 12
STATE_WIDTH = 9
FRAME_HEIGHT = 5  # lines of a frame that are neither mappings nor notes

_STYLES = {"Enabled": "green", "blocked": "red", "Disabled": "dim"}


@dataclass(frozen=True, slots=True)
class _Column:
    """`widths`: on a narrow terminal (0: not shown there) and on a wide one."""

    heading: str
    widths: tuple[int, int]
    value: Callable[[Row], int | str]


_POLLED = _Column("polled", (6, 9), lambda row: row.counts.polled)
_RETRIES = _Column("retries", (7, 7), lambda row: row.counts.retries)
_LIVE = (
    _POLLED,
    _Column("ok", (6, 9), lambda row: row.counts.succeeded),
    _Column("failed", (6, 7), lambda row: row.counts.failed),
    _RETRIES,
    _Column("to dest.", (0, 8), lambda row: row.counts.delivered),
    _Column("dropped", (0, 7), lambda row: row.counts.dropped),
    _Column("running", (7, 7), lambda row: row.in_flight),
    _Column("lag", (9, 9), lag_text),
)
_SUMMARY = (
    _POLLED,
    _Column("delivered", (9, 9), lambda row: row.counts.succeeded),
    _RETRIES,
    _Column("to dest.", (8, 8), lambda row: row.counts.delivered),
    _Column("kept", (6, 7), lambda row: row.counts.kept),
    _Column("dropped", (7, 7), lambda row: row.counts.dropped),
)


class Progress:
    """Shows `board` and `tally` on `console`, by default stderr; `title` stands above the table.

    In it, `ok` and `delivered` are what the function finished with, `to dest.` what failure
    destinations got instead, `kept` what they will get once they work.
    """

    def __init__(
        self, board: Board, tally: Tally, *, title: str = "", console: Console | None = None
    ) -> None:
        self._board = board
        self._tally = tally
        self._title = title
        self._console = console or Console(stderr=True, highlight=False)
        self._lines: list[str] = []

    async def follow(self) -> None:
        """Show how things are until cancelled; a live table is gone then."""
        if not self._console.is_terminal:
            await follow_in_log(self._board, self._tally)
            return
        # No thread refreshes it: machines may be looked into from the event loop only.
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            while True:
                live.update(self._frame(), refresh=True)
                await asyncio.sleep(REFRESH_PERIOD)

    def print_summary(self) -> None:
        """What became of everything, with a total; of very many mappings those that polled."""
        mappings = rows(self._board, self._tally)
        shown = mappings
        if len(mappings) > SUMMARY_MAX:
            shown = sorted(mappings, key=lambda row: not row.counts.polled)[:SUMMARY_MAX]
        self._console.print(self._table(_SUMMARY, (*shown, total(mappings))))
        if len(mappings) > len(shown):
            self._console.print(f"with {len(mappings) - len(shown)} more in the total")

    def _frame(self) -> Group:
        mappings = rows(self._board, self._tally)
        notes = [row for row in mappings if row.note][:NOTES_MAX]
        room = max(1, self._console.height - FRAME_HEIGHT - len(notes))
        parts: list[Table | Text] = [self._table(_LIVE, mappings[:room], states=True)]
        if self._title:
            parts.insert(0, Text(self._title, "bold", no_wrap=True))
        if len(mappings) > room:
            parts.append(Text(f"and {len(mappings) - room} more", "dim"))
        for row in notes:
            text = " ".join(f"{row.kind} {row.source}: {row.note}".split())
            parts.append(Text(text, "yellow", no_wrap=True, overflow="ellipsis"))
        return Group(*parts)

    def _table(
        self, columns: Sequence[_Column], mappings: Sequence[Row], *, states: bool = False
    ) -> Table:
        wide = self._console.width >= WIDE
        columns = [column for column in columns if column.widths[wide]]
        widths = [column.widths[wide] for column in columns]
        gap = 2 if wide else 1
        # The box itself puts one blank between columns.
        table = Table(box=SIMPLE_HEAD, padding=(0, gap - 1, 0, 0), pad_edge=False, show_edge=False)
        taken = sum(widths, STATE_WIDTH if states else 0) + gap * (len(widths) + states)
        names = self._names(mappings, max(NAME_WIDTH_MIN, self._console.width - taken))
        table.add_column("mapping", width=max(map(len, (*names, "mapping"))), no_wrap=True)
        if states:
            table.add_column("state", width=STATE_WIDTH, no_wrap=True)
        for column, width in zip(columns, widths, strict=True):
            table.add_column(column.heading, width=width, justify="right", no_wrap=True)
        for name, row in zip(names, mappings, strict=True):
            state = [Text(row.state, _STYLES.get(row.state, "yellow"))] if states else []
            table.add_row(Text(name), *state, *_cells(columns, widths, row))
        return table

    def _names(self, mappings: Sequence[Row], width: int) -> list[str]:
        ascii_only = self._console.options.ascii_only
        return [describe(row, width, ascii_only=ascii_only) for row in mappings]


def _cells(columns: Sequence[_Column], widths: Sequence[int], row: Row) -> list[Text]:
    values = (column.value(row) for column in columns)
    return [
        Text(value if isinstance(value, str) else number_text(value, width))
        for value, width in zip(values, widths, strict=True)
    ]
