"""What filters see of a record: the event's record, with its data parsed (spec 9.1).

Kinesis: the members of `kinesis` stand beside those of the record, and `data` is out of base64.
DynamoDB: the record.  SQS: the record, with `body` as it is where it is no JSON.  Data counts as
JSON where it is an object or a list; anything else is text.
"""

from __future__ import annotations

import json
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable, Collection, Mapping
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from .arns import SourceKind
from .dynamodb import ItemRecord
from .kinesis import KinesisRecord

# The member that is parsed.
DATA = {SourceKind.KINESIS: "data", SourceKind.DYNAMODB: "dynamodb", SourceKind.SQS: "body"}

_EVERY_RECORD = ("eventSource", "eventSourceARN", "awsRegion")
_EVERY_STREAM_RECORD = ("eventID", "eventName", "eventVersion", *_EVERY_RECORD)
# All that can be seen.
MEMBERS: dict[SourceKind, tuple[str, ...]] = {
    SourceKind.KINESIS: (
        *("data", "partitionKey", "sequenceNumber", "approximateArrivalTimestamp"),
        *("kinesisSchemaVersion", "invokeIdentityArn", *_EVERY_STREAM_RECORD),
    ),
    SourceKind.DYNAMODB: ("dynamodb", "userIdentity", *_EVERY_STREAM_RECORD),
    SourceKind.SQS: (
        *("body", "messageId", "receiptHandle", "attributes", "messageAttributes"),
        *("md5OfBody", "md5OfMessageAttributes", *_EVERY_RECORD),
    ),
}

DIGITS_MAX = 400  # whole numbers of more digits are larger than any double

Seen = tuple[dict[str, Any], bool]  # the fields, and whether the data is JSON
See = Callable[[Any], Seen]

_decode = msgspec.json.decode

_KINESIS_MEMBERS: dict[str, Callable[[Any], Any]] = {
    "partitionKey": attrgetter("key"),
    "sequenceNumber": attrgetter("sequence"),
    "approximateArrivalTimestamp": attrgetter("arrived_at"),
}
_IMAGES = frozenset({"Keys", "NewImage", "OldImage"})
_PLAIN = frozenset({"ApproximateCreationDateTime", "SequenceNumber", "SizeBytes", "StreamViewType"})


def seen_in_event(kind: SourceKind, record: Mapping[str, Any]) -> Seen:
    """What filters see of a record of an event."""
    fields = dict(record)
    match kind:
        case SourceKind.DYNAMODB:
            return fields, True
        case SourceKind.KINESIS:
            inner = fields.pop("kinesis", None)
            fields |= inner if isinstance(inner, dict) else {}
            data = document(_out_of_base64(fields.pop("data", "")))
            if data is not None:
                fields["data"] = data
        case SourceKind.SQS:
            data = document(fields.get("body", ""))
            if data is not None:
                fields["body"] = data
    return fields, data is not None


def see_records(kind: SourceKind, paths: Collection[tuple[str, ...]], event: See) -> See:
    """Sees the records that a source reads, as far as it matters for fields below these `paths`, of
    two names at most; `event` sees all of a record.
    """
    names = {path[0] for path in paths}
    match kind:
        case SourceKind.KINESIS if names <= {"data", *_KINESIS_MEMBERS}:
            return _kinesis(names)
        case SourceKind.DYNAMODB if names <= {"dynamodb", "eventName"}:
            return _dynamodb({path[1] for path in paths if len(path) > 1})
        case SourceKind.SQS if names == {"body"}:
            return _body
        case _:
            return event


def document(text: Any) -> dict[str, Any] | list[Any] | None:
    """The object or the list that a JSON text holds; None where it holds anything else."""
    if not isinstance(text, str | bytes) or not _begins_document(text):
        return None
    try:
        value = _decode(text)
    except RecursionError:
        return None
    except (msgspec.DecodeError, UnicodeError):
        try:
            value = read_json(text if isinstance(text, str) else text.decode())
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, dict | list) else None


def _begins_document(text: str | bytes) -> bool:
    if isinstance(text, str):
        return text[:1] in ("{", "[") or text[:64].lstrip(" \t\r\n")[:1] in ("{", "[", "")
    return text[:1] in (b"{", b"[") or text[:64].lstrip(b" \t\r\n")[:1] in (b"{", b"[", b"")


def read_json(text: str) -> Any:
    """Any JSON, also numbers beyond a double and halves of characters, which msgspec does not read.

    Raises ValueError, RecursionError.
    """
    return json.loads(text, parse_int=_whole, parse_constant=_no_constant)


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= DIGITS_MAX else float(digits)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _out_of_base64(data: Any) -> bytes:
    try:
        return a2b_base64(data)
    except (Base64Error, ValueError, TypeError):
        return b""


def _kinesis(names: Collection[str]) -> See:
    wants_data = "data" in names
    members = [(name, _KINESIS_MEMBERS[name]) for name in names if name != "data"]

    def see(record: KinesisRecord) -> Seen:
        fields = {name: value for name, of in members if (value := of(record)) is not None}
        if not wants_data:
            return fields, True
        data = document(_out_of_base64(record.data))
        if data is None:
            return fields, False
        fields["data"] = data
        return fields, True

    return see


def _dynamodb(names: Collection[str]) -> See:
    wanted = [name for name in names if name in _IMAGES or name in _PLAIN]

    def see(record: ItemRecord) -> Seen:
        members = [(name, getattr(record.dynamodb, name)) for name in wanted]
        change = {
            name: _decode(value) if name in _IMAGES else value
            for name, value in members
            if value is not UNSET
        }
        return {"eventName": record.eventName, "dynamodb": change}, True

    return see


class _Body(Struct, gc=False):
    body: str


_body_of = msgspec.json.Decoder(_Body).decode


def _body(message: Any) -> Seen:
    text = _body_of(message.json).body
    data = document(text)
    return ({"body": text}, False) if data is None else ({"body": data}, True)
