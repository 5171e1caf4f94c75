"""When a poller has nothing left to do: what `--until-idle` waits for."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from poller.core.lifecycle import State
from poller.core.model import Seconds
from poller.observe.board import Board
from poller.observe.tally import Tally

IDLE_LOOK: Seconds = 0.1  # between looks at whether everything is idle


async def wait_until_idle(
    is_idle: Callable[[], bool], board: Board, tally: Tally, seconds: Seconds
) -> None:
    """Return once every mapping has been caught up, with nothing in flight, for so long.

    `is_idle`: whether that is so now, as far as what runs knows.
    """
    idle_since: float | None = None
    seen = -1
    while True:
        before, seen = seen, _records_seen(board, tally)
        now = anyio.current_time()
        if before != seen or _waits(board) or not is_idle():
            idle_since = None
        elif idle_since is None:
            idle_since = now
        if idle_since is not None and now - idle_since >= seconds:
            return
        await anyio.sleep(IDLE_LOOK)


def _waits(board: Board) -> bool:
    """Whether the source of a mapping is not there yet."""
    return any(status.state == State.CREATING for status in board.mappings())


def _records_seen(board: Board, tally: Tally) -> int:
    """Rises with everything that is read or run."""
    counts = tally.sums(status.uuid for status in board.mappings())
    return sum(count.polled + count.invoked for count in counts.values())
