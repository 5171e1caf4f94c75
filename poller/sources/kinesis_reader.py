"""Reads one Kinesis shard onwards, past expired iterators, trimmed positions and lost shards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from poller.aws.client import AwsError, JsonClient
from poller.core.model import BEGINNING, EVERYTHING, Instant, Seconds
from poller.core.shards import Shard
from poller.core.steps import Fetched, FetchFailed
from poller.errors import SourceMissing
from poller.wire.kinesis import KinesisCodec, KinesisRecord, Malformed, RecordsReply

from .kinesis_places import (
    GONE,
    INVALID,
    OLDEST,
    THROTTLED_FOR,
    Seek,
    after,
    reach,
    the_end,
    warn_lost,
    warn_unknown,
)
from .paces import Pace

FETCH_MAX = 10_000  # records of one GetRecords
FULL_REPLY_BYTES = 10 * 1024 * 1024 * 4 // 3  # of JSON: 10 MiB as base64
FULL_REPLY_REST: Seconds = 5.0  # AWS throttles calls within five seconds of a 10 MiB reply
_BAD_ITERATOR = INVALID | {GONE, "ExpiredIteratorException"}


class Stream(Protocol):
    """What a reader asks of its stream."""

    async def shards(self) -> Sequence[Shard]: ...

    async def iterator(self, shard: str, seek: Seek) -> str: ...


class KinesisReader:
    """A `ShardReader`.

    The place of a reader is `_seek`, after the last record that it handed out; `_iterator` is a
    shortcut to it that may expire.  Both move in one step, when a reply has become a Fetched.
    """

    def __init__(
        self,
        stream: Stream,
        client: JsonClient,
        codec: KinesisCodec,
        *,
        shard: str,
        seek: Seek,
        iterator: str | None,
        now: Callable[[], Instant],
        pace: Pace,
    ) -> None:
        self._stream = stream
        self._client = client
        self._codec = codec
        self._shard = shard
        self._seek = seek
        self._iterator = iterator
        self._now = now
        self._pace = pace
        self._read_up_to = BEGINNING
        self._ended = False

    async def read(self, limit: int) -> Fetched | FetchFailed:
        """Up to `limit` records; waits for the shard's turn first.

        What goes wrong outside is a FetchFailed.  May be cancelled at any time.
        """
        if self._ended:
            return the_end(self._now())
        limit = max(1, min(limit, FETCH_MAX))
        try:
            return await self._read(limit)
        except (AwsError, Malformed, SourceMissing) as error:
            return self._failed(error)

    async def ready(self) -> None:
        """At once: what there is to read is not known before it is read."""

    def close(self) -> None:
        """Nothing is held between reads."""

    async def _read(self, limit: int) -> Fetched:
        """One read, by this table:

        | GetRecords or GetShardIterator says | then                                          |
        | the iterator expired, or is unknown | seek anew and try once more, unseen           |
        | not found, the shard is not listed  | the shard is lost: it ends, with a warning    |
        | not found, the stream is gone       | fail; seek anew when there is a stream again  |
        | anything else                       | fail                                          |
        """
        await self._pace.turn()
        try:
            return await self._get(limit)
        except AwsError as error:
            if error.code not in _BAD_ITERATOR:
                raise
            was_held, self._iterator = self._iterator is not None, None
            if error.code == GONE and not await self._is_listed():
                return self._lost()
            if not was_held:
                raise
        await self._pace.turn()
        return await self._get(limit)

    async def _get(self, limit: int) -> Fetched:
        if self._iterator is None:
            self._iterator = await self._sought()
        asked_at = self._now()
        request = {"ShardIterator": self._iterator, "Limit": limit}
        body = await self._client.call("GetRecords", msgspec.json.encode(request))
        reply = self._codec.reply(self._shard, body)
        if len(body) >= FULL_REPLY_BYTES:
            self._pace.rest(FULL_REPLY_REST)
        return self._fetched(reply, self._codec.size_max(reply.records, body), limit, asked_at)

    async def _sought(self) -> str:
        """An iterator at `_seek`, or at the oldest record if that place is no longer known."""
        try:
            return await self._stream.iterator(self._shard, self._seek)
        except AwsError as error:
            sequence = self._seek.get("StartingSequenceNumber")
            unknown = error.code in INVALID or (error.code == GONE and await self._is_listed())
            if sequence is None or not unknown:
                raise
            warn_unknown(self._shard, sequence, error)
            self._seek = OLDEST
            return await self._stream.iterator(self._shard, OLDEST)

    # What a reply means.  No awaits from here on: a place moves whole or not at all.

    def _fetched(
        self, reply: RecordsReply[KinesisRecord], size: int, limit: int, asked_at: Instant
    ) -> Fetched:
        self._iterator = reply.next_iterator or None
        if reply.records:
            self._seek = after(reply.records[-1].sequence)
        self._ended = self._iterator is None
        at_tip = len(reply.records) < limit
        read = reach(reply.records, reply.millis_behind, asked_at, at_tip=at_tip)
        self._read_up_to = max(self._read_up_to, EVERYTHING if self._ended else read)
        return Fetched(reply.records, size, asked_at, self._read_up_to, self._ended)

    def _failed(self, error: AwsError | Malformed | SourceMissing) -> FetchFailed:
        retry_after = None
        if isinstance(error, AwsError):
            retry_after = error.retry_after
            if error.throttled:
                retry_after = max(retry_after or 0.0, THROTTLED_FOR)
                self._pace.rest(retry_after)
        return FetchFailed(f"reading {self._shard}: {error}", retry_after)

    async def _is_listed(self) -> bool:
        """Whether the shard still exists.  Raises SourceMissing if the stream does not."""
        return any(shard.id == self._shard for shard in await self._stream.shards())

    def _lost(self) -> Fetched:
        """The end of a shard that is no longer there, whether or not it was read to its end."""
        warn_lost(self._shard, self._seek)
        self._ended = True
        return the_end(self._now())
