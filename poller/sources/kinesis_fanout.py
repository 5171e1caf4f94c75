"""A consumer of a Kinesis stream as a source, to which records are pushed: enhanced fan-out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from poller.aws.client import AwsError, JsonClient
from poller.aws.event_streams import EventStream
from poller.core.model import Instant, Position, Record
from poller.core.shards import Shard
from poller.errors import SourceMissing
from poller.wire.arns import stream_of
from poller.wire.kinesis import EVERY_HASH_KEY, KinesisCodec, Malformed, consumer_status_of

from .kinesis import PINS_AT_ONCE, KinesisSource, Start, seek_of, tries
from .kinesis_fanout_reader import LIFETIME, FanoutReader
from .kinesis_places import GONE, TIP, Seek
from .paces import Paces

ACTIVE = "ACTIVE"


# What SubscribeToShard calls the parts of a place, by their names in GetShardIterator.
_PLACE_NAMES = {
    "ShardIteratorType": "Type",
    "StartingSequenceNumber": "SequenceNumber",
    "Timestamp": "Timestamp",
}


@dataclass(frozen=True, slots=True)
class _Pin:
    """A subscription at LATEST, the position that stands for it in the store, and its end."""

    subscription: EventStream
    position: Position
    expiry: asyncio.TimerHandle


class KinesisFanoutSource:
    """A `ShardSource`.

    The stream is listed as `KinesisSource` does it.  Events name the consumer as their source, as
    the mapping does.  `paces` are those of subscriptions, one for each consumer and shard.
    """

    def __init__(
        self,
        client: JsonClient,
        *,
        consumer_arn: str,
        role_arn: str,
        start: Start,
        now: Callable[[], Instant],
        paces: Paces,
        by_arn: bool = False,
    ) -> None:
        self._client = client
        self._arn = consumer_arn
        self._start = start
        self._now = now
        self._paces = paces
        self._stream = KinesisSource(
            client,
            stream_arn=stream_of(consumer_arn),
            role_arn=role_arn,
            start=start,
            now=now,
            paces=paces,
            by_arn=by_arn,
        )
        self._codec = KinesisCodec(source_arn=consumer_arn, role_arn=role_arn)
        self._hash_keys: dict[str, range] = {}
        self._pins: dict[str, _Pin] = {}

    async def shards(self) -> Sequence[Shard]:
        """All listed shards, closed ones too.  Raises SourceMissing, also for the consumer."""
        await self._check_consumer()
        listed = await self._stream.listed()
        self._hash_keys = {shard.id: shard.hash_keys for shard in listed}
        return tuple(shard.shard() for shard in listed)

    async def pin(self) -> Mapping[str, Position]:
        """Positions that stand for LATEST, now; each open shard is subscribed to where it can be.

        These subscriptions wait for their readers.  Where there is none, reading begins at the
        server's own time of the listing, which is a moment earlier: records may repeat then, but
        none is lost.  Raises SourceMissing.
        """
        shards = await self.shards()
        date = self._client.last_date
        position = Position(since=self._now() if date is None else date)
        limit = asyncio.Semaphore(PINS_AT_ONCE)

        async def subscribe(shard: str) -> None:
            async with limit:
                try:
                    subscription = await self.subscribe(shard, TIP)
                except AwsError:
                    return  # the position is enough
            self._unpin(shard)
            expiry = asyncio.get_running_loop().call_later(LIFETIME, self._unpin, shard)
            self._pins[shard] = _Pin(subscription, position, expiry)

        async with asyncio.TaskGroup() as group:
            for shard in shards:
                if not shard.closed:
                    group.create_task(subscribe(shard.id))
        return {shard.id: Position(ended=True) if shard.closed else position for shard in shards}

    def unpin(self) -> None:
        """A consumer has one subscription for a shard: the next to ask for it can have it."""
        for shard in list(self._pins):
            self._unpin(shard)

    def reader(self, shard: str, resume: Position | None) -> FanoutReader:
        """A reader after `resume`; with None: by the starting position of the mapping."""
        return FanoutReader(
            self,
            self._codec,
            shard=shard,
            seek=seek_of(resume, self._start),
            subscription=self._pinned(shard, resume),
            now=self._now,
            pace=self._paces.of(self._arn, shard),
        )

    def event(self, shard: str, records: Sequence[Record]) -> bytes:
        """The JSON that a function receives for `records` (spec 10.1)."""
        return self._codec.event(shard, records)

    # For this consumer's readers.

    async def hash_keys(self, shard: str) -> range:
        """The hash keys of a shard's records.  Raises SourceMissing."""
        if shard not in self._hash_keys:
            await self.shards()
        return self._hash_keys.get(shard, EVERY_HASH_KEY)

    async def subscribe(self, shard: str, seek: Seek) -> EventStream:
        """What is pushed from a place on.  Raises AwsError."""
        place = {_PLACE_NAMES[name]: value for name, value in seek.items()}
        request = {"ConsumerARN": self._arn, "ShardId": shard, "StartingPosition": place}
        return await self._client.events("SubscribeToShard", msgspec.json.encode(request))

    # Helpers.

    async def _check_consumer(self) -> None:
        """Return if records can be pushed to it.  Raises SourceMissing."""
        request = msgspec.json.encode({"ConsumerARN": self._arn})
        try:
            body: bytes = await tries()(self._client.call, "DescribeStreamConsumer", request)
            status = consumer_status_of(body)
        except AwsError as error:
            if error.code == "AccessDeniedException":
                return  # Lambda's own role may not ask either (spec 3.5); subscribing will tell
            if error.code == GONE:
                raise SourceMissing(f"Stream not found: {self._arn}") from None
            raise SourceMissing(f"consumer {self._arn}: {error}") from None
        except Malformed as error:
            raise SourceMissing(f"consumer {self._arn}: {error}") from None
        if status != ACTIVE:
            raise SourceMissing(f"consumer {self._arn} is {status}, not {ACTIVE}")

    def _pinned(self, shard: str, resume: Position | None) -> EventStream | None:
        pin = self._pins.get(shard)
        if pin is None or resume != pin.position:
            return None
        del self._pins[shard]
        pin.expiry.cancel()
        return pin.subscription

    def _unpin(self, shard: str) -> None:
        if pin := self._pins.pop(shard, None):
            pin.expiry.cancel()
            pin.subscription.close()
