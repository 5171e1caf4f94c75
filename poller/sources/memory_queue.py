"""A queue in memory with the semantics that the engine relies on, for tests and labs.

Time is what `now` says; only the long poll waits, on asyncio's clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from poller.core.model import Instant, Message, MessageBatch, Seconds
from poller.core.steps import Deleted, Extended, Received, ReceiveFailed, Released
from poller.errors import SourceMissing

from .memory import event_json

LONG_POLL: Seconds = 20.0


@dataclass(frozen=True, slots=True)
class MemoryMessage:
    """A received message; each receive of it gives another `receipt`."""

    id: str
    receipt: str
    group: str | None
    body: str
    receive_count: int
    trace_header: str | None = None
    traceparent: str | None = None

    def event(self) -> dict[str, Any]:
        attributes = {"ApproximateReceiveCount": str(self.receive_count)}
        return {"messageId": self.id, "body": self.body, "attributes": attributes}

    @property
    def size(self) -> int:
        return len(event_json(self.event())) + len(",")


@dataclass(slots=True)
class _Waiting:
    id: str
    group: str | None
    body: str
    visible_at: Instant
    trace_header: str | None
    traceparent: str | None
    receive_count: int = 0

    @property
    def receipt(self) -> str:
        return f"{self.id}#{self.receive_count}"


class MemoryQueue:
    """A QueueSource, FIFO where messages have groups.  `outage`: while set, why nothing works."""

    def __init__(self, *, now: Callable[[], Instant], visibility: Seconds = 30.0) -> None:
        self.now = now
        self.visibility = visibility
        self.outage: str | None = None
        self.waiting: dict[str, _Waiting] = {}
        self._sent = 0
        self._changed = asyncio.Event()

    def send(
        self,
        body: str,
        *,
        group: str | None = None,
        delay: Seconds = 0.0,
        trace_header: str | None = None,
        traceparent: str | None = None,
    ) -> str:
        """Add a message and return its id."""
        self._sent += 1
        name = f"message-{self._sent:06}"
        visible_at = self.now() + delay
        self.waiting[name] = _Waiting(name, group, body, visible_at, trace_header, traceparent)
        self._changed.set()
        return name

    async def check(self) -> None:
        if self.outage is not None:
            raise SourceMissing(self.outage)

    async def receive(self, limit: int) -> Received | ReceiveFailed:
        give_up_at = self.now() + LONG_POLL
        while self.outage is None:
            found = self._receivable()[:limit]
            if found or self.now() >= give_up_at:
                return self._received(found, limit)
            hidden = [w.visible_at for w in self.waiting.values() if w.visible_at > self.now()]
            await self._change(min([give_up_at, *hidden]) - self.now())
        return ReceiveFailed(self.outage, limit)

    async def delete(self, messages: Sequence[Message]) -> Deleted:
        """As SQS: an outdated receipt deletes nothing, and only a FIFO queue says so."""
        if self.outage is not None:
            return Deleted(0, len(messages))
        failed = 0
        for message in messages:
            waiting = self.waiting.get(message.id)
            is_current = waiting is not None and waiting.receipt == message.receipt
            if message.group is not None and waiting and waiting.visible_at <= self.now():
                is_current = False
            if is_current:
                del self.waiting[message.id]
            failed += not is_current and message.group is not None
        self._changed.set()
        return Deleted(len(messages) - failed, failed)

    async def release(self, messages: Sequence[Message]) -> Released:
        for message in messages:
            waiting = self.waiting.get(message.id)
            if self.outage is None and waiting and waiting.receipt == message.receipt:
                waiting.visible_at = self.now()
        self._changed.set()
        return Released()

    async def extend(self, batch: MessageBatch, seconds: int) -> Extended:
        """As SQS: of messages that are hidden by their latest receipt."""
        if self.outage is not None:
            return Extended(batch.id, None)
        expires_at = self.now() + seconds
        hidden = 0
        for message in batch.messages:
            waiting = self.waiting.get(message.id)
            if waiting and waiting.receipt == message.receipt and waiting.visible_at > self.now():
                waiting.visible_at = expires_at
                hidden += 1
        return Extended(batch.id, expires_at if hidden else None)

    async def backlog(self) -> int | None:
        return None if self.outage else len(self._receivable())

    def event(self, messages: Sequence[Message]) -> bytes:
        return event_json({"Records": [m.event() for m in cast(Sequence[MemoryMessage], messages)]})

    def _receivable(self) -> list[_Waiting]:
        """What is visible, oldest first; a group waits as a whole while any of it is hidden."""
        hidden = {id(w): w for w in self.waiting.values() if w.visible_at > self.now()}
        locked = {w.group for w in hidden.values() if w.group is not None}
        return [w for w in self.waiting.values() if id(w) not in hidden and w.group not in locked]

    def _received(self, found: Sequence[_Waiting], limit: int) -> Received:
        expires_at = self.now() + self.visibility
        messages = []
        for w in found:
            w.visible_at = expires_at
            w.receive_count += 1
            messages.append(
                MemoryMessage(
                    w.id,
                    w.receipt,
                    w.group,
                    w.body,
                    w.receive_count,
                    w.trace_header,
                    w.traceparent,
                )
            )
        return Received(messages, sum(message.size for message in messages), limit, expires_at)

    async def _change(self, timeout: Seconds) -> None:
        """Return when the queue has changed, or after `timeout`."""
        self._changed.clear()
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            return
