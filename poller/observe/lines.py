"""How `run` and `demo` get on where nobody watches: a line in the log now and then."""

from __future__ import annotations

import asyncio
import logging

from poller.core.model import Seconds

from .board import Board
from .progress import Row, describe, lag_text, rows
from .tally import Tally

LINES_PERIOD: Seconds = 30.0

logger = logging.getLogger("poller.progress")


async def follow_in_log(board: Board, tally: Tally) -> None:
    """A line for each mapping that changed, so that an idle service is quiet; until cancelled."""
    logged: dict[str, dict[str, object]] = {}
    while True:
        await asyncio.sleep(LINES_PERIOD)
        for row in rows(board, tally):
            fields = _fields(row)
            if logged.get(row.uuid) != fields:
                logged[row.uuid] = fields
                logger.info("progress of %s", describe(row, ascii_only=True), extra=fields)


def log_summary(board: Board, tally: Tally) -> None:
    """A line for what became of each mapping, where a table would not do: among lines of JSON."""
    for row in rows(board, tally):
        counts = row.counts
        fields = {
            **_fields(row),
            "delivered": counts.delivered,
            "kept": counts.kept,
            "dropped": counts.dropped,
        }
        logger.info("summary of %s", describe(row, ascii_only=True), extra=fields)


def _fields(row: Row) -> dict[str, object]:
    return {
        "mapping": row.uuid,
        "function": row.function,
        "state": row.state,
        "polled": row.counts.polled,
        "ok": row.counts.succeeded,
        "failed": row.counts.failed,
        "retries": row.counts.retries,
        "in_flight": row.in_flight,
        "lag": lag_text(row),
    }
