"""The pipe that a process prints into, whose other end is read here."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from poller.core.model import Seconds

READ_BYTES = 64 * 1024  # of one process at one time, so that nobody keeps the event loop
DRAIN_BYTES_MAX = 1024 * 1024  # when all that is there is wanted: more than a pipe holds


class Pipe:
    """Passes on what is printed, in pieces, as soon as it is there.

    Not the event loop's own pipes: what lies in it can be had at once with `drain`, so what a
    process printed before it answered is known to belong to before its answer.
    """

    def __init__(self, on_data: Callable[[bytes], None]) -> None:
        self._on_data = on_data
        self._on_closed: Callable[[], None] = lambda: None
        self._end: int | None = None
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Open it; in the block the end to print into is there to be inherited."""
        self._end, inlet = os.pipe()
        os.set_blocking(self._end, False)
        asyncio.get_running_loop().add_reader(self._end, self._read)
        try:
            yield inlet
        except BaseException:
            self._close()
            raise
        finally:
            os.close(inlet)

    def drain(self) -> None:
        """Pass on what has been printed by now."""
        for _ in range(DRAIN_BYTES_MAX // READ_BYTES):
            if not self._read():
                return

    def close_soon(self, grace: Seconds, on_closed: Callable[[], None]) -> None:
        """Close it at its end, but within `grace`, and say so: somebody may hold it open."""
        if self._end is None:
            on_closed()
        else:
            self._on_closed = on_closed
            self._timer = asyncio.get_running_loop().call_later(grace, self._close)

    def _read(self) -> bool:
        """Whether there was something."""
        if self._end is None:
            return False
        try:
            data = os.read(self._end, READ_BYTES)
        except BlockingIOError:
            return False
        if data:
            self._on_data(data)
        else:
            self._close()
        return bool(data)

    def _close(self) -> None:
        if self._end is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        asyncio.get_running_loop().remove_reader(self._end)
        os.close(self._end)
        self._end = None
        self._on_closed()
