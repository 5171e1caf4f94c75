"""The process's bound on unsettled bytes, shared by the machines of all shards."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

BYTES_MAX = 512 * 1024 * 1024


class ByteBudget:
    """Readers wait for room while all machines together hold `bytes_max`.

    A machine that holds nothing may still read, one such machine at a time, so that stuck shards
    never starve the others; the bound may be passed by one reply.
    """

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._held: dict[Hashable, int] = {}
        self._total = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._last_resort = asyncio.Lock()

    def holds(self, owner: Hashable, size: int) -> None:
        """What `owner` holds now, in bytes; 0 forgets it."""
        self._total += size - self._held.get(owner, 0)
        if size:
            self._held[owner] = size
        else:
            self._held.pop(owner, None)
        while self._waiting and self._total < self._bytes_max:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)

    @asynccontextmanager
    async def room(self, owner: Hashable) -> AsyncIterator[None]:
        """Enter once `owner` may read, leave when what it read is held."""
        if self._total >= self._bytes_max and not self._held.get(owner):
            async with self._last_resort:
                yield
            return
        while self._total >= self._bytes_max:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter
        yield
