"""A stream and a queue in memory with the semantics that the engine relies on, for tests and labs.

Time is what `now` says; only the queue's long poll waits, on asyncio's clock.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from poller.core.model import EVERYTHING, Instant, Message, MessageBatch, Position, Record, Seconds
from poller.core.shards import Shard
from poller.core.steps import (
    Deleted,
    Extended,
    Fetched,
    FetchFailed,
    Received,
    ReceiveFailed,
    Released,
)
from poller.errors import SourceMissing

HASH_KEYS = 2**32
LONG_POLL: Seconds = 20.0


@dataclass(frozen=True, slots=True)
class MemoryRecord:
    sequence: str
    key: str
    arrived_at: Instant
    data: str

    def event(self) -> dict[str, Any]:
        return {"sequence": self.sequence, "key": self.key, "data": self.data}

    @property
    def size(self) -> int:
        return len(_json(self.event())) + len(",")


@dataclass(slots=True)
class ShardLog:
    """The records of the hash keys from `low` up to `high`, oldest first."""

    shard: Shard
    low: int
    high: int
    records: list[MemoryRecord] = field(default_factory=list)


class MemoryStream:
    """A ShardSource.  `outage`: while set, why nothing can be listed or read."""

    def __init__(self, *, now: Callable[[], Instant], shards: int = 1) -> None:
        self.now = now
        self.outage: str | None = None
        self.logs: dict[str, ShardLog] = {}
        self._sequence = 0
        self._pins: dict[str, tuple[Instant, int]] = {}
        for i in range(shards):
            self._open((), HASH_KEYS * i // shards, HASH_KEYS * (i + 1) // shards)

    def put(self, key: str, data: str = "") -> MemoryRecord:
        """Add a record to the open shard that `key` belongs to."""
        place = zlib.crc32(key.encode())
        opened = (log for log in self.logs.values() if not log.shard.closed)
        log = next(log for log in opened if log.low <= place < log.high)
        log.records.append(MemoryRecord(str(self._tick()), key, self.now(), data))
        return log.records[-1]

    def split(self, shard: str) -> tuple[str, str]:
        """Close `shard` and open two children."""
        log = self._close(shard)
        middle = (log.low + log.high) // 2
        return self._open((shard,), log.low, middle), self._open((shard,), middle, log.high)

    def merge(self, shard: str, other: str) -> str:
        """Close two neighbours and open their child."""
        low, high = sorted((self._close(shard), self._close(other)), key=lambda log: log.low)
        assert low.high == high.low, "only neighbours merge"
        return self._open((shard, other), low.low, high.high)

    def trim(self, before: Instant) -> None:
        """Forget records that arrived before this instant, and closed shards left without any."""
        for name, log in tuple(self.logs.items()):
            log.records = [record for record in log.records if record.arrived_at >= before]
            if log.shard.closed and not log.records:
                del self.logs[name]

    async def shards(self) -> Sequence[Shard]:
        if self.outage is not None:
            raise SourceMissing(self.outage)
        return [log.shard for log in self.logs.values()]

    async def pin(self) -> Mapping[str, Position]:
        listed, pin = await self.shards(), (self.now(), self._sequence)
        self._pins = {shard.id: pin for shard in listed if not shard.closed}
        ended, tip = Position(ended=True), Position(since=self.now())
        return {shard.id: ended if shard.closed else tip for shard in listed}

    def reader(self, shard: str, resume: Position | None) -> MemoryReader:
        sequence = resume.sequence if resume else None
        since = resume.since if resume and sequence is None else None
        after = int(sequence or 0)
        if since is not None and self._pins.get(shard, (None, 0))[0] == since:
            after, since = self._pins[shard][1], None  # the pin's own iterator is still here
        return MemoryReader(self, shard, after, since)

    def event(self, shard: str, records: Sequence[Record]) -> bytes:
        return _json({"Records": [r.event() for r in cast(Sequence[MemoryRecord], records)]})

    def _open(self, parents: tuple[str, ...], low: int, high: int) -> str:
        name = f"shard-{self._tick():06}"
        self.logs[name] = ShardLog(Shard(name, parents), low, high)
        return name

    def _close(self, shard: str) -> ShardLog:
        log = self.logs[shard]
        assert not log.shard.closed, f"{shard} is closed already"
        log.shard = Shard(shard, log.shard.parents, closed=True)
        return log

    def _tick(self) -> int:
        self._sequence += 1
        return self._sequence


class MemoryReader:
    """A ShardReader; a shard that has been trimmed away has ended."""

    def __init__(self, stream: MemoryStream, shard: str, after: int, since: Instant | None) -> None:
        self._stream, self._shard, self._after, self._since = stream, shard, after, since

    async def read(self, limit: int) -> Fetched | FetchFailed:
        asked_at = self._stream.now()
        if self._stream.outage is not None:
            return FetchFailed(self._stream.outage)
        log = self._stream.logs.get(self._shard)
        left = [record for record in log.records if self._is_ahead(record)] if log else []
        page, rest = left[:limit], left[limit:]
        if page:
            self._after = int(page[-1].sequence)
        ended = not rest and (log is None or log.shard.closed)
        read_up_to = rest[0].arrived_at if rest else EVERYTHING if ended else asked_at
        return Fetched(page, sum(record.size for record in page), asked_at, read_up_to, ended)

    async def ready(self) -> None:
        """At once: what there is to read is not known before it is read."""

    def close(self) -> None:
        """Nothing is held between reads."""

    def _is_ahead(self, record: MemoryRecord) -> bool:
        early = self._since is not None and record.arrived_at < self._since
        return int(record.sequence) > self._after and not early


@dataclass(frozen=True, slots=True)
class MemoryMessage:
    """A received message; each receive of it gives another `receipt`."""

    id: str
    receipt: str
    group: str | None
    body: str
    receive_count: int

    def event(self) -> dict[str, Any]:
        attributes = {"ApproximateReceiveCount": str(self.receive_count)}
        return {"messageId": self.id, "body": self.body, "attributes": attributes}

    @property
    def size(self) -> int:
        return len(_json(self.event())) + len(",")


@dataclass(slots=True)
class _Waiting:
    id: str
    group: str | None
    body: str
    visible_at: Instant
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

    def send(self, body: str, *, group: str | None = None, delay: Seconds = 0.0) -> str:
        """Add a message and return its id."""
        self._sent += 1
        name = f"message-{self._sent:06}"
        self.waiting[name] = _Waiting(name, group, body, self.now() + delay)
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
        return _json({"Records": [m.event() for m in cast(Sequence[MemoryMessage], messages)]})

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
            messages.append(MemoryMessage(w.id, w.receipt, w.group, w.body, w.receive_count))
        return Received(messages, sum(message.size for message in messages), limit, expires_at)

    async def _change(self, timeout: Seconds) -> None:
        """Return when the queue has changed, or after `timeout`."""
        self._changed.clear()
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            return


def _json(event: dict[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()
