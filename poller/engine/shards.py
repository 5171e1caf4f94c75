"""One life of one shard: its machine, and how each of its commands is carried out."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import anyio

from poller.core.model import Discard, Fate, Instant, Position, Snapshot
from poller.core.steps import (
    Checkpoint,
    Checkpointed,
    Command,
    Deliver,
    Delivered,
    Fact,
    Fetch,
    Fetched,
    FetchFailed,
    Finish,
    Invoke,
    Invoked,
)
from poller.core.streams import StreamMachine
from poller.interfaces import Failure, Unit
from poller.wire.arns import stream_of
from poller.wire.failures import describe_discard

from .driver import Driver
from .filtering import Accept, Filtering
from .insisting import insist
from .invoking import event_of, invoke_records, new_id
from .shared import Shared
from .specs import StreamSpec

READ_BYTES_MIN = 64 * 1024


class ShardRun:
    """Reads a shard from `resume` on until it ends or is stopped."""

    def __init__(
        self, spec: StreamSpec, shard: str, resume: Position | None, shared: Shared
    ) -> None:
        self._spec = spec
        self._shard = shard
        self._shared = shared
        self._unit = Unit(spec.uuid, spec.function, spec.stored.source_arn, shard)
        self._reader = spec.source.reader(shard, resume)
        self._machine = StreamMachine(spec.policy, resume=resume, seed=zlib.crc32(shard.encode()))
        self._filtering = Filtering(self._accept(), shard)
        self._driver = Driver(self._machine, self._perform, clock=shared.clock.now, saw=self._saw)
        self._reading: anyio.CancelScope | None = None
        self._expected = READ_BYTES_MIN  # what the next read may bring, going by the last
        self._stopping = False

    async def run(self) -> None:
        """Return once the shard has ended or is stopped.  Raises what nobody expected."""
        board = self._shared.board
        board.register(self._unit, snapshot=self.snapshot, deadline=self._machine.deadline)
        try:
            await self._driver.run()
        finally:
            self._reader.close()
            board.unregister(self._unit)
            self._shared.budget.holds(self, 0)

    def stop(self, until: Instant) -> None:
        self._stopping = True
        if self._reading is not None:
            self._reading.cancel()
        self._driver.stop(until)

    def snapshot(self) -> Snapshot:
        return self._machine.snapshot()

    def _saw(self, fact: Any, commands: Sequence[Any], now: Instant) -> None:
        self._shared.budget.holds(self, self._machine.unsettled_bytes)
        self._shared.saw(self._unit, fact, commands, now)

    async def _perform(self, command: Command) -> Fact:
        match command:
            case Invoke(batch):
                now, tracer = self._shared.clock.now(), self._shared.tracer
                outcome = await invoke_records(self._spec, self._unit, command, tracer, now)
                return Invoked(batch.id, outcome)
            case Checkpoint(position):
                await self._save(position)
                return Checkpointed()
            case Fetch(limit):
                return await self._fetch(limit)
            case Deliver(discard):
                return Delivered(discard.batch.id, await self._deliver(discard))
            case Finish():
                raise AssertionError("Finish is the driver's")

    async def _fetch(self, limit: int) -> Fetched | FetchFailed:
        """A read is given up when stopping: its records come again with the next one."""
        if not self._stopping:
            with anyio.CancelScope() as self._reading:
                await self._reader.ready()
                async with self._shared.budget.room(self, self._expected):
                    fetched = await self._reader.read(limit)
                    if isinstance(fetched, Fetched):
                        self._expected = max(READ_BYTES_MIN, fetched.size)
                        held = self._machine.unsettled_bytes + fetched.size
                        self._shared.budget.holds(self, held)
                    return self._filtering.marked(fetched)
        return FetchFailed("stopping")

    def _accept(self) -> Accept | None:
        spec, shard = self._spec, self._shard
        if spec.make_accept is None:
            return None
        return spec.make_accept(lambda record: spec.source.event(shard, [record]))

    async def _save(self, position: Position) -> None:
        """A store that fails holds the shard up: nothing goes on that is not durable."""
        store, uuid, shard = self._shared.store, self._spec.uuid, self._shard
        await insist(
            lambda: store.save(uuid, shard, position), f"storing the position of {self._shard}"
        )

    async def _deliver(self, discard: Discard) -> Fate:
        spec = self._spec
        if spec.destination is None or spec.deliver is None:
            return Fate.DROPPED
        document = describe_discard(
            discard,
            mapping_uuid=spec.uuid,
            shard=self._shard,
            stream_arn=stream_of(spec.stored.source_arn),
            function_arn=spec.stored.function_arn,
            event=event_of(spec, self._shard, discard.batch.records, discard.window)
            if spec.destination_takes_events
            else None,
            now=self._shared.clock.now(),
            object_id=new_id(),
            fallback_request_id=new_id(),
        )
        failure = Failure(
            mapping=spec.uuid,
            function=spec.function,
            shard=self._shard,
            destination=spec.destination,
            document=document.document,
            payload=document.payload,
            key=document.key,
            records=len(discard.batch.records),
        )
        return await spec.deliver(failure)
