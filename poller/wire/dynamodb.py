"""DynamoDB Streams on the wire: requests, replies as records, and records as events.

Items are never rewritten: keys and images stay the bytes that DynamoDB sent.  What reads a reply
raises ValueError when the reply is not what DynamoDB sends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from poller.core.model import Instant
from poller.core.shards import Shard

IteratorType = Literal["TRIM_HORIZON", "LATEST", "AFTER_SEQUENCE_NUMBER"]

RECORDS_MAX = 1000  # of one GetRecords call (spec 3.1)
SHARDS_MAX = 100  # of one DescribeStream call (spec 3.1)

_ENCODER = msgspec.json.Encoder()
_SORTING_ENCODER = msgspec.json.Encoder(order="sorted")
_T = TypeVar("_T")


class Change(Struct, gc=False, kw_only=True):
    """The member "dynamodb" of a record: in a reply, and in this order in an event (spec 10.2)."""

    ApproximateCreationDateTime: float  # a float, so that events show 1732550000.0
    Keys: Raw
    NewImage: Raw | UnsetType = UNSET
    OldImage: Raw | UnsetType = UNSET
    SequenceNumber: str
    SizeBytes: int | UnsetType = UNSET
    StreamViewType: str | UnsetType = UNSET

    def keep(self) -> None:
        """Check what must hold, and let go of the reply.

        A Raw is a view that would hold the whole reply in memory for as long as any one of its
        records is unsettled.
        """
        if not (self.SequenceNumber.isdecimal() and self.SequenceNumber.isascii()):
            raise ValueError(f"{self.SequenceNumber!r} is not a sequence number")
        self.ApproximateCreationDateTime //= 1  # AWS rounds down, some emulators do not
        self.Keys = self.Keys.copy()
        if self.NewImage is not UNSET:
            self.NewImage = self.NewImage.copy()
        if self.OldImage is not UNSET:
            self.OldImage = self.OldImage.copy()


class Identity(Struct, gc=False):
    """Who made a change, as a reply says it: AWS's model and AWS's wire differ in case."""

    Type: str = ""
    PrincipalId: str = ""
    type: str = ""
    principalId: str = ""


class ItemRecord(Struct, gc=False):
    """One record of a reply, which is at once the core's record.

    `frame`: the most that an event adds to a record of this stream, in bytes.
    """

    eventID: str
    eventName: str
    dynamodb: Change
    userIdentity: Identity | None = None
    frame: int = 0

    @property
    def sequence(self) -> str:
        return self.dynamodb.SequenceNumber

    @property
    def arrived_at(self) -> Instant:
        """When the change was made: whole seconds, rounded down."""
        return self.dynamodb.ApproximateCreationDateTime

    @property
    def key(self) -> str:
        """The item's keys in one spelling, whatever order its attributes came in."""
        return _SORTING_ENCODER.encode(msgspec.json.decode(self.dynamodb.Keys)).decode()

    @property
    def size(self) -> int:
        change = self.dynamodb
        texts = (self.eventID, self.eventName, change.StreamViewType, self.userIdentity)
        numbers = (change.ApproximateCreationDateTime, change.SizeBytes)
        images = (change.NewImage, change.OldImage)
        return (
            self.frame
            + len(_ENCODER.encode([part for part in texts + numbers if part is not UNSET]))
            + len(change.SequenceNumber)
            + len(change.Keys)
            + sum(len(image) for image in images if image is not UNSET)
        )


class EventIdentity(Struct, gc=False):
    type: str
    principalId: str


class EventRecord(Struct, gc=False, kw_only=True):
    """A record as the function gets it, in AWS's order (spec 10.2)."""

    eventID: str
    eventName: str
    eventVersion: str = "1.1"
    eventSource: str = "aws:dynamodb"
    awsRegion: str
    dynamodb: Change
    userIdentity: EventIdentity | UnsetType = UNSET
    eventSourceARN: str


class Event(Struct, gc=False):
    Records: list[EventRecord]


class Page(Struct, gc=False):
    """A GetRecords reply; without a `NextShardIterator` the shard has ended."""

    Records: list[ItemRecord]
    NextShardIterator: str | None = None


