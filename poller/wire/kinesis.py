"""Kinesis on the wire: replies of the data API become records, records become Lambda's events.

A reply is decoded once, into the very records that decisions are made about; an event is encoded
when its batch is invoked.  Data stays base64 text throughout and is never decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeVar, cast

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, field

from poller.core.model import Instant, Record
from poller.core.shards import Shard
from poller.errors import PollerError

EVERY_HASH_KEY = range(2**128)
ARRIVAL_LENGTH_MAX = 24  # the longest text of a JSON number that holds a double
_REPLY_RECORD = '{"SequenceNumber":"","ApproximateArrivalTimestamp":,"Data":"",}'

_encode = msgspec.json.Encoder().encode

AnyReply = TypeVar("AnyReply")


class Malformed(PollerError):
    """A reply that is not what AWS's model says; the text says what is wrong with it."""


# Replies.


class KinesisRecord(Struct, frozen=True, gc=False):
    """One record of a GetRecords reply; a `poller.core.model.Record`.  `data` is base64."""

    overhead: ClassVar[int] = 0  # the bytes that every event record of a shard has besides these

    sequence: str = field(name="SequenceNumber")
    arrived_at: Instant = field(name="ApproximateArrivalTimestamp")
    data: str = field(name="Data")
    key: str | None = field(name="PartitionKey", default=None)

    @property
    def size(self) -> int:
        """The bytes of its event record and a comma, or up to 40 more."""
        return self.overhead + 2 * len(self.sequence) + len(self.data) + len(_encode(self.key))


AnyRecord = TypeVar("AnyRecord", bound=KinesisRecord)


class RecordsReply(Struct, Generic[AnyRecord]):
    """What GetRecords answers; without a `next_iterator` the shard has ended."""

    records: list[AnyRecord] = field(name="Records")
    next_iterator: str | None = field(name="NextShardIterator", default=None)
    millis_behind: float | None = field(name="MillisBehindLatest", default=None)


class PushedEvent(Struct, Generic[AnyRecord]):
    """A SubscribeToShardEvent; without a `continuation`, or with `children`, the shard has ended.

    `continuation` is where the next subscription goes on, whether or not there were records.
    """

    records: list[AnyRecord] = field(name="Records")
    continuation: str | None = field(name="ContinuationSequenceNumber", default=None)
    millis_behind: float | None = field(name="MillisBehindLatest", default=None)
    children: list[Raw] | None = field(name="ChildShards", default=None)


class _IteratorReply(Struct):
    iterator: str = field(name="ShardIterator")


class _SequenceRange(Struct):
    ending: str | None = field(name="EndingSequenceNumber", default=None)


class _HashKeyRange(Struct):
    first: str = field(name="StartingHashKey")
    last: str = field(name="EndingHashKey")


class ListedShard(Struct):
    """A shard as ListShards shows it."""

    id: str = field(name="ShardId")
    sequences: _SequenceRange = field(name="SequenceNumberRange")
    parent: str | None = field(name="ParentShardId", default=None)
    adjacent: str | None = field(name="AdjacentParentShardId", default=None)
    hash_key_range: _HashKeyRange | None = field(name="HashKeyRange", default=None)

    def shard(self) -> Shard:
        parents = tuple(parent for parent in (self.parent, self.adjacent) if parent)
        return Shard(self.id, parents, closed=self.sequences.ending is not None)

    @property
    def hash_keys(self) -> range:
        """The hash keys that records of this shard have; all there are if it does not tell."""
        found = self.hash_key_range
        try:
            return EVERY_HASH_KEY if found is None else range(int(found.first), int(found.last) + 1)
        except ValueError:
            return EVERY_HASH_KEY


class ShardsReply(Struct):
    """A page of ListShards; `next_token` asks for the next one."""

    listed: list[ListedShard] = field(name="Shards")
    next_token: str | None = field(name="NextToken", default=None)


class _Consumer(Struct):
    status: str = field(name="ConsumerStatus")


class _ConsumerReply(Struct):
    consumer: _Consumer = field(name="ConsumerDescription")


_ITERATOR = msgspec.json.Decoder(_IteratorReply)
_SHARDS = msgspec.json.Decoder(ShardsReply)
_CONSUMER = msgspec.json.Decoder(_ConsumerReply)


def iterator_of(body: bytes) -> str:
    """The iterator in a GetShardIterator reply.  Raises Malformed."""
    return _decode(_ITERATOR, body).iterator


