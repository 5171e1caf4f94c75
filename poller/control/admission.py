"""Bounds what requests to Invoke hold while they are under way, and knows when none is left.

Whoever asked may go away; what was asked for runs on, as on AWS, and counts until it has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from poller.targets.limited import TOTAL_REASON

from .refusals import SERVICE, Refusal, Throttled

REQUESTS_MAX = 10_000
HELD_BYTES_MAX = 256 * 1024 * 1024  # of all events together

Hold = Callable[[int], None]  # told of every byte that a request begins to hold; raises Refusal


class Admission:
    """`requests` are under way now."""

    def __init__(self, requests_max: int = REQUESTS_MAX, bytes_max: int = HELD_BYTES_MAX) -> None:
        self._requests_max = requests_max
        self._bytes_max = bytes_max
        self.requests = 0
        self._bytes = 0
        self._closed = False
        self._left: asyncio.Event | None = None

    @contextmanager
    def request(self) -> Iterator[Hold]:
        """A request is under way.  Raises Refusal where there are too many, or once closed."""
        if self._closed:
            raise Refusal(SERVICE, "poller is stopping: nothing is invoked any more.")
        if self.requests >= self._requests_max:
            raise Throttled(TOTAL_REASON)
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            if self._bytes + size > self._bytes_max:
                raise Throttled(TOTAL_REASON)
            self._bytes += size
            held += size

        self.requests += 1
        try:
            yield hold
        finally:
            self.requests -= 1
            self._bytes -= held
            if self._left is not None and not self.requests:
                self._left.set()

    async def close(self) -> None:
        """Admit nothing more; return when all that was admitted has ended."""
        self._closed = True
        if self.requests:
            self._left = asyncio.Event()
            await self._left.wait()
