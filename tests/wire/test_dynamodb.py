"""DynamoDB Streams on the wire."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.core.shards import Shard
from poller.wire import dynamodb
from poller.wire.dynamodb import ShardPage, StreamCodec

ARN = "arn:aws:dynamodb:eu-west-1:123456789012:table/orders/stream/2024-11-25T15:53:20.000"
CODEC = StreamCodec(ARN)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ATTRIBUTE = st.recursive(
    st.one_of(
        st.builds(lambda text: {"S": text}, TEXT),
        st.builds(lambda number: {"N": str(number)}, st.integers()),
        st.builds(lambda flag: {"BOOL": flag}, st.booleans()),
    ),
    lambda inner: st.one_of(
        st.builds(lambda some: {"L": some}, st.lists(inner, max_size=3)),
        st.builds(lambda some: {"M": some}, st.dictionaries(TEXT, inner, max_size=3)),
    ),
    max_leaves=6,
)
ITEM = st.dictionaries(TEXT, ATTRIBUTE, min_size=1, max_size=4)
CHANGE = st.fixed_dictionaries(
    {
        "ApproximateCreationDateTime": st.one_of(
            st.integers(0, 2**33), st.floats(0, 2**33), st.sampled_from([1.7e9, 1732550000.123])
        ),
        "Keys": ITEM,
        "SequenceNumber": st.integers(1, 10**40).map(str),
    },
    optional={
        "NewImage": ITEM,
        "OldImage": ITEM,
        "SizeBytes": st.integers(0, 2**31),
        "StreamViewType": st.sampled_from(["KEYS_ONLY", "NEW_AND_OLD_IMAGES"]),
    },
)
RECORD = st.fixed_dictionaries(
    {
        "eventID": st.one_of(TEXT, st.just("0123456789abcdef0123456789abcdef")),
        "eventName": st.one_of(TEXT, st.sampled_from(["INSERT", "MODIFY", "REMOVE"])),
        "dynamodb": CHANGE,
    },
    optional={
        "awsRegion": st.just("elsewhere"),
        "eventSource": st.just("aws:dynamodb"),
        "eventVersion": st.sampled_from(["1.0", "1.1"]),
        "userIdentity": st.one_of(
            st.none(), st.fixed_dictionaries({"PrincipalId": TEXT, "Type": TEXT})
        ),
    },
)


def reply(*records: dict[str, Any], **members: Any) -> bytes:
    return json.dumps({"Records": records, **members}).encode()


def record(**change: Any) -> dict[str, Any]:
    basics = {"ApproximateCreationDateTime": 1.0, "Keys": {"id": {"S": "a"}}, "SequenceNumber": "1"}
    return {"eventID": "e", "eventName": "INSERT", "dynamodb": {**basics, **change}}


@pytest.mark.proves("S10.ttl")
def test_an_event_is_what_aws_sends_byte_for_byte() -> None:
    source = b"""{"NextShardIterator":"i","Records":[{"awsRegion":"eu-west-1","dynamodb":{
        "SequenceNumber":"42","OldImage":{"id":{"S":"a"},"n":{"N":"1"}},"SizeBytes":70,
        "Keys":{"id":{"S":"a"}},"ApproximateCreationDateTime":1.73255E9,
        "NewImage":{"b":{"B":"Zm9vYmFy"},"id":{"S":"a"}},"StreamViewType":"NEW_AND_OLD_IMAGES"},
        "eventID":"0f0e","eventName":"REMOVE","eventSource":"aws:dynamodb","eventVersion":"1.0",
        "userIdentity":{"PrincipalId":"dynamodb.amazonaws.com","Type":"Service"}}]}"""

    event = CODEC.event(CODEC.page(source).Records)

    assert event == (
        b'{"Records":[{"eventID":"0f0e","eventName":"REMOVE","eventVersion":"1.1",'
        b'"eventSource":"aws:dynamodb","awsRegion":"eu-west-1","dynamodb":{'
        b'"ApproximateCreationDateTime":1732550000.0,"Keys":{"id":{"S":"a"}},'
        b'"NewImage":{"b":{"B":"Zm9vYmFy"},"id":{"S":"a"}},'
        b'"OldImage":{"id":{"S":"a"},"n":{"N":"1"}},"SequenceNumber":"42","SizeBytes":70,'
        b'"StreamViewType":"NEW_AND_OLD_IMAGES"},'
        b'"userIdentity":{"type":"Service","principalId":"dynamodb.amazonaws.com"},'
        b'"eventSourceARN":"' + ARN.encode() + b'"}]}'
    )


def test_what_a_record_does_not_have_its_event_does_not_have() -> None:
    event = json.loads(CODEC.event(CODEC.page(reply(record())).Records))["Records"][0]

    assert list(event) == [
        "eventID",
        "eventName",
        "eventVersion",
        "eventSource",
        "awsRegion",
        "dynamodb",
        "eventSourceARN",
    ]
    assert list(event["dynamodb"]) == ["ApproximateCreationDateTime", "Keys", "SequenceNumber"]


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("1732550000", "1732550000.0"),
        ("1732550000.0", "1732550000.0"),
        ("1.73255E9", "1732550000.0"),
        ("1732550000.999", "1732550000.0"),
        ("0", "0.0"),
    ],
)
def test_a_creation_time_is_written_as_whole_seconds_with_a_point(given: str, written: str) -> None:
    text = reply(record()).replace(
        b'"ApproximateCreationDateTime": 1.0', f'"ApproximateCreationDateTime":{given}'.encode()
    )
    page = CODEC.page(text)

    assert f'"ApproximateCreationDateTime":{written},'.encode() in CODEC.event(page.Records)
    assert page.Records[0].arrived_at == float(written)


@pytest.mark.parametrize("image", ['{ "id" : {"S":"\\u00e9"} }', '{"n":{"N":"1E+5"}}', "{}"])
def test_images_are_never_rewritten(image: str) -> None:
    text = reply(record(NewImage="?")).replace(b'"?"', image.encode())

    assert f'"NewImage":{image}'.encode() in CODEC.event(CODEC.page(text).Records)


@given(st.lists(RECORD, max_size=5))
def test_an_event_holds_every_record_whole(records: list[dict[str, Any]]) -> None:
    event = json.loads(CODEC.event(CODEC.page(reply(*records)).Records))

    assert len(event["Records"]) == len(records)
    for given_record, sent in zip(records, event["Records"], strict=True):
        change = given_record["dynamodb"]
        seconds = float(change["ApproximateCreationDateTime"] // 1)
        assert sent["dynamodb"] == {**change, "ApproximateCreationDateTime": seconds}
        assert (sent["eventID"], sent["eventName"]) == (
            given_record["eventID"],
            given_record["eventName"],
        )


@given(st.lists(RECORD, min_size=1, max_size=5))
def test_a_size_is_never_less_than_the_truth(records: list[dict[str, Any]]) -> None:
    text = json.dumps({"Records": records}, separators=(",", ":"), ensure_ascii=False).encode()
    page = CODEC.page(text)
    sizes = [item.size for item in page.Records]
    alone = [len(CODEC.event([item])) - len('{"Records":[]}') + 1 for item in page.Records]

    assert all(size >= truth for size, truth in zip(sizes, alone, strict=True))
    assert sum(sizes) <= len(text) + len(records) * CODEC.frame


@given(ITEM, st.randoms())
def test_a_key_does_not_depend_on_the_order_of_attributes(
    keys: dict[str, Any], random: Any
) -> None:
    shuffled = list(keys.items())
    random.shuffle(shuffled)
    one, other = CODEC.page(reply(record(Keys=keys), record(Keys=dict(shuffled)))).Records

    assert one.key == other.key


def test_keys_of_different_items_differ() -> None:
    keys = [{"id": {"S": "1"}}, {"id": {"N": "1"}}, {"id": {"S": "1"}, "at": {"N": "1"}}]

    assert (
        len({item.key for item in CODEC.page(reply(*(record(Keys=k) for k in keys))).Records}) == 3
    )


@pytest.mark.parametrize(
    "garbled",
    [
        b"",
        b"{}",  # would otherwise read as the end of the shard
        b"[]",
        b"<html>",
        reply(record())[:-9],
        reply({"eventID": "e", "eventName": "INSERT"}),
        reply(record(SequenceNumber="")),
        reply(record(SequenceNumber="-1")),
        reply(record(SequenceNumber="1e5")),
        reply(record(SequenceNumber="\u0663")),  # a digit to Python, but not to DynamoDB
        reply(record(SequenceNumber=7)),
        reply(record(ApproximateCreationDateTime="now")),
        reply(record(NewImage="?")).replace(b'"?"', b'{"a":{"S":"\xff"}}'),
        reply(record(NewImage="?")).replace(b'"?"', b'{"L":' + b"[" * 5000 + b"]" * 5000 + b"}"),
    ],
)
def test_a_garbled_reply_is_a_value_error(garbled: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        CODEC.page(garbled)


def test_a_page_tells_where_the_next_one_begins() -> None:
    assert CODEC.page(reply(NextShardIterator="next")).NextShardIterator == "next"
    assert CODEC.page(reply(NextShardIterator=None)).NextShardIterator is None
    assert CODEC.page(reply()).NextShardIterator is None


def test_shards_have_at_most_one_parent_and_are_closed_by_an_ending_sequence() -> None:
    shards = [
        {"ShardId": "a", "SequenceNumberRange": {"StartingSequenceNumber": "1"}},
        {
            "ShardId": "b",
            "ParentShardId": "a",
            "SequenceNumberRange": {"StartingSequenceNumber": "5", "EndingSequenceNumber": "9"},
        },
    ]
    description = {"Shards": shards, "LastEvaluatedShardId": "b", "StreamStatus": "ENABLED"}

    page = dynamodb.shard_page(json.dumps({"StreamDescription": description}).encode())

    assert page == ShardPage((Shard("a"), Shard("b", ("a",), closed=True)), "b")


def test_requests_ask_for_no_more_than_dynamodb_gives() -> None:
    assert json.loads(dynamodb.records_request("i", 10_000)) == {
        "ShardIterator": "i",
        "Limit": 1000,
    }
    assert json.loads(dynamodb.records_request("i", 7))["Limit"] == 7
    assert json.loads(dynamodb.describe_request(ARN, "s")) == {
        "StreamArn": ARN,
        "Limit": 100,
        "ExclusiveStartShardId": "s",
    }
