from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.core.shards import Shard
from poller.wire.kinesis import KinesisCodec, Malformed, iterator_of, shards_of

SHARD = "shardId-000000000000"
STREAM = "arn:aws:kinesis:us-east-1:123456789012:stream/orders"
ROLE = "arn:aws:iam::123456789012:role/lambda-role"
SEQUENCE = "49657838237398893836418478826418206371738316953164677122"
CODEC = KinesisCodec(source_arn=STREAM, role_arn=ROLE)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
records = st.fixed_dictionaries(
    {
        "SequenceNumber": st.integers(0, 10**128).map(str),
        "ApproximateArrivalTimestamp": st.integers(10**9, 5 * 10**9)
        | st.integers(10**12, 5 * 10**12).map(lambda millis: millis / 1000)
        | st.floats(0, 1e12),
        "Data": st.binary(max_size=300).map(lambda data: base64.b64encode(data).decode()),
    },
    optional={"PartitionKey": texts, "EncryptionType": st.just("KMS")},
)
shards = st.from_regex(r"[a-zA-Z0-9_.-]{1,128}", fullmatch=True)


def reply_of(found: list[dict[str, Any]], **others: Any) -> bytes:
    return json.dumps(
        {"Records": found, "NextShardIterator": "next", "MillisBehindLatest": 0, **others},
        ensure_ascii=False,
        separators=(",", ":"),
    ).encode()


def event_record(shard: str, record: dict[str, Any]) -> dict[str, Any]:
    """Spec 10.1, written down anew."""
    key = {"partitionKey": record["PartitionKey"]} if "PartitionKey" in record else {}
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            **key,
            "sequenceNumber": record["SequenceNumber"],
            "data": record["Data"],
            "approximateArrivalTimestamp": record["ApproximateArrivalTimestamp"],
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{shard}:{record['SequenceNumber']}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": ROLE,
        "awsRegion": "us-east-1",
        "eventSourceARN": STREAM,
    }


def test_an_event_is_what_aws_sends_to_the_byte() -> None:
    body = (
        b'{"MillisBehindLatest":0,"NextShardIterator":"AAAA","Records":[{"ApproximateArrival'
        b'Timestamp":1.732550000123E9,"Data":"aGVsbG8=","PartitionKey":"test_0",'
        b'"SequenceNumber":"%b"}]}' % SEQUENCE.encode()
    )

    event = CODEC.event(SHARD, CODEC.reply(SHARD, body).records)

    assert event.decode() == (
        '{"Records":[{"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":"test_0",'
        f'"sequenceNumber":"{SEQUENCE}","data":"aGVsbG8=",'
        '"approximateArrivalTimestamp":1732550000.123},"eventSource":"aws:kinesis",'
        f'"eventVersion":"1.0","eventID":"{SHARD}:{SEQUENCE}","eventName":"aws:kinesis:record",'
        f'"invokeIdentityArn":"{ROLE}","awsRegion":"us-east-1","eventSourceARN":"{STREAM}"}}]}}'
    )


@given(shards, st.lists(records, max_size=5))
def test_an_event_holds_what_the_reply_held(shard: str, found: list[dict[str, Any]]) -> None:
    reply = CODEC.reply(shard, reply_of(found))

    event = json.loads(CODEC.event(shard, reply.records))

    assert event == {"Records": [event_record(shard, record) for record in found]}
    assert [list(record["kinesis"]) for record in event["Records"]] == [
        list(event_record(shard, record)["kinesis"]) for record in found
    ]


def test_a_window_without_records_is_an_event_too() -> None:
    assert CODEC.event(SHARD, []) == b'{"Records":[]}'


@given(shards, records)
def test_a_size_is_never_less_than_the_truth_and_hardly_more(
    shard: str, found: dict[str, Any]
) -> None:
    [record] = CODEC.reply(shard, reply_of([found])).records

    real = len(CODEC.event(shard, [record])) - len('{"Records":[]}') + len(",")

    assert real <= record.size <= real + 24 + (20 if record.key is None else 0)


