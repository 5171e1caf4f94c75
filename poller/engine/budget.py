"""The process's bound on unsettled bytes, shared by the machines of all shards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

BYTES_MAX = 512 * 1024 * 1024


class ByteBudget:
    """Readers wait for room while all machines together hold `bytes_max`.

    What a read is expected to bring is reserved while it is under way.  A machine that holds
    nothing may always read, one such machine at a time where there is no room, so that stuck shards
    never starve the others.  The bound is passed only by what reads bring beyond expectation.
    """

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._held: dict[Hashable, int] = {}
        self._total = 0  # held and reserved
        self._waiting: list[asyncio.Future[None]] = []
        self._last_resort = asyncio.Lock()

    def holds(self, owner: Hashable, size: int) -> None:
        """What `owner` holds now, in bytes; 0 forgets it."""
        before = self._held.get(owner, 0)
        self._total += size - before
        if size:
            self._held[owner] = size
        else:
            self._held.pop(owner, None)
        if size < before:
            self._wake()

    @asynccontextmanager
    async def room(self, owner: Hashable, expected: int) -> AsyncIterator[None]:
        """Enter once `owner` may read about `expected` bytes; leave when what it read is held."""
        while self._total >= self._bytes_max and self._held.get(owner):
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter
        if self._total >= self._bytes_max:
            async with self._last_resort:
                yield
            return
        self._total += expected
        try:
            yield
        finally:
            self._total -= expected
            self._wake()

    def _wake(self) -> None:
        """Let everybody who waits look again."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                if not waiter.done():
                    waiter.set_result(None)
