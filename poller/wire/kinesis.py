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


class _IteratorReply(Struct):
    iterator: str = field(name="ShardIterator")


class _SequenceRange(Struct):
    ending: str | None = field(name="EndingSequenceNumber", default=None)


class _ListedShard(Struct):
    id: str = field(name="ShardId")
    sequences: _SequenceRange = field(name="SequenceNumberRange")
    parent: str | None = field(name="ParentShardId", default=None)
    adjacent: str | None = field(name="AdjacentParentShardId", default=None)


class ShardsReply(Struct):
    """A page of ListShards; `next_token` asks for the next one."""

    listed: list[_ListedShard] = field(name="Shards")
    next_token: str | None = field(name="NextToken", default=None)

    def shards(self) -> list[Shard]:
        return [
            Shard(
                shard.id,
                tuple(parent for parent in (shard.parent, shard.adjacent) if parent),
                closed=shard.sequences.ending is not None,
            )
            for shard in self.listed
        ]


_ITERATOR = msgspec.json.Decoder(_IteratorReply)
_SHARDS = msgspec.json.Decoder(ShardsReply)


def iterator_of(body: bytes) -> str:
    """The iterator in a GetShardIterator reply.  Raises Malformed."""
    return _decode(_ITERATOR, body).iterator


def shards_of(body: bytes) -> ShardsReply:
    """A ListShards reply.  Raises Malformed."""
    return _decode(_SHARDS, body)


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
    """The replies and events of one stream, as one function's mapping sees them (spec 10.1)."""

    def __init__(self, *, stream_arn: str, role_arn: str) -> None:
        region = stream_arn.split(":")[3]
        self._source = Raw(b'"aws:kinesis","eventVersion":"1.0"')
        self._name = Raw(
            b'"aws:kinesis:record","invokeIdentityArn":%b,"awsRegion":%b,"eventSourceARN":%b'
            % (_encode(role_arn), _encode(region), _encode(stream_arn))
        )
        self._decoders: dict[int, msgspec.json.Decoder[RecordsReply[KinesisRecord]]] = {}

    def reply(self, shard: str, body: bytes) -> RecordsReply[KinesisRecord]:
        """A GetRecords reply; the records know their size in events of `shard`.

        Raises Malformed.
        """
        decoder = self._decoders.get(len(shard)) or self._decoder(shard)
        return _decode(decoder, body)

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

    def _decoder(self, shard: str) -> msgspec.json.Decoder[RecordsReply[KinesisRecord]]:
        """Shard ids of one length share a decoder, and nearly all are 20 characters long."""
        empty = KinesisRecord("", 0.0, "", "")
        framed = len(self.event(shard, [empty])) - len('{"Records":[]}')
        overhead = framed - len('0.0""') + ARRIVAL_LENGTH_MAX + len(",")
        record_type: Any = msgspec.defstruct(
            "KinesisRecord",
            [],
            bases=(KinesisRecord,),
            namespace={"overhead": overhead},
            frozen=True,
            gc=False,
        )
        self._decoders[len(shard)] = msgspec.json.Decoder(RecordsReply[record_type])
        return self._decoders[len(shard)]