@given(shards, st.lists(records, max_size=5))
def test_a_reply_bounds_the_sum_of_its_sizes(shard: str, found: list[dict[str, Any]]) -> None:
    found.sort(key=lambda record: int(record["SequenceNumber"]))
    body = reply_of(found)
    reply = CODEC.reply(shard, body)

    bound = CODEC.size_max(reply.records, body)

    assert sum(record.size for record in reply.records) <= bound <= 2 * len(body) + 700 * len(found)


@pytest.mark.parametrize(
    ("text", "arrived_at", "written"),
    [
        ("1732550000.123", 1732550000.123, "1732550000.123"),
        ("1.732550000123E9", 1732550000.123, "1732550000.123"),
        ("1732550000", 1732550000.0, "1732550000.0"),
        ("1.73255E9", 1732550000.0, "1732550000.0"),
    ],
)
def test_an_arrival_time_is_read_in_any_form_and_written_as_seconds(
    text: str, arrived_at: float, written: str
) -> None:
    body = (
        f'{{"Records":[{{"SequenceNumber":"1","Data":"","ApproximateArrivalTimestamp":{text}}}]}}'
    )

    [record] = CODEC.reply(SHARD, body.encode()).records

    assert record.arrived_at == arrived_at
    assert f'"approximateArrivalTimestamp":{written}}}' in CODEC.event(SHARD, [record]).decode()


def test_arns_are_written_as_json() -> None:
    codec = KinesisCodec(source_arn=STREAM, role_arn='a"role\\')

    record = CODEC.reply(
        SHARD, b'{"Records":[{"SequenceNumber":"1","Data":"","ApproximateArrivalTimestamp":1}]}'
    ).records[0]

    event = json.loads(codec.event(SHARD, [record]))
    assert event["Records"][0]["invokeIdentityArn"] == 'a"role\\'


@pytest.mark.parametrize(
    ("others", "next_iterator", "millis_behind"),
    [
        ({}, "next", 0.0),
        ({"MillisBehindLatest": 1500}, "next", 1500.0),
        ({"NextShardIterator": None, "ChildShards": [{"ShardId": "x"}]}, None, 0.0),
        ({"MillisBehindLatest": None}, "next", None),
    ],
)
def test_what_stands_beside_the_records_is_read(
    others: dict[str, Any], next_iterator: str | None, millis_behind: float | None
) -> None:
    reply = CODEC.reply(SHARD, reply_of([], **others))

    assert (reply.next_iterator, reply.millis_behind) == (next_iterator, millis_behind)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"<html>",
        b"[]",
        b"{}",
        b'{"Records":null}',
        b'{"Records":[{"SequenceNumber":"1","Data":""}]}',
        b'{"Records":[{"SequenceNumber":1,"Data":"","ApproximateArrivalTimestamp":1}]}',
        b'{"Records":[{"SequenceNumber":"1","Data":"\xff","ApproximateArrivalTimestamp":1}]}',
        b'{"Records":[],"NextShardIterator":1}',
        b'{"Records":[]',
    ],
)
def test_garbage_is_told_from_a_reply(body: bytes) -> None:
    with pytest.raises(Malformed, match="not what Kinesis answers") as garbage:
        CODEC.reply(SHARD, body)

    assert "\n" not in str(garbage.value)


def test_a_list_of_shards_tells_parents_and_ends() -> None:
    listed = [
        {"ShardId": "a", "SequenceNumberRange": {"EndingSequenceNumber": "9"}},
        {"ShardId": "b", "ParentShardId": "a", "SequenceNumberRange": {}},
        {
            "ShardId": "c",
            "ParentShardId": "a",
            "AdjacentParentShardId": "b",
            "SequenceNumberRange": {"StartingSequenceNumber": "1", "EndingSequenceNumber": None},
        },
        {"ShardId": "d", "ParentShardId": None, "SequenceNumberRange": {}},
    ]

    page = shards_of(json.dumps({"Shards": listed, "NextToken": "more"}).encode())

    assert page.next_token == "more"
    assert [listed.shard() for listed in page.listed] == [
        Shard("a", closed=True),
        Shard("b", ("a",)),
        Shard("c", ("a", "b")),
        Shard("d"),
    ]


def test_an_iterator_is_taken_from_its_reply() -> None:
    assert iterator_of(b'{"ShardIterator":"AAAA"}') == "AAAA"
    with pytest.raises(Malformed):
        iterator_of(b"{}")
