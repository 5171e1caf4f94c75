"""How many invocations run at one time: of one function, and of all together as in an account.

Over a limit an invocation waits for its turn, up to a second; then it counts as throttled.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from poller.core.model import Seconds
from poller.interfaces import Invocation, NotReached, Reply, Target

PATIENCE: Seconds = 1.0
WAITING_MAX = 1000  # invocations that wait for one limit

OWN_REASON = "ReservedFunctionConcurrentInvocationLimitExceeded"
TOTAL_REASON = "ConcurrentInvocationLimitExceeded"


class FunctionObserver(Protocol):
    """Told how the invocations of one function fare.

    The Observer of what machines do sees those of mappings alone.
    """

    def throttled(self) -> None:
        """An invocation found no free slot."""

    def began(self) -> None:
        """One has its slots and goes to the function."""

    def ended(self, reply: Reply | None, seconds: Seconds) -> None:
        """One that began has ended, after `seconds`; None: it was given up from outside."""


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

    async def take(self, until: float) -> bool:
        """Whether there was a slot before the loop's time is `until`; it is to be given back."""
        if not self._waiting and self._has_room():
            self.busy += 1
            return True
        if len(self._waiting) >= WAITING_MAX:
            return False
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout_at(until):
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

    `own` are the function's slots, `total` those of all functions together.  `observer` is told of
    every invocation: this is the one place that all of them pass, those of mappings, of the Invoke
    API and asynchronous ones.
    """

    def __init__(
        self, target: Target, *, own: Slots, total: Slots, observer: FunctionObserver
    ) -> None:
        self._target = target
        self._own = own
        self._total = total
        self._observer = observer
        self._inside = 0  # invocations that run or wait
        self._emptied: asyncio.Event | None = None

    async def invoke(self, invocation: Invocation) -> Reply:
        time = asyncio.get_running_loop().time
        self._inside += 1
        try:
            full = await self._enter(time() + PATIENCE)
            if full is not None:
                self._observer.throttled()
                return full.refusal()
            return await self._run(invocation, time)
        finally:
            self._inside -= 1
            if self._emptied is not None and not self._inside:
                self._emptied.set()

    async def emptied(self) -> None:
        """Return once none of its invocations runs or waits; one caller at a time."""
        if self._inside:
            self._emptied = asyncio.Event()
            await self._emptied.wait()

    async def _run(self, invocation: Invocation, time: Callable[[], float]) -> Reply:
        reply: Reply | None = None
        began = time()
        self._observer.began()
        try:
            reply = await self._target.invoke(invocation)
            return reply
        finally:
            self._observer.ended(reply, time() - began)
            self._total.give_back()
            self._own.give_back()

    async def _enter(self, until: float) -> Slots | None:
        """Take a slot of both kinds; which kind there was none of in time, if so."""
        own, total = self._own, self._total
        if not await own.take(until):
            return own
        try:
            entered = await total.take(until)
        except BaseException:
            own.give_back()
            raise
        if entered:
            return None
        own.give_back()
        return total
