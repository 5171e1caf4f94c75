"""The filters of a mapping, for each kind of source: the rules of spec 9.1 and the table of 9.4."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.wire.arns import SourceKind
from poller.wire.dynamodb import StreamCodec
from poller.wire.filters import Filter, Filters
from poller.wire.kinesis import KinesisCodec
from poller.wire.pattern_values import PatternError
from poller.wire.seen import document
from poller.wire.sqs import QueueCodec

STREAM = "arn:aws:kinesis:us-east-1:123456789012:stream/orders"
TABLE = "arn:aws:dynamodb:us-east-1:123456789012:table/users/stream/2026-01-31T12:00:00.000"
QUEUE = "arn:aws:sqs:us-east-1:123456789012:jobs"
SHARD = "shardId-000000000001"

_KINESIS = KinesisCodec(source_arn=STREAM, role_arn="arn:aws:iam::123456789012:role/r")
_DYNAMODB = StreamCodec(TABLE)
_SQS = QueueCodec(QUEUE, windowed=False)


def kinesis(data: bytes, key: str = "k") -> Any:
    record = {
        "SequenceNumber": "495",
        "ApproximateArrivalTimestamp": 1.7e9,
        "Data": base64.b64encode(data).decode(),
        "PartitionKey": key,
    }
    reply = json.dumps({"Records": [record], "MillisBehindLatest": 0}).encode()
    return _KINESIS.reply(SHARD, reply).records[0]


def dynamodb(new: dict[str, Any], name: str = "INSERT") -> Any:
    change = {
        "ApproximateCreationDateTime": 1732550000.4,
        "Keys": {"id": {"S": "1"}},
        "NewImage": new,
        "SequenceNumber": "123",
        "SizeBytes": 50,
        "StreamViewType": "NEW_IMAGE",
    }
    record = {"eventID": "e", "eventName": name, "dynamodb": change}
    record["userIdentity"] = {"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"}
    return _DYNAMODB.page(json.dumps({"Records": [record]}).encode()).Records[0]


def sqs(body: str) -> Any:
    message = {
        "MessageId": "m-1",
        "ReceiptHandle": "r",
        "Body": body,
        "MD5OfBody": "x",
        "Attributes": {"ApproximateReceiveCount": "1"},
        "MessageAttributes": {"kind": {"DataType": "String", "StringValue": "new"}},
    }
    return _SQS.messages(json.dumps({"Messages": [message]}).encode())[0]


EVENTS: dict[SourceKind, Callable[[Any], bytes]] = {
    SourceKind.KINESIS: lambda record: _KINESIS.event(SHARD, [record]),
    SourceKind.DYNAMODB: lambda record: _DYNAMODB.event([record]),
    SourceKind.SQS: lambda message: _SQS.event([message]),
}


def accepts(kind: SourceKind, record: Any, *patterns: Any) -> bool:
    """As a mapping finds it, which is what `poller filter` says of its event."""
    texts = [json.dumps(pattern) for pattern in patterns]
    accepted = Filters(kind, texts).for_records(EVENTS[kind])(record)
    (in_event,) = json.loads(EVENTS[kind](record))["Records"]
    assert any(not Filter(kind, text).misses(in_event) for text in texts) == accepted
    return accepted


K, D, S = SourceKind.KINESIS, SourceKind.DYNAMODB, SourceKind.SQS
ORDER = b'{"city": "Seattle", "n": 5}'
CITY = {"city": ["Seattle"]}
NO_CITY = {"town": [{"exists": False}]}


@pytest.mark.proves("D45", "FilterCriteria", "S9.4.formats")
@pytest.mark.parametrize(
    ("record", "pattern", "accepted"),
    [
        (kinesis(ORDER), {"data": CITY}, True),
        (kinesis(ORDER), {"data": {"city": ["Paris"]}}, False),
        (kinesis(ORDER), {"data.city": ["Seattle"]}, True),
        (kinesis(ORDER), {"data": NO_CITY}, True),
        (kinesis(b"[1, " + ORDER + b"]"), {"data": CITY}, True),
        # non-JSON data: no match, whatever is asked of its fields
        (kinesis(b"Seattle"), {"data": CITY}, False),
        (kinesis(b"Seattle"), {"data": NO_CITY}, False),
        (kinesis(b"\xff\xfe{}"), {"data": NO_CITY}, False),
        (kinesis(b""), {"data": NO_CITY}, False),
        (kinesis(b'"Seattle"'), {"data": NO_CITY}, False),
        (kinesis(b"5"), {"data": NO_CITY}, False),
        (kinesis(b'{"city": "Seattle"'), {"data": NO_CITY}, False),
        # metadata alone: the data does not matter
        (kinesis(b"\xff"), {"partitionKey": ["k"]}, True),
        (kinesis(b"\xff"), {"partitionKey": ["l"]}, False),
        (kinesis(b"\xff"), {"sequenceNumber": ["495"]}, True),
        (kinesis(b"\xff"), {"approximateArrivalTimestamp": [{"numeric": [">", 0]}]}, True),
        (kinesis(b"\xff"), {"kinesisSchemaVersion": ["1.0"]}, True),
        (kinesis(b"\xff"), {"eventSource": ["aws:kinesis"], "eventSourceARN": [STREAM]}, True),
        (kinesis(b"\xff"), {"eventID": [f"{SHARD}:495"], "awsRegion": ["us-east-1"]}, True),
        (kinesis(b"\xff"), {"eventName": ["aws:kinesis:record"]}, True),
        (kinesis(ORDER), {"data": CITY, "eventName": ["aws:kinesis:record"]}, True),
        (kinesis(ORDER), {"data": CITY, "partitionKey": ["l"]}, False),
        (kinesis(b"x"), {"$or": [{"data": CITY}, {"partitionKey": ["k"]}]}, True),
        # the members of "kinesis" are not under that name
        (kinesis(ORDER), {"kinesis": {"partitionKey": ["k"]}}, False),
        (kinesis(ORDER), {"Data": CITY}, False),
    ],
)  # fmt: skip
def test_what_a_filter_sees_of_a_kinesis_record(record: Any, pattern: Any, accepted: bool) -> None:
    assert accepts(K, record, pattern) == accepted


ITEM = {"presentKey": {"S": "v"}, "n": {"N": "101"}, "l": {"L": [{"S": "a"}, {"N": "1"}]}}


def of_new(pattern: Any) -> dict[str, Any]:
    return {"dynamodb": {"NewImage": pattern}}


@pytest.mark.proves("D46", "FilterCriteria")
@pytest.mark.parametrize(
    ("pattern", "accepted"),
    [
        (of_new({"presentKey": {"S": ["v"]}}), True),
        (of_new({"presentKey": ["v"]}), False),
        # recorded: existence is asked of leaves alone
        (of_new({"presentKey": [{"exists": False}]}), True),
        (of_new({"presentKey": {"S": [{"exists": False}]}}), False),
        # numbers are text
        (of_new({"n": {"N": [{"numeric": [">", 100]}]}}), False),
        (of_new({"n": {"N": [{"numeric": [">", 100]}, {"anything-but": "101"}]}}), False),
        (of_new({"n": {"N": ["101"]}}), True),
        (of_new({"l": {"L": {"S": ["a"]}}}), True),
        (of_new({"l": {"L": {"S": [{"exists": True}], "N": [{"exists": True}]}}}), False),
        ({"dynamodb": {"Keys": {"id": {"S": ["1"]}}}, "eventName": ["INSERT"]}, True),
        ({"dynamodb": {"OldImage": {"id": {"S": [{"exists": False}]}}}}, True),
        ({"dynamodb": {"ApproximateCreationDateTime": [{"numeric": [">", 0]}]}}, True),
        ({"dynamodb": {"ApproximateCreationDateTime": [1732550000]}}, True),
        ({"dynamodb": {"SizeBytes": [50], "StreamViewType": ["NEW_IMAGE"]}}, True),
        ({"dynamodb": {"SequenceNumber": ["123"], "Nothing": [{"exists": False}]}}, True),
        ({"eventName": ["INSERT"], "eventSource": ["aws:dynamodb"]}, True),
        ({"eventName": ["MODIFY", {"prefix": "REM"}]}, False),
        ({"userIdentity": {"type": ["Service"], "principalId": ["dynamodb.amazonaws.com"]}}, True),
        ({"eventSourceARN": [TABLE], "eventVersion": ["1.1"], "awsRegion": ["us-east-1"]}, True),
    ],
)  # fmt: skip
def test_what_a_filter_sees_of_a_dynamodb_record(pattern: Any, accepted: bool) -> None:
    assert accepts(D, dynamodb(ITEM), pattern) == accepted


@pytest.mark.proves("D47", "D48", "FilterCriteria", "S9.4.formats")
@pytest.mark.parametrize(
    ("body", "pattern", "accepted"),
    [
        # text and a pattern for text
        ("hello", {"body": ["hello"]}, True),
        ("hello", {"body": [{"prefix": "hel"}]}, True),
        ("hello", {"body": ["bye"]}, False),
        ("hello", {"body": [{"exists": False}]}, False),
        ("42", {"body": ["42"]}, True),
        ("42", {"body": [42]}, False),
        ('"hello"', {"body": ['"hello"']}, True),
        ("", {"body": [""]}, True),
        # text and a pattern for fields
        ("hello", {"body": CITY}, False),
        ("hello", {"body": NO_CITY}, False),
        ("{broken", {"body": NO_CITY}, False),
        ("42", {"body": NO_CITY}, False),
        # JSON and a pattern for text
        ('{"city": "Seattle"}', {"body": [{"prefix": "{"}]}, False),
        ('{"city": "Seattle"}', {"body": [{"exists": True}]}, False),
        ('{"city": "Seattle"}', {"body": [{"exists": False}]}, False),
        ('["Seattle"]', {"body": ["Seattle"]}, False),
        # JSON and a pattern for fields
        ('{"city": "Seattle"}', {"body": CITY}, True),
        (' \n{"city": "Seattle"}', {"body": CITY}, True),
        (" " * 100 + '{"city": "Seattle"}', {"body": CITY}, True),
        ('{"city": "Paris"}', {"body": CITY}, False),
        ('{"city": "Paris"}', {"body": NO_CITY}, True),
        ('[{"city": "Paris"}, {"city": "Seattle"}]', {"body": CITY}, True),
        ('{"city": "Seattle", "n": 1e400}', {"body": CITY}, True),
        ('{"city": "Seattle", "n": ' + "9" * 5000 + "}", {"body": CITY}, True),
        ('{"city": "Seattle", "half": "\\ud800"}', {"body": CITY}, True),
        ('{"city": "Seattle", "n": NaN}', {"body": CITY}, False),
        ('{"city": "Seattle"} and more', {"body": CITY}, False),
        # either
        ("hello", {"$or": [{"body": ["hello"]}, {"body": CITY}]}, True),
        ('{"city": "Seattle"}', {"$or": [{"body": ["hello"]}, {"body": CITY}]}, True),
        ("hello", {"body": ["hello"], "body.city": ["Seattle"]}, False),
        # metadata alone
        ("hello", {"messageId": ["m-1"], "eventSource": ["aws:sqs"]}, True),
        ("hello", {"attributes": {"ApproximateReceiveCount": ["1"]}}, True),
        ("hello", {"messageAttributes": {"kind": {"stringValue": ["new"]}}}, True),
        ("hello", {"messageAttributes": {"kind": {"stringValue": ["old"]}}}, False),
        ("hello", {"awsRegion": ["us-east-1"], "eventSourceARN": [QUEUE]}, True),
        ("hello", {"body": ["hello"], "messageId": ["m-1"]}, True),
        ("hello", {"body": CITY, "messageId": ["m-1"]}, False),
        # recorded, with their limits
        ('{"n": 101}', {"body": {"n": [{"numeric": [">", 100]}]}}, True),
        ('{"n": 100}', {"body": {"n": [{"numeric": [">", 100]}]}}, False),
        ('{"n": 99}', {"body": {"n": [{"numeric": ["<", 100]}]}}, True),
        ('{"n": 100}', {"body": {"n": [{"numeric": ["<", 100]}]}}, False),
        ('{"n": 100}', {"body": {"n": [{"numeric": [">=", 100, "<", 200]}]}}, True),
        ('{"n": 200}', {"body": {"n": [{"numeric": [">=", 100, "<", 200]}]}}, False),
        ('{"city": "Seattle"}', {"body": {"city": [{"prefix": "Sea"}]}}, True),
        ('{"city": "Seattle"}', {"body": {"city": [{"exists": True}]}}, True),
    ],
    ids=lambda value: repr(value)[:60],
)  # fmt: skip
def test_what_a_filter_sees_of_a_message(body: str, pattern: Any, accepted: bool) -> None:
    assert accepts(S, sqs(body), pattern) == accepted


@pytest.mark.proves("D49", "FilterCriteria")
def test_one_filter_that_matches_is_enough() -> None:
    either = ({"body": {"n": [1]}}, {"body": ["x"]})
    assert accepts(S, sqs('{"n": 1}'), *either)
    assert accepts(S, sqs("x"), *either)
    assert not accepts(S, sqs('{"n": 2}'), *either)


@pytest.mark.parametrize(
    ("kind", "pattern"),
    [
        (K, {"data": ["x"]}),
        (K, {"data": [{"exists": True}]}),
        (K, {"$or": [{"data": ["x"]}, {"partitionKey": ["k"]}]}),
        (D, {"dynamodb": [{"exists": True}]}),
    ],
)
def test_stream_data_is_matched_field_by_field_or_not_at_all(
    kind: SourceKind, pattern: Any
) -> None:
    with pytest.raises(PatternError):
        Filter(kind, json.dumps(pattern))


def test_a_member_that_no_record_has_is_warned_about() -> None:
    (warning,) = Filter(K, '{"kinesis": {"data": {"a": [1]}}}').warnings
    assert warning.startswith('no Kinesis record has "kinesis"; there are data, partitionKey')
    assert Filter(S, '{"body": ["x"], "messageId": ["y"]}').warnings == ()


DATA = st.binary(max_size=40) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
).map(lambda value: json.dumps(value).encode())


@given(DATA, st.sampled_from([{"data": CITY}, {"data": NO_CITY}, {"partitionKey": ["k"]}]))
def test_any_data_is_judged(data: bytes, pattern: Any) -> None:
    assert accepts(K, kinesis(data), pattern) in {True, False}


def test_data_that_nests_too_deeply_to_be_read_is_no_json() -> None:
    assert document("[" * 100_000 + "]" * 100_000) is None
    assert document(b'{"a":' * 100_000) is None
