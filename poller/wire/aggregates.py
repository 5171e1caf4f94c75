"""Aggregates of the Kinesis Producer Library: one Kinesis record that holds many user records.

    F3 89 9A C2 | AggregatedRecord | MD5 of AggregatedRecord

AggregatedRecord is a Protocol Buffers message:

    repeated string partition_key_table = 1;
    repeated string explicit_hash_key_table = 2;
    repeated Record records = 3;
    message Record {
        required uint64 partition_key_index = 1;
        optional uint64 explicit_hash_key_index = 2;
        required bytes data = 3;
        repeated Tag tags = 4;
    }

Whatever is not exactly that is no aggregate but a record as any other.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .kinesis import KinesisRecord

MAGIC = bytes.fromhex("f3899ac2")
MAGIC_BASE64 = "84maw"  # what the data of every aggregate begins with; four bits are missing
DIGEST_BYTES = 16
USER_RECORDS_MAX = 200_000  # as many as 1 MiB can hold; a record with more is left as it is
VARINT_BYTES_MAX = 10
HASH_KEY = re.compile(r"0|[1-9][0-9]{0,38}")

_VARINT, _BYTES = 0, 2  # wire types
_FIXED = {1: 8, 5: 4}  # those of no use here, and how many bytes they take


class UserRecord(NamedTuple):
    """One record of an aggregate; `hash_key` says which shard it belongs to."""

    key: str
    hash_key: int
    data: bytes


class Unpacked(NamedTuple):
    """What a function gets for the records of a shard, and how many were left out."""

    records: list[KinesisRecord]
    dropped: int


def unpack(records: Sequence[KinesisRecord], hash_keys: range) -> Unpacked:
    """The records with user records in the place of aggregates (spec 3.4).

    A user record has the sequence number and the arrival time of its aggregate, and its own key and
    data.  One whose hash key is not of `hash_keys`, those of the shard, is left out, as AWS does:
    its producer sends it to the right shard, too.
    """
    unpacked: list[KinesisRecord] = []
    dropped = 0
    for record in records:
        users = _users(record)
        if users is None:
            unpacked.append(record)
            continue
        inside = [user for user in users if user.hash_key in hash_keys]
        dropped += len(users) - len(inside)
        unpacked += [
            type(record)(
                record.sequence,
                record.arrived_at,
                binascii.b2a_base64(user.data, newline=False).decode(),
                user.key,
            )
            for user in inside
        ]
    return Unpacked(unpacked, dropped)


def user_records(data: bytes) -> list[UserRecord] | None:
    """The records that an aggregate holds; None if `data` is none."""
    message, digest = data[len(MAGIC) : -DIGEST_BYTES], data[-DIGEST_BYTES:]
    if not data.startswith(MAGIC) or not message:
        return None
    if _md5(message) != digest:
        return None
    try:
        return _aggregated(message)
    except _NotOne:
        return None


def _users(record: KinesisRecord) -> list[UserRecord] | None:
    if not record.data.startswith(MAGIC_BASE64):
        return None
    try:
        return user_records(binascii.a2b_base64(record.data, strict_mode=True))
    except ValueError:
        return None


class _NotOne(ValueError):
    """This is no AggregatedRecord."""


def _aggregated(message: bytes) -> list[UserRecord]:
    """The records of an AggregatedRecord.  Raises _NotOne."""
    keys: list[str] = []
    hash_keys: list[int] = []
    records: list[bytes] = []
    for number, value in _fields(message):
        match number, value:
            case 1, bytes():
                keys.append(_text(value))
            case 2, bytes():
                hash_keys.append(_hash_key(_text(value)))
            case 3, bytes():
                records.append(value)
            case ((1 | 2 | 3), _):
                raise _NotOne
    if len(records) > USER_RECORDS_MAX:
        raise _NotOne
    own = [int.from_bytes(_md5(key.encode())) for key in keys]
    return [_record(record, keys, own, hash_keys) for record in records]


def _record(
    message: bytes, keys: Sequence[str], own: Sequence[int], hash_keys: Sequence[int]
) -> UserRecord:
    """`own`: the hash key of each key, which an explicit one replaces."""
    key: int | None = None
    explicit: int | None = None
    data: bytes | None = None
    for number, value in _fields(message):
        match number, value:
            case 1, int():
                key = value
            case 2, int():
                explicit = value
            case 3, bytes():
                data = value
            case ((1 | 2 | 3), _):
                raise _NotOne
    if key is None or data is None:
        raise _NotOne
    try:
        hash_key = own[key] if explicit is None else hash_keys[explicit]
        return UserRecord(keys[key], hash_key, data)
    except IndexError:
        raise _NotOne from None


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise _NotOne from None


def _hash_key(text: str) -> int:
    if not HASH_KEY.fullmatch(text):
        raise _NotOne
    return int(text)


# Protocol Buffers, as far as an aggregate needs them.


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes | None]]:
    """The fields of a message, in their order: number and value, None for a type of no use here.

    Raises _NotOne.
    """
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire_type == _BYTES:
            length, at = _varint(message, at)
        elif wire_type in _FIXED:
            length = _FIXED[wire_type]
        else:
            raise _NotOne
        if at + length > len(message):
            raise _NotOne
        yield number, message[at : at + length] if wire_type == _BYTES else None
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """The number that begins at `at`, and where it ends.  Raises _NotOne."""
    value = 0
    for shift, byte in enumerate(message[at : at + VARINT_BYTES_MAX]):
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, at + shift + 1
    raise _NotOne
