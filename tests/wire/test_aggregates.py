"""Aggregates come apart into what went into them, and nothing else is taken for one."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.wire import aggregates
from poller.wire.aggregates import UserRecord, unpack, user_records
from poller.wire.kinesis import EVERY_HASH_KEY, KinesisRecord
from tests.aggregates import MAGIC, aggregate, of_bytes, of_number, sealed, varint


def outer(data: bytes, sequence: str = "7") -> KinesisRecord:
    return KinesisRecord(sequence, 1.5, base64.b64encode(data).decode(), "outer")


def hash_of(key: str) -> int:
    return int(hashlib.md5(key.encode()).hexdigest(), 16)


users = st.lists(
    st.tuples(st.text(max_size=5), st.none() | st.integers(0, 2**128 - 1), st.binary(max_size=20)),
    max_size=20,
)
unknown_fields = st.sampled_from(
    [
        b"",
        of_bytes(4, of_bytes(1, b"tag") + of_bytes(2, b"value")),
        of_number(9, 2**64 - 1),
        varint(15 << 3 | 1) + bytes(8),
        varint(2000 << 3 | 5) + bytes(4),
    ]
)


@given(users.filter(bool), unknown_fields)
def test_an_aggregate_comes_apart_into_what_went_into_it(
    packed: list[tuple[str, int | None, bytes]], extra: bytes
) -> None:
    assert user_records(aggregate(packed, extra)) == [
        UserRecord(key, hash_of(key) if hash_key is None else hash_key, data)
        for key, hash_key, data in packed
    ]


@given(users, st.data())
def test_user_records_stand_where_their_aggregate_stood(
    packed: list[tuple[str, int | None, bytes]], data: st.DataObject
) -> None:
    before, behind = outer(b"before", "6"), outer(b"behind", "8")
    whole = outer(aggregate(packed, extra=of_number(9, 1)))

    found = unpack([before, whole, behind], EVERY_HASH_KEY)

    inner = [
        KinesisRecord("7", 1.5, base64.b64encode(content).decode(), key)
        for key, _, content in packed
    ]
    assert found == ([before, *inner, behind], 0)


def test_user_records_of_another_shard_are_left_out_and_counted() -> None:
    packed = [("a", None, b"1"), ("a", 5, b"2"), ("b", None, b"3"), ("b", 2**128 - 1, b"4")]
    low, high = range(2**127), range(2**127, 2**128)
    assert (hash_of("a") in low, hash_of("b") in high) == (True, True)

    for shard, expected in ((low, [b"1", b"2"]), (high, [b"3", b"4"])):
        found = unpack([outer(aggregate(packed))], shard)
        assert [base64.b64decode(record.data) for record in found.records] == expected
        assert found.dropped == 2


ONE = of_bytes(1, b"key") + of_bytes(3, of_number(1, 0) + of_bytes(3, b"data"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        MAGIC,
        MAGIC + bytes(16),
        sealed(b""),
        sealed(ONE)[:-1],
        sealed(ONE)[:-1] + bytes([sealed(ONE)[-1] ^ 1]),
        b"\xf3\x89\x9a\xc3" + sealed(ONE)[4:],
        sealed(ONE[:-1]),
        sealed(ONE + b"\x80"),
        sealed(ONE + b"\xff" * 11),
        sealed(ONE + varint(9 << 3 | 3)),  # a group
        sealed(ONE + of_bytes(1, b"\xff\xfe")),
        sealed(ONE + of_bytes(2, b"-1")),
        sealed(ONE + of_bytes(2, b"1" * 40)),
        sealed(ONE + of_number(1, 1)),
        sealed(ONE + varint(3 << 3 | 5) + bytes(4)),
        sealed(of_bytes(3, of_number(1, 0) + of_bytes(3, b"data"))),  # no such key
        sealed(ONE + of_bytes(3, of_number(1, 0))),  # no data
        sealed(ONE + of_bytes(3, of_bytes(3, b"data"))),  # no key
        sealed(ONE + of_bytes(3, of_number(1, 0) + of_number(2, 0) + of_bytes(3, b"data"))),
        sealed(ONE + of_bytes(3, of_bytes(1, b"") + of_bytes(3, b"data"))),
        sealed(ONE + varint(3 << 3 | 2) + varint(2**63)),
    ],
)
def test_what_is_no_sound_aggregate_is_left_as_it_is(data: bytes) -> None:
    assert user_records(data) is None
    assert unpack([outer(data)], EVERY_HASH_KEY) == ([outer(data)], 0)


@given(st.binary(max_size=60))
def test_any_bytes_that_are_sealed_are_taken_apart_or_left_as_they_are(message: bytes) -> None:
    found = user_records(sealed(message))
    assert found is None or all(isinstance(user, UserRecord) for user in found)


def test_more_user_records_than_a_record_can_hold_are_left_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(aggregates, "USER_RECORDS_MAX", 2)
    packed = [("key", None, b"")] * 3
    assert user_records(aggregate(packed)) is None
    assert user_records(aggregate(packed[:2])) is not None


@pytest.mark.parametrize("text", ["84maw", "84mawg=", "84mawg!!", "84mawgä"])
def test_data_that_is_not_base64_is_left_as_it_is(text: str) -> None:
    record = KinesisRecord("7", 1.5, text, "outer")
    assert unpack([record], EVERY_HASH_KEY) == ([record], 0)
