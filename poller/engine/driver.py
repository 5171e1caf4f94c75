"""Drives one machine: waits for facts, has commands carried out, nothing else.

Each command runs in a task of its own and posts one fact; only this loop touches the machine, so
the machine needs no lock.  Plain asyncio tasks, since this is the hot path: a task of an anyio
group costs three times as much, and the batch budget is about a hundred microseconds.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from poller.core.model import Instant, Seconds
from poller.core.steps import Finish, Started, Stopping, Ticked

TICK_MIN: Seconds = 0.001  # timers are no finer than this


class Machine(Protocol):
    finished: bool

    def handle(self, fact: Any, now: Instant) -> Sequence[Any]: ...

    def deadline(self) -> Instant | None: ...


Perform = Callable[[Any], Awaitable[Any]]  # carries out one command, returns its one fact
Saw = Callable[[Any, Sequence[Any], Instant], None]  # told of each fact and what it led to


class Driver:
    """Runs a machine to its end.  `clock` gives the machine its time."""

    def __init__(
        self, machine: Machine, perform: Perform, *, clock: Callable[[], Instant], saw: Saw
    ) -> None:
        self._machine = machine
        self._perform = perform
        self._clock = clock
        self._saw = saw
        self._facts: deque[Any] = deque([Started()])
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: asyncio.Future[None] | None = None
        self._broken: BaseException | None = None

    def stop(self, until: Instant) -> None:
        """Tell the machine to start nothing that cannot end before `until`."""
        self.post(Stopping(until))

    async def run(self) -> Finish:
        """Return the machine's last command.  Raises what carrying out a command raised."""
        try:
            while True:
                while self._facts:
                    finish = self._step(self._facts.popleft())
                    if finish is not None:
                        return finish
                await self._wait()
        finally:
            await self._end_tasks()

    def _step(self, fact: Any) -> Finish | None:
        now = self._clock()
        commands = self._machine.handle(fact, now)
        self._saw(fact, commands, now)
        for command in commands:
            if isinstance(command, Finish):
                return command
            task = asyncio.create_task(self._carry_out(command))
            self._tasks.add(task)
            task.add_done_callback(self._done)
        return None

    async def _carry_out(self, command: Any) -> None:
        self.post(await self._perform(command))

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broken = self._broken or error
            self._wake()

    def post(self, fact: Any) -> None:
        """Tell the machine of something that no command of its own brought about."""
        self._facts.append(fact)
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def _wait(self) -> None:
        """Until a fact is posted, or the machine's deadline makes one."""
        if self._broken is not None:
            raise self._broken
        deadline = self._machine.deadline()
        loop = asyncio.get_running_loop()
        self._waiting = loop.create_future()
        timer = None
        if deadline is not None:
            wait = max(deadline - self._clock(), TICK_MIN)
            timer = loop.call_later(wait, self._wake)
        try:
            await self._waiting
        finally:
            self._waiting = None
            if timer is not None:
                timer.cancel()
        if self._broken is not None:
            raise self._broken
        if not self._facts:
            self._facts.append(Ticked())

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
