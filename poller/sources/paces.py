"""How fast this process may call one shard: all readers of a shard take turns at one pace."""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary

from poller.core.model import Seconds

GET_RECORDS_SPACING: Seconds = 0.2  # AWS answers 5 calls a second of a shard (spec 3.1)
SUBSCRIBE_SPACING: Seconds = 1.0  # AWS takes one call a second of a consumer and shard


class Pace:
    """Turns that are `spacing` apart, in the order in which they are asked for."""

    def __init__(self, spacing: Seconds) -> None:
        self._spacing = spacing
        self._next: float = float("-inf")  # of the running loop's clock

    async def turn(self) -> None:
        """Return when it is this caller's turn.  A turn that is cancelled is lost."""
        now = asyncio.get_running_loop().time()
        at = max(now, self._next)
        self._next = at + self._spacing
        if at > now:
            await asyncio.sleep(at - now)

    def rest(self, length: Seconds) -> None:
        """Let no further turn begin for `length`; turns that were given stay given."""
        self._next = max(self._next, asyncio.get_running_loop().time() + length)


class Paces:
    """The paces of this process, by stream and shard; one lives while a reader holds it."""

    def __init__(self, spacing: Seconds = GET_RECORDS_SPACING) -> None:
        self._spacing = spacing
        self._held: WeakValueDictionary[tuple[str, str], Pace] = WeakValueDictionary()

    def of(self, stream_arn: str, shard: str) -> Pace:
        pace = self._held.get((stream_arn, shard))
        if pace is None:
            pace = self._held[stream_arn, shard] = Pace(self._spacing)
        return pace
