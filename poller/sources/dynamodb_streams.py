"""DynamoDB Streams: lists a table stream's shards and reads each of them in order.

Where reading begins, and begins again when an iterator has expired or its data is gone:

    | known                               | iterator                                            |
    | ----------------------------------- | --------------------------------------------------- |
    | the last record handed out, or      | AFTER_SEQUENCE_NUMBER                               |
    | stored                              |                                                     |
    | that record is trimmed              | TRIM_HORIZON, with a warning: records were lost     |
    | nothing but the instant of the pin  | LATEST as taken by the pin; once that is gone       |
    |                                     | TRIM_HORIZON, skipping what was made before         |
    | nothing                             | TRIM_HORIZON: the shard was born after the mapping, |
    |                                     | or the mapping starts at the oldest record          |
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

from tenacity import (
    AsyncRetrying,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from poller.aws.client import AwsError, JsonClient
from poller.core.model import BEGINNING, EVERYTHING, Instant, Position, Record, Seconds
from poller.core.shards import Shard
from poller.core.steps import Fetched, FetchFailed
from poller.errors import SourceMissing
from poller.wire import dynamodb
from poller.wire.dynamodb import ItemRecord, Page, StreamCodec

EMPTY_REPLIES_OF_THE_TIP = 3  # an empty reply alone says nothing: there is no MillisBehindLatest
SEEKS_MAX = 3  # of one read
PAGES_MAX = 1000  # of one listing: 100,000 shards
PINS_AT_ONCE = 10
THROTTLED_CALLS_MAX = 5  # of one page of a listing, of which AWS allows ten a second
THROTTLE_PAUSE: Seconds = 1.0

_log = logging.getLogger("poller.sources")


class DynamoDBStreamsSource:
    """A ShardSource over the stream `stream_arn`; `now` is the engine's clock.

    A mapping's StartingPosition needs no mention here: TRIM_HORIZON is where every reader without
    a position begins, and LATEST is what `pin` stands for.
    """

    def __init__(self, client: JsonClient, *, stream_arn: str, now: Callable[[], Instant]) -> None:
        self._client = client
        self._arn = stream_arn
        self._now = now
        self._codec = StreamCodec(stream_arn)
        self._pins: dict[str, tuple[Instant, str]] = {}

    async def shards(self) -> Sequence[Shard]:
        """All shards that DescribeStream lists.  Raises SourceMissing."""
        listed: list[Shard] = []
        after: str | None = None
        for _ in range(PAGES_MAX):
            try:
                page = dynamodb.shard_page(await self._describe(after))
            except AwsError as error:
                raise self._missing(error) from None
            except ValueError as error:
                raise SourceMissing(f"{self._arn}: DescribeStream: bad reply: {error}") from None
            listed += page.shards
            after = page.last
            if after is None:
                return listed
        raise SourceMissing(f"{self._arn}: DescribeStream lists more than {PAGES_MAX} pages")

    async def pin(self) -> Mapping[str, Position]:
        """Positions that stand for LATEST, now; keeps the iterators.  Raises SourceMissing.

        The pin's instant is the server's own time where it tells it, since it will be compared
        with the server's creation times.
        """
        shards = await self.shards()
        since = self._client.last_date or self._now()
        tips = [shard.id for shard in shards if not shard.closed]
        for some in _chunks(tips, PINS_AT_ONCE):
            iterators = await asyncio.gather(*(self._tip(shard) for shard in some))
            for shard, iterator in zip(some, iterators, strict=True):
                if isinstance(iterator, SourceMissing):
                    raise iterator
                self._pins[shard] = (since, iterator)
        ended = Position(ended=True)
        return {shard.id: ended if shard.closed else Position(since=since) for shard in shards}

    def unpin(self) -> None:
        self._pins.clear()

    def reader(self, shard: str, resume: Position | None) -> DynamoDBStreamsReader:
        """A reader of `shard` after `resume`; with None from the shard's oldest record."""
        since = resume.since if resume else None
        sequence = resume.sequence if resume else None
        pinned_at, iterator = self._pins.get(shard, (None, None))
        return DynamoDBStreamsReader(
            self,
            self._client,
            self._codec,
            self._now,
            stream_arn=self._arn,
            shard=shard,
            sequence=sequence,
            since=since if sequence is None else None,
            iterator=iterator if sequence is None and since == pinned_at else None,
        )

    def event(self, shard: str, records: Sequence[Record]) -> bytes:
        """The JSON that a function receives for `records`."""
        return self._codec.event(cast(Sequence[ItemRecord], records))

    async def _describe(self, after: str | None) -> bytes:
        request = dynamodb.describe_request(self._arn, after)
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(_is_throttled),
            stop=stop_after_attempt(THROTTLED_CALLS_MAX),
            wait=wait_exponential(multiplier=0.1, max=THROTTLE_PAUSE) + wait_random(0, 0.1),
            reraise=True,
        ):
            with attempt:
                return await self._client.call("DescribeStream", request)
        raise AssertionError("tenacity ends with a result or an exception")

    async def _tip(self, shard: str) -> str | SourceMissing:
        request = dynamodb.iterator_request(self._arn, shard, "LATEST")
        try:
            return dynamodb.shard_iterator(await self._client.call("GetShardIterator", request))
        except AwsError as error:
            return self._missing(error)
        except ValueError as error:
            return SourceMissing(f"{self._arn}: GetShardIterator: bad reply: {error}")

    def _missing(self, error: AwsError) -> SourceMissing:
        if error.code == "ResourceNotFoundException":
            return SourceMissing(f"Stream not found: {self._arn}")  # AWS's own words (spec 1.2)
        return SourceMissing(f"{self._arn}: {error}")


