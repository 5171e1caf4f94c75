"""One life of one queue: its machine, and how each of its commands is carried out."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

from poller.core.model import Instant, Snapshot
from poller.core.queues import QueueMachine
from poller.core.steps import (
    Delete,
    Extend,
    Finish,
    Invoked,
    InvokeMessages,
    QueueCommand,
    QueueFact,
    Receive,
    Release,
)
from poller.interfaces import Unit

from .driver import Driver
from .filtering import Accept, Filtering
from .invoking import invoke_messages
from .shared import Shared
from .specs import QueueSpec


class QueueRun:
    """Polls a queue until it is stopped."""

    def __init__(self, spec: QueueSpec, shared: Shared) -> None:
        self._spec = spec
        self._shared = shared
        self._unit = Unit(spec.uuid, spec.function, spec.stored.source_arn, "")
        self._machine = QueueMachine(spec.policy, seed=zlib.crc32(spec.uuid.encode()))
        self._filtering = Filtering(self._accept(), self._unit.source_arn)
        self._driver = Driver(self._machine, self._perform, clock=shared.clock.now, saw=self._saw)

    async def run(self) -> None:
        """Raises what nobody expected."""
        board = self._shared.board
        board.register(self._unit, snapshot=self.snapshot, deadline=self._machine.deadline)
        try:
            await self._driver.run()
        finally:
            board.unregister(self._unit)

    def stop(self, until: Instant) -> None:
        self._driver.stop(until)

    def snapshot(self) -> Snapshot:
        return self._machine.snapshot()

    def _accept(self) -> Accept | None:
        spec = self._spec
        if spec.make_accept is None:
            return None
        return spec.make_accept(lambda message: spec.source.event([message]))

    def _saw(self, fact: Any, commands: Sequence[Any], now: Instant) -> None:
        self._shared.saw(self._unit, fact, commands, now)

    async def _perform(self, command: QueueCommand) -> QueueFact:
        source = self._spec.source
        match command:
            case Receive(limit):
                return self._filtering.marked(await source.receive(limit))
            case InvokeMessages(batch):
                now, tracer = self._shared.clock.now(), self._shared.tracer
                outcome = await invoke_messages(self._spec, self._unit, batch, tracer, now)
                return Invoked(batch.id, outcome)
            case Delete(messages):
                return await source.delete(messages)
            case Release(messages):
                return await source.release(messages)
            case Extend(batch, seconds):
                return await source.extend(batch, seconds)
            case Finish():
                raise AssertionError("Finish is the driver's")
