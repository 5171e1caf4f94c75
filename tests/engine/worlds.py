"""A whole engine in virtual time: memory adapters and a scriptable function."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from poller.core.model import Fate
from poller.core.policy import QueuePolicy, StreamPolicy
from poller.engine.clock import Clock
from poller.engine.shared import Shared
from poller.engine.specs import QueueSpec, StreamSpec
from poller.engine.supervisor import Supervisor
from poller.interfaces import Errored, Failure, Invocation, Observer, Ran, Reply, StoredMapping
from poller.observe.board import Board
from poller.sources.memory import MemoryStream
from poller.sources.memory_queue import MemoryQueue
from poller.stores.memory import MemoryStore

EPOCH = 1_700_000_000.0
STREAM = "arn:aws:kinesis:us-east-1:000000000000:stream/orders"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:jobs"
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:work"


class LoopClock(Clock):
    """Virtual time: what looptime makes of the event loop's clock."""

    def now(self) -> float:
        return EPOCH + asyncio.get_running_loop().time()


@dataclass
class Call:
    """One invocation as the function saw it."""

    event: dict[str, Any]
    begun: float
    ended: float | None = None

    @property
    def records(self) -> list[dict[str, Any]]:
        return self.event["Records"]

    @property
    def bodies(self) -> list[str]:
        return [record.get("data", record.get("body")) for record in self.records]


Answer = Callable[[Call], Awaitable[Reply] | Reply]


@dataclass
class Function:
    """A Target that records its calls; `answer` says what each of them gives."""

    clock: Clock
    answer: Answer = lambda call: Ran(b"")
    duration: float = 0.01
    calls: list[Call] = field(default_factory=list)

    async def invoke(self, invocation: Invocation) -> Reply:
        call = Call(json.loads(invocation.event), self.clock.now())
        self.calls.append(call)
        await asyncio.sleep(self.duration)
        reply = self.answer(call)
        if not isinstance(reply, Ran | Errored) and hasattr(reply, "__await__"):
            reply = await reply
        call.ended = self.clock.now()
        return reply

    @property
    def seen(self) -> list[str]:
        """Everything of calls that succeeded or not, in the order of the calls."""
        return [body for call in self.calls for body in call.bodies]


@dataclass
class World:
    shared: Shared
    store: MemoryStore
    function: Function
    failures: list[Failure] = field(default_factory=list)
    fate: Fate = Fate.SENT  # of failures

    async def deliver(self, failure: Failure) -> Fate:
        self.failures.append(failure)
        return self.fate

    def stored(self, source_arn: str, uuid: str = "uuid-1", **request: Any) -> StoredMapping:
        return StoredMapping(uuid, source_arn, FUNCTION, "file", request, EPOCH, EPOCH)

    def stream_spec(
        self, source: MemoryStream, *, latest: bool = False, reporting: bool = False, **policy: Any
    ) -> StreamSpec:
        return StreamSpec(
            stored=self.stored(STREAM, **{"StartingPosition": "LATEST" if latest else "TRIM"}),
            function="work",
            target=self.function,
            reporting=reporting,
            function_timeout=3.0,
            source=source,
            policy=StreamPolicy(**policy),
            latest=latest,
            destination="arn:aws:sqs:us-east-1:000000000000:failed",
            deliver=self.deliver,
        )

    def queue_spec(
        self, source: MemoryQueue, *, reporting: bool = False, **policy: Any
    ) -> QueueSpec:
        return QueueSpec(
            stored=self.stored(QUEUE, "uuid-2"),
            function="work",
            target=self.function,
            reporting=reporting,
            function_timeout=3.0,
            source=source,
            policy=QueuePolicy(**policy),
        )

    @asynccontextmanager
    async def running(self, *specs: StreamSpec | QueueSpec) -> AsyncIterator[Supervisor]:
        for spec in specs:
            await self.store.put(spec.stored)
        async with Supervisor(self.shared) as supervisor:
            await supervisor.apply(specs)
            yield supervisor
            await supervisor.stop()


def make_world(store: MemoryStore | None = None, *observers: Observer) -> World:
    clock = LoopClock()
    store = store or MemoryStore()
    return World(Shared(clock, store, Board(clock.now), observers), store, Function(clock))


async def until(condition: Callable[[], bool], *, seconds: float = 600.0) -> None:
    """Wait, in virtual time, until something is so."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - virtual time, and anything may be waited for
            await asyncio.sleep(0.05)
