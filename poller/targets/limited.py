"""How many invocations run at one time: of one function, and of all together as in an account.

Over a limit an invocation waits for its turn, up to a second; then it counts as throttled.
"""

from __future__ import annotations

import asyncio
from collections import deque

from poller.core.model import Seconds
from poller.interfaces import Invocation, NotReached, Reply, Target

PATIENCE: Seconds = 1.0
WAITING_MAX = 1000  # invocations that wait for one limit

OWN_REASON = "ReservedFunctionConcurrentInvocationLimitExceeded"
TOTAL_REASON = "ConcurrentInvocationLimitExceeded"


class Slots:
    """At most `limit` at one time, first come first served; None: without a limit.

    `whose` says in messages what is running, `reason` what AWS calls it when there are too many.
    """

    def __init__(self, limit: int | None, *, whose: str, reason: str) -> None:
        self.busy = 0
        self.limit = limit
        self.reason = reason
        self._whose = whose
        self._waiting: deque[asyncio.Future[None]] = deque()

    def change(self, limit: int | None) -> None:
        """From now on; what runs beyond it goes on."""
        self.limit = limit
        self._pass_on()

    async def take(self, patience: Seconds) -> bool:
        """Whether there was a slot in time; it is to be given back."""
        if not self._waiting and self._has_room():
            self.busy += 1
            return True
        if len(self._waiting) >= WAITING_MAX:
            return False
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(patience):
                await turn
        except TimeoutError:
            self._leave(turn)
            return False
        except asyncio.CancelledError:
            self._leave(turn)
            raise
        return True

    def give_back(self) -> None:
        self.busy -= 1
        self._pass_on()

    def refusal(self) -> NotReached:
        """What an invocation comes to that waited in vain."""
        why = f"{self._whose} running {self.limit} times already"
        return NotReached(why, throttled=True, reason=self.reason)

    def _has_room(self) -> bool:
        return self.limit is None or self.busy < self.limit

    def _pass_on(self) -> None:
        while self._waiting and self._has_room():
            turn = self._waiting.popleft()
            if not turn.done():
                self.busy += 1
                turn.set_result(None)

    def _leave(self, turn: asyncio.Future[None]) -> None:
        """Wait no longer; a slot that came at the last moment goes to the next one."""
        if turn in self._waiting:
            self._waiting.remove(turn)
        elif turn.done() and not turn.cancelled():
            self.give_back()


class Limited:
    """The Target that a declared function is for everybody: `target` behind its limits.

    `own` are the function's slots, `total` those of all functions together.
    """

    def __init__(self, target: Target, *, own: Slots, total: Slots) -> None:
        self._target = target
        self._own = own
        self._total = total

    async def invoke(self, invocation: Invocation) -> Reply:
        if not await self._own.take(PATIENCE):
            return self._own.refusal()
        try:
            if not await self._total.take(PATIENCE):
                return self._total.refusal()
            try:
                return await self._target.invoke(invocation)
            finally:
                self._total.give_back()
        finally:
            self._own.give_back()