def shards_of(body: bytes) -> ShardsReply:
    """A ListShards reply.  Raises Malformed."""
    return _decode(_SHARDS, body)


def consumer_status_of(body: bytes) -> str:
    """The status in a DescribeStreamConsumer reply, such as ACTIVE.  Raises Malformed."""
    return _decode(_CONSUMER, body).consumer.status


def _decode(decoder: msgspec.json.Decoder[AnyReply], body: bytes) -> AnyReply:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"the reply is not what Kinesis answers: {error}") from None


# Events.  Constants are encoded once, as runs of JSON that stand where one value would: msgspec
# copies a Raw unseen.  The order of the keys is AWS's own.


class _Kinesis(Struct, gc=False):
    kinesisSchemaVersion: str
    partitionKey: str | UnsetType
    sequenceNumber: str
    data: str
    approximateArrivalTimestamp: Instant


class _EventRecord(Struct, gc=False):
    kinesis: _Kinesis
    eventSource: Raw  # and eventVersion
    eventID: str
    eventName: Raw  # and invokeIdentityArn, awsRegion, eventSourceARN


class _Event(Struct):
    Records: list[_EventRecord]


class KinesisCodec:
    """The replies and events of one stream, as one function's mapping sees them (spec 10.1).

    `source_arn` is the mapping's, that of a consumer too (spec 3.3).
    """

    def __init__(self, *, source_arn: str, role_arn: str) -> None:
        region = source_arn.split(":")[3]
        self._source = Raw(b'"aws:kinesis","eventVersion":"1.0"')
        self._name = Raw(
            b'"aws:kinesis:record","invokeIdentityArn":%b,"awsRegion":%b,"eventSourceARN":%b'
            % (_encode(role_arn), _encode(region), _encode(source_arn))
        )
        self._decoders: dict[tuple[Any, int], msgspec.json.Decoder[Any]] = {}

    def reply(self, shard: str, body: bytes) -> RecordsReply[KinesisRecord]:
        """A GetRecords reply; the records know their size in events of `shard`.

        Raises Malformed.
        """
        reply: RecordsReply[KinesisRecord] = _decode(self._decoder(RecordsReply, shard), body)
        return reply

    def pushed(self, shard: str, payload: bytes) -> PushedEvent[KinesisRecord]:
        """A SubscribeToShardEvent; the records know their size in events of `shard`.

        Raises Malformed.
        """
        event: PushedEvent[KinesisRecord] = _decode(self._decoder(PushedEvent, shard), payload)
        return event

    def event(self, shard: str, records: Sequence[Record]) -> bytes:
        """The JSON that a function receives for `records` of `shard`."""
        source, name, prefix = self._source, self._name, f"{shard}:"
        return _encode(
            _Event(
                [
                    _EventRecord(
                        _Kinesis(
                            "1.0",
                            UNSET if record.key is None else record.key,
                            record.sequence,
                            record.data,
                            record.arrived_at,
                        ),
                        source,
                        prefix + record.sequence,
                        name,
                    )
                    for record in cast("Sequence[KinesisRecord]", records)
                ]
            )
        )

    def size_max(self, records: Sequence[KinesisRecord], body: bytes) -> int:
        """At least the sum of the sizes of `records`, which came in the reply `body`.

        An event repeats the sequence number and writes the arrival time in its own way; the
        rest of a record is as long as in the reply, where names take at least `_REPLY_RECORD`.
        """
        if not records:
            return 0
        longest = max(len(records[0].sequence), len(records[-1].sequence))
        return len(body) + len(records) * (records[0].overhead + longest - len(_REPLY_RECORD))

    def _decoder(self, shape: Any, shard: str) -> msgspec.json.Decoder[Any]:
        """Shard ids of one length share a decoder, and nearly all are 20 characters long."""
        found = self._decoders.get((shape, len(shard)))
        if found is None:
            found = msgspec.json.Decoder(shape[self._record_type(shard)])
            self._decoders[shape, len(shard)] = found
        return found

    def _record_type(self, shard: str) -> Any:
        empty = KinesisRecord("", 0.0, "", "")
        framed = len(self.event(shard, [empty])) - len('{"Records":[]}')
        overhead = framed - len('0.0""') + ARRIVAL_LENGTH_MAX + len(",")
        return msgspec.defstruct(
            "KinesisRecord",
            [],
            bases=(KinesisRecord,),
            namespace={"overhead": overhead},
            frozen=True,
            gc=False,
        )
