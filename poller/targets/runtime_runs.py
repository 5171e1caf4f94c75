"""Invocations on their way through a Runtime API, by request id.

Each is `queued` until a runtime asks for it, then `taken` until it is answered, and `late` if it
ended without an answer (timed out, cancelled, its runtime seemed gone): what still comes for it is
ignored.  Those that are over are remembered for a while, to tell a late answer from a wrong one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from poller.core.model import Seconds
from poller.interfaces import Invocation, Reply

QUEUED_MAX = 1000  # invocations that wait for a runtime
ENDED_MAX = 1000  # invocations remembered after their end

What = TypeVar("What")


@dataclass(slots=True, eq=False)
class Run:
    """One invocation; `timeout` is what it has left of `whole`, the function's.

    `timer` ends it, and so does `leaving` once its runtime is held for gone.
    """

    invocation: Invocation
    timeout: Seconds
    whole: Seconds
    reply: asyncio.Future[Reply]
    taken_at: Seconds = 0.0
    client: bytes = b""  # the User-Agent that took it
    timer: asyncio.TimerHandle | None = None
    leaving: asyncio.TimerHandle | None = None

    @property
    def id(self) -> str:
        return self.invocation.request_id

    def settle(self, reply: Reply) -> None:
        """The first reply counts."""
        if not self.reply.done():
            self.reply.set_result(reply)

    def leave_after(self, grace: Seconds, reply: Reply) -> None:
        """Its runtime is through with it: it comes to `reply` if no answer comes meanwhile."""
        if self.leaving is None:
            self.leaving = self.reply.get_loop().call_later(grace, self.settle, reply)

    def stop_timers(self) -> None:
        for timer in (self.timer, self.leaving):
            if timer is not None:
                timer.cancel()


class Runs:
    """All invocations of one Runtime API."""

    def __init__(self) -> None:
        self.queued: dict[str, Run] = {}
        self.taken: dict[str, Run] = {}
        self.late: dict[str, bool] = {}  # whether its runtime was held for gone
        self._answered: dict[str, None] = {}

    @property
    def owed(self) -> bool:
        """Whether a runtime still works on one, also if it has timed out."""
        return bool(self.taken or self.late)

    def are_with(self, ids: Iterable[str]) -> bool:
        """Whether runtimes that can be known work, on one in time or on one of `ids` late."""
        return bool(self.taken) or any(each in self.late for each in ids)

    def is_open(self, request_id: str) -> bool:
        """Whether an answer would be accepted."""
        return request_id in self.taken or request_id in self.late

    def was_answered(self, request_id: str) -> bool:
        return request_id in self._answered

    def oldest_queued(self) -> Run | None:
        while self.queued:
            run = self.queued.pop(next(iter(self.queued)))
            if not run.reply.done():  # it was not cancelled a moment ago
                return run
        return None

    def answer(self, request_id: str) -> tuple[Run | None, bool]:
        """The run that an answer is for, None if it comes late; and whether its runtime was held
        for gone."""
        _remember(self._answered, request_id, None)
        run = self.taken.pop(request_id, None)
        if run is None:
            return None, self.late.pop(request_id, False)
        return run, run.leaving is not None

    def drop(self, request_id: str) -> Run | None:
        """Its runtime is through with it without an answer."""
        self.late.pop(request_id, None)
        return self.taken.pop(request_id, None)

    def let_go(self, run: Run) -> None:
        """Nobody waits for its reply any more."""
        run.stop_timers()
        self.queued.pop(run.id, None)
        if self.taken.pop(run.id, None) is not None:
            _remember(self.late, run.id, run.leaving is not None)


def _remember(memory: dict[str, What], name: str, what: What) -> None:
    """Add to a bounded memory; the oldest goes first."""
    memory[name] = what
    if len(memory) > ENDED_MAX:
        del memory[next(iter(memory))]