class StreamCodec:
    """The records and events of one stream."""

    def __init__(self, stream_arn: str) -> None:
        self._arn = stream_arn
        self._region = stream_arn.split(":")[3]
        change = Change(
            ApproximateCreationDateTime=0.0,
            Keys=Raw(b""),
            NewImage=Raw(b""),
            OldImage=Raw(b""),
            SequenceNumber="",
            SizeBytes=0,
            StreamViewType="",
        )
        widest = ItemRecord("", "", change, Identity())
        self.frame = len(_ENCODER.encode(self._event_record(widest))) + len(",")

    def page(self, reply: bytes) -> Page:
        """A GetRecords reply.  Raises ValueError."""
        reply.decode()  # Raw members are copied, not read: nobody else checks that they are text
        page = _decoded(_PAGE_DECODER, reply)
        for record in page.Records:
            record.frame = self.frame
            record.dynamodb.keep()
        return page

    def event(self, records: Sequence[ItemRecord]) -> bytes:
        """The JSON that a function receives for `records`."""
        return _ENCODER.encode(Event([self._event_record(record) for record in records]))

    def _event_record(self, record: ItemRecord) -> EventRecord:
        who = record.userIdentity
        return EventRecord(
            eventID=record.eventID,
            eventName=record.eventName,
            awsRegion=self._region,
            dynamodb=record.dynamodb,
            userIdentity=UNSET
            if who is None
            else EventIdentity(who.type or who.Type, who.principalId or who.PrincipalId),
            eventSourceARN=self._arn,
        )


@dataclass(frozen=True, slots=True)
class ShardPage:
    """One page of a stream's shards; the next one begins after `last`, if that is not None."""

    shards: tuple[Shard, ...]
    last: str | None


def shard_page(reply: bytes) -> ShardPage:
    """A DescribeStream reply.  Raises ValueError."""
    stream = _decoded(_DESCRIBE_DECODER, reply).StreamDescription
    return ShardPage(
        tuple(
            Shard(
                listed.ShardId,
                parents=(listed.ParentShardId,) if listed.ParentShardId else (),
                closed=bool(listed.SequenceNumberRange.EndingSequenceNumber),
            )
            for listed in stream.Shards
        ),
        stream.LastEvaluatedShardId or None,
    )


def shard_iterator(reply: bytes) -> str:
    """A GetShardIterator reply.  Raises ValueError."""
    return _decoded(_ITERATOR_DECODER, reply).ShardIterator


def describe_request(stream_arn: str, after: str | None) -> bytes:
    """A DescribeStream request for the shards that follow the shard `after`."""
    request: dict[str, object] = {"StreamArn": stream_arn, "Limit": SHARDS_MAX}
    if after is not None:
        request["ExclusiveStartShardId"] = after
    return _ENCODER.encode(request)


def iterator_request(
    stream_arn: str, shard: str, kind: IteratorType, sequence: str | None = None
) -> bytes:
    """A GetShardIterator request; `sequence` goes with AFTER_SEQUENCE_NUMBER alone."""
    request = {"StreamArn": stream_arn, "ShardId": shard, "ShardIteratorType": kind}
    if sequence is not None:
        request["SequenceNumber"] = sequence
    return _ENCODER.encode(request)


def records_request(iterator: str, limit: int) -> bytes:
    """A GetRecords request."""
    return _ENCODER.encode({"ShardIterator": iterator, "Limit": min(limit, RECORDS_MAX)})


def _decoded(decoder: msgspec.json.Decoder[_T], reply: bytes) -> _T:
    try:
        return decoder.decode(reply)
    except RecursionError as error:
        raise ValueError("JSON is nested too deeply") from error


class _SequenceRange(Struct, gc=False):
    EndingSequenceNumber: str | None = None


class _ListedShard(Struct, gc=False):
    ShardId: str
    SequenceNumberRange: _SequenceRange
    ParentShardId: str | None = None


class _StreamDescription(Struct, gc=False):
    Shards: list[_ListedShard]
    LastEvaluatedShardId: str | None = None


class _DescribeReply(Struct, gc=False):
    StreamDescription: _StreamDescription


class _IteratorReply(Struct, gc=False):
    ShardIterator: str


_PAGE_DECODER = msgspec.json.Decoder(Page)
_DESCRIBE_DECODER = msgspec.json.Decoder(_DescribeReply)
_ITERATOR_DECODER = msgspec.json.Decoder(_IteratorReply)