class DynamoDBStreamsReader:
    """Reads one shard; made by `DynamoDBStreamsSource.reader`.

    `read` changes this reader only once the reply is complete, without an await after that, so a
    cancelled read is as if it had never been.
    """

    def __init__(
        self,
        source: DynamoDBStreamsSource,
        client: JsonClient,
        codec: StreamCodec,
        now: Callable[[], Instant],
        *,
        stream_arn: str,
        shard: str,
        sequence: str | None,
        since: Instant | None,
        iterator: str | None,
    ) -> None:
        self._source = source
        self._client = client
        self._codec = codec
        self._now = now
        self._arn = stream_arn
        self._shard = shard
        self._sequence = sequence  # the last record that was read, or is settled
        self._since = since  # where to begin while there is no such record
        self._skip_until: Instant | None = None  # a record made at or after this is met
        self._iterator = iterator
        self._read_up_to = BEGINNING
        self._empty_replies = 0
        self._ended = False
        self._warned = False

    async def read(self, limit: int) -> Fetched | FetchFailed:
        """Up to `limit` records, at most 1000; as the Protocol says."""
        asked_at = self._now()
        if self._ended:
            return self._end(asked_at)
        for _ in range(SEEKS_MAX):
            try:
                if self._iterator is None:
                    self._iterator = await self._seek()
                request = dynamodb.records_request(self._iterator, limit)
                reply = await self._client.call("GetRecords", request)
                return self._advance(self._codec.page(reply), len(reply), asked_at)
            except AwsError as error:
                match error.code:
                    case "ExpiredIteratorException":
                        self._iterator = None
                    case "TrimmedDataAccessException":
                        self._fall_back()
                    case "ResourceNotFoundException":
                        return await self._look_for_shard(error, asked_at)
                    case _:
                        return self._failed(error)
            except ValueError as error:
                return FetchFailed(f"reading {self._shard}: bad reply: {error}")
        return FetchFailed(f"reading {self._shard}: its iterators are refused as soon as given")

    async def ready(self) -> None:
        """At once: what there is to read is not known before it is read."""

    def close(self) -> None:
        """Nothing is held between reads."""

    async def _seek(self) -> str:
        kind: dynamodb.IteratorType = "AFTER_SEQUENCE_NUMBER"
        if self._sequence is None:
            kind = "TRIM_HORIZON"
            self._skip_until = self._since or self._skip_until
        request = dynamodb.iterator_request(self._arn, self._shard, kind, self._sequence)
        return dynamodb.shard_iterator(await self._client.call("GetShardIterator", request))

    def _advance(self, page: Page, size: int, asked_at: Instant) -> Fetched:
        records = page.Records
        if records:
            self._empty_replies = 0
            self._sequence = records[-1].sequence
            self._since = None
            self._read_up_to = max(self._read_up_to, records[-1].arrived_at)
            size += len(records) * self._codec.frame
            records = self._skip(records)
        else:
            self._empty_replies += 1
            if self._empty_replies >= EMPTY_REPLIES_OF_THE_TIP:
                self._read_up_to = max(self._read_up_to, asked_at)
        self._iterator = page.NextShardIterator
        if self._iterator is None:
            return self._end(asked_at, records, size)
        return Fetched(records, size, asked_at, self._read_up_to)

    def _skip(self, records: list[ItemRecord]) -> list[ItemRecord]:
        """What is left without the records from before the pin.

        Creation times are whole seconds, so the whole second of the pin is read: records of it
        may come that the pin's own iterator would have passed over, but none is lost.
        """
        if self._skip_until is None:
            return records
        start = self._skip_until // 1
        for index, record in enumerate(records):
            if record.arrived_at >= start:
                self._skip_until = None
                return records[index:]
        return []

    def _end(self, asked_at: Instant, records: Sequence[ItemRecord] = (), size: int = 0) -> Fetched:
        self._ended = True
        return Fetched(records, size, asked_at, EVERYTHING, shard_ended=True)

    def _fall_back(self) -> None:
        self._iterator = None
        self._sequence = None
        if not self._warned:
            self._warned = True
            _log.warning(
                "%s of %s: records after the stored position are older than the stream's "
                "retention and lost; going on with the oldest that is left",
                self._shard,
                self._arn,
            )

    async def _look_for_shard(self, error: AwsError, asked_at: Instant) -> Fetched | FetchFailed:
        """Whether the stream is gone, which may pass, or only this shard, which is its end."""
        try:
            listed = await self._source.shards()
        except SourceMissing as missing:
            return FetchFailed(f"reading {self._shard}: {missing}")
        if any(shard.id == self._shard for shard in listed):
            return self._failed(error)
        _log.warning(
            "%s of %s is no longer there; what it held and was not read is lost",
            self._shard,
            self._arn,
        )
        return self._end(asked_at)

    def _failed(self, error: AwsError) -> FetchFailed:
        pause = THROTTLE_PAUSE if error.throttled else None
        return FetchFailed(f"reading {self._shard}: {error}", error.retry_after or pause)


def _is_throttled(error: BaseException) -> bool:
    return isinstance(error, AwsError) and error.throttled


def _chunks(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (items[start : start + size] for start in range(0, len(items), size))
