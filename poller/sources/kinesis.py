"""A Kinesis stream as a source: its shards, the pin for LATEST, and a reader for each shard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential

from poller.aws.client import AwsError, JsonClient
from poller.core.model import Instant, Position, Record, Seconds
from poller.core.shards import Shard
from poller.errors import PollerError, SourceMissing
from poller.wire.kinesis import (
    KinesisCodec,
    ListedShard,
    Malformed,
    ShardsReply,
    iterator_of,
    shards_of,
)

from .kinesis_places import GONE, OLDEST, TIP, Seek, after, from_instant
from .kinesis_reader import KinesisReader
from .paces import Paces

PAGE_SHARDS = 1000
PAGES_MAX = 1000
PIN_AGE_MAX: Seconds = 300.0  # as long as AWS keeps an iterator
PINS_AT_ONCE = 16
TRIES_MAX = 4  # of a call whose failure would fail the mapping


@dataclass(frozen=True, slots=True)
class TrimHorizon:
    """Unknown shards are read from their oldest record."""


@dataclass(frozen=True, slots=True)
class AtTimestamp:
    """Unknown shards are read from the first record that arrived at or after `at`."""

    at: Instant


@dataclass(frozen=True, slots=True)
class Latest:
    """The stream is pinned when the mapping is made; unknown shards were born after that."""


Start = TrimHorizon | AtTimestamp | Latest


@dataclass(frozen=True, slots=True)
class _Pin:
    """A LATEST iterator, when it was taken, and the position that stands for it in the store."""

    iterator: str
    taken_at: Instant
    position: Position


class KinesisSource:
    """A `ShardSource`.

    Streams are called by their name, which every server understands, or with `by_arn` by their ARN,
    which AWS needs for a stream of another account.  `page_shards`: how many shards a page of the
    listing holds (AWS: up to 10,000).
    """

    def __init__(
        self,
        client: JsonClient,
        *,
        stream_arn: str,
        role_arn: str,
        start: Start,
        now: Callable[[], Instant],
        paces: Paces,
        by_arn: bool = False,
        page_shards: int = PAGE_SHARDS,
    ) -> None:
        self._client = client
        self._arn = stream_arn
        self._name = stream_arn.rpartition("/")[2]
        self._stream = {"StreamARN": stream_arn} if by_arn else {"StreamName": self._name}
        self._start = start
        self._now = now
        self._paces = paces
        self._page_shards = page_shards
        self._codec = KinesisCodec(source_arn=stream_arn, role_arn=role_arn)
        self._pins: dict[str, _Pin] = {}

    async def shards(self) -> Sequence[Shard]:
        """All listed shards, closed ones too, in the stream's order.  Raises SourceMissing."""
        return tuple(listed.shard() for listed in await self.listed())

    async def pin(self) -> Mapping[str, Position]:
        """Positions that stand for LATEST, now; the iterators serve readers for five minutes.

        Where they cannot, reading begins at the server's own time of the listing, which is a
        moment earlier: records may repeat then, but none is lost.  Raises SourceMissing.
        """
        shards = await self.shards()
        date = self._client.last_date
        position = Position(since=self._now() if date is None else date)
        failures: list[PollerError] = []
        limit = asyncio.Semaphore(PINS_AT_ONCE)

        async def take(shard: str) -> None:
            async with limit:
                if failures:
                    return
                taken_at = self._now()
                try:
                    iterator: str = await tries()(self.iterator, shard, TIP)
                except (AwsError, Malformed) as error:
                    failures.append(error)
                else:
                    self._pins[shard] = _Pin(iterator, taken_at, position)

        async with asyncio.TaskGroup() as group:
            for shard in shards:
                if not shard.closed:
                    group.create_task(take(shard.id))
        if failures:
            raise SourceMissing(f"stream {self._name}: pinning: {failures[0]}")
        return {shard.id: Position(ended=True) if shard.closed else position for shard in shards}

    def unpin(self) -> None:
        self._pins.clear()

    def reader(self, shard: str, resume: Position | None) -> KinesisReader:
        """A reader after `resume`; with None: by the starting position of the mapping."""
        return KinesisReader(
            self,
            self._client,
            self._codec,
            shard=shard,
            seek=seek_of(resume, self._start),
            iterator=self._pinned(shard, resume),
            now=self._now,
            pace=self._paces.of(self._arn, shard),
        )

    def event(self, shard: str, records: Sequence[Record]) -> bytes:
        """The JSON that a function receives for `records` (spec 10.1)."""
        return self._codec.event(shard, records)

    async def listed(self) -> Sequence[ListedShard]:
        """`shards`, with all that is told of them.  Raises SourceMissing."""
        found: dict[str, ListedShard] = {}
        try:
            async for page in self._pages():
                found.update({shard.id: shard for shard in page.listed})
        except (AwsError, Malformed) as error:
            raise self._missing(error) from None
        return tuple(found.values())

    # For this stream's readers.

    async def iterator(self, shard: str, seek: Seek) -> str:
        """A fresh iterator.  Raises AwsError, Malformed."""
        request = {**self._stream, "ShardId": shard, **seek}
        body = await self._client.call("GetShardIterator", msgspec.json.encode(request))
        return iterator_of(body)

    # Helpers.

    def _missing(self, error: AwsError | Malformed) -> SourceMissing:
        if isinstance(error, AwsError) and error.code == GONE:
            return SourceMissing(f"Stream not found: {self._arn}")  # AWS's own words (spec 1.2)
        return SourceMissing(f"stream {self._name}: {error}")

    def _pinned(self, shard: str, resume: Position | None) -> str | None:
        pin = self._pins.get(shard)
        if pin is None or resume != pin.position:
            return None
        if self._now() - pin.taken_at >= PIN_AGE_MAX:
            del self._pins[shard]
            return None
        return pin.iterator

    async def _pages(self) -> AsyncIterator[ShardsReply]:
        page = await self._page({**self._stream, "MaxResults": self._page_shards})
        yield page
        for _ in range(PAGES_MAX):
            if not page.next_token:
                return
            page = await self._next_page(page.next_token)
            yield page
        raise Malformed(f"the list of its shards does not end after {PAGES_MAX} pages")

    async def _next_page(self, token: str) -> ShardsReply:
        """AWS takes the token alone; some emulators want to be told the stream again."""
        request: dict[str, Any] = {"NextToken": token, "MaxResults": self._page_shards}
        try:
            return await self._page(request)
        except AwsError as error:
            if error.retryable or error.unauthorised:
                raise
        return await self._page({**self._stream, **request})

    async def _page(self, request: dict[str, Any]) -> ShardsReply:
        body = msgspec.json.encode(request)
        return shards_of(await tries()(self._client.call, "ListShards", body))


def seek_of(resume: Position | None, start: Start) -> Seek:
    """Where a mapping that starts at `start` reads on from `resume`, or an unknown shard."""
    match resume, start:
        case Position(sequence=str(sequence)), _:
            return after(sequence)
        case Position(since=float(since)), _:
            return from_instant(since)
        case _, AtTimestamp(at):
            return from_instant(at)
        case _:
            return OLDEST


def tries() -> AsyncRetrying:
    return AsyncRetrying(
        retry=retry_if_exception(lambda error: isinstance(error, AwsError) and error.retryable),
        stop=stop_after_attempt(TRIES_MAX),
        wait=wait_exponential(multiplier=0.2, max=2.0),
        reraise=True,
    )
