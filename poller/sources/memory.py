"""A stream in memory with the semantics that the engine relies on, for tests and labs.

Time is what `now` says.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from poller.core.model import EVERYTHING, Instant, Position, Record
from poller.core.shards import Shard
from poller.core.steps import Fetched, FetchFailed
from poller.errors import SourceMissing

HASH_KEYS = 2**32


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
        return len(event_json(self.event())) + len(",")


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

    def unpin(self) -> None:
        self._pins.clear()

    def reader(self, shard: str, resume: Position | None) -> MemoryReader:
        sequence = resume.sequence if resume else None
        since = resume.since if resume and sequence is None else None
        after = int(sequence or 0)
        if since is not None and self._pins.get(shard, (None, 0))[0] == since:
            after, since = self._pins[shard][1], None  # the pin's own iterator is still here
        return MemoryReader(self, shard, after, since)

    def event(self, shard: str, records: Sequence[Record]) -> bytes:
        return event_json({"Records": [r.event() for r in cast(Sequence[MemoryRecord], records)]})

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


def event_json(event: dict[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()
