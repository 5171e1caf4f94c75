"""SQS on the wire."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.wire import sqs
from poller.wire.sqs import EntryFailure, QueueAttributes, QueueCodec, effective_visibility

ARN = "arn:aws:sqs:eu-west-1:123456789012:orders"
CODEC = QueueCodec(ARN, windowed=False)

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
MESSAGE = st.fixed_dictionaries(
    {
        "MessageId": st.uuids().map(str),
        "ReceiptHandle": TEXT,
        "Body": TEXT,
        "MD5OfBody": st.just("d41d8cd98f00b204e9800998ecf8427e"),
    },
    optional={"Attributes": st.dictionaries(TEXT, TEXT, max_size=4)},
)


def reply(*messages: dict[str, Any]) -> bytes:
    return json.dumps({"Messages": messages}).encode()


def message(**members: Any) -> dict[str, Any]:
    basics = {"MessageId": "m", "ReceiptHandle": "r", "Body": "b", "MD5OfBody": "5"}
    return {**basics, **members}


def event(codec: QueueCodec, *messages: dict[str, Any]) -> dict[str, Any]:
    return json.loads(codec.event(codec.messages(reply(*messages))))


def test_a_message_knows_the_traces_that_its_producer_named() -> None:
    traced = message(
        Attributes={"AWSTraceHeader": "Root=1-5"},
        MessageAttributes={"traceparent": {"StringValue": "00-5", "DataType": "String"}},
    )
    binary = message(
        MessageAttributes={"traceparent": {"BinaryValue": "AAE=", "DataType": "Binary"}}
    )
    found = [
        (each.trace_header, each.traceparent)
        for each in CODEC.messages(reply(traced, binary, message()))
    ]
    assert found == [("Root=1-5", "00-5"), (None, None), (None, None)]


def test_an_event_is_what_aws_sends_byte_for_byte() -> None:
    received = message(
        Attributes={"ApproximateReceiveCount": "1", "SentTimestamp": "1545082649183"},
        MessageAttributes={
            "WeeksOn": {"StringValue": "6", "DataType": "Number"},
            "Seal": {"BinaryValue": "AAE=", "DataType": "Binary"},
        },
        MD5OfMessageAttributes="d25a",
    )

    assert CODEC.event(CODEC.messages(reply(received))) == (
        b'{"Records":[{"messageId":"m","receiptHandle":"r","body":"b","attributes":{'
        b'"ApproximateReceiveCount":"1","SentTimestamp":"1545082649183"},"messageAttributes":{'
        b'"WeeksOn":{"stringValue":"6","stringListValues":[],"binaryListValues":[],'
        b'"dataType":"Number"},"Seal":{"binaryValue":"AAE=","stringListValues":[],'
        b'"binaryListValues":[],"dataType":"Binary"}},"md5OfMessageAttributes":"d25a",'
        b'"md5OfBody":"5","eventSource":"aws:sqs","eventSourceARN":"' + ARN.encode() + b'",'
        b'"awsRegion":"eu-west-1"}]}'
    )


@pytest.mark.parametrize(
    ("windowed", "md5", "shown"),
    [
        (False, None, {}),
        (True, None, {"md5OfMessageAttributes": None}),
        (False, "d25a", {"md5OfMessageAttributes": "d25a"}),
        (True, "d25a", {"md5OfMessageAttributes": "d25a"}),
    ],
)
def test_the_md5_of_no_attributes_is_absent_or_null_as_the_window_says(
    windowed: bool, md5: str | None, shown: dict[str, Any]
) -> None:
    codec = QueueCodec(ARN, windowed=windowed)
    received = message() if md5 is None else message(MD5OfMessageAttributes=md5)

    record = event(codec, received)["Records"][0]

    assert {name: record[name] for name in record if "Attributes" in name} == {
        "messageAttributes": {},
        **shown,
    }


@given(st.lists(MESSAGE, max_size=10))
def test_bodies_and_attributes_arrive_as_they_were_sent(received: list[dict[str, Any]]) -> None:
    messages = CODEC.messages(reply(*received))
    records = json.loads(CODEC.event(messages))["Records"]

    assert [m.id for m in messages] == [m["MessageId"] for m in received]
    assert [m.receipt for m in messages] == [m["ReceiptHandle"] for m in received]
    assert [r["body"] for r in records] == [m["Body"] for m in received]
    assert [list(r["attributes"].items()) for r in records] == [
        list(m.get("Attributes", {}).items()) for m in received
    ]


@given(st.lists(MESSAGE, min_size=1, max_size=10))
def test_sizes_add_up_to_the_event(received: list[dict[str, Any]]) -> None:
    messages = CODEC.messages(reply(*received))

    assert sum(m.size for m in messages) == len(CODEC.event(messages)) - len('{"Records":[]}') + 1


@pytest.mark.parametrize(("arn", "group"), [(ARN, None), (ARN + ".fifo", "g")])
def test_a_group_counts_on_fifo_queues_only(arn: str, group: str | None) -> None:
    received = message(Attributes={"MessageGroupId": "g"})

    assert QueueCodec(arn, windowed=False).messages(reply(received))[0].group == group


@pytest.mark.parametrize("empty", [b"{}", b'{"Messages":[]}', b'{"Messages":null}'])
def test_an_empty_receive_has_many_spellings(empty: bytes) -> None:
    assert CODEC.messages(empty) == []


@pytest.mark.parametrize(
    "garbled",
    [
        b"",
        b"[]",
        b"<html>",
        reply(message())[:-2],
        reply(message(), {"MessageId": "m"}),
        reply(message(Body=None)),
        reply(message(Attributes={"SentTimestamp": 5})),
        reply(message(Body="?")).replace(b"?", b"\xff"),
        b'{"Messages":' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
)
def test_a_garbled_reply_is_a_value_error(garbled: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        CODEC.messages(garbled)


@pytest.mark.proves("S8.2.hidden")
@pytest.mark.parametrize(
    ("queue", "window", "function", "visibility"),
    [
        (30, 0, 3, 30),
        (30, 0, 900, 30),  # the queue's, whatever it is
        (30, 27, 3, 30),  # not more than the queue's
        (30, 28, 3, 61),
        (30, 0.5, 29.6, 61),
        (0, 1, 1, 32),
        (0, 0, 3, 0),
        (43200, 300, 900, 43200),
        (900, 300, 42950, 43200),  # SQS's own limit
    ],
)
def test_messages_are_hidden_for_as_long_as_the_rule_says(
    queue: int, window: float, function: float, visibility: int
) -> None:
    assert effective_visibility(queue, window, function) == visibility


@pytest.mark.proves("S8.1.poll")
def test_a_receive_passes_what_it_must() -> None:
    assert json.loads(sqs.receive_request("u", 25, 61, None)) == {
        "QueueUrl": "u",
        "MaxNumberOfMessages": 10,
        "WaitTimeSeconds": 5,
        "VisibilityTimeout": 61,
        "AttributeNames": ["All"],
        "MessageAttributeNames": ["All"],
    }
    assert json.loads(sqs.receive_request("u", 1, 0, "a"))["ReceiveRequestAttemptId"] == "a"


def test_entries_of_a_batch_are_known_by_their_index() -> None:
    assert json.loads(sqs.delete_request("u", ["a", "b"]))["Entries"] == [
        {"Id": "0", "ReceiptHandle": "a"},
        {"Id": "1", "ReceiptHandle": "b"},
    ]
    failed = [{"Id": "1", "SenderFault": True, "Code": "Bad", "Message": "handle"}, {"Id": "0"}]
    text = json.dumps({"Successful": [], "Failed": failed}).encode()

    assert sqs.batch_failures(text, 2) == [
        EntryFailure(1, "Bad: handle", final=True),
        EntryFailure(0, ": ", final=False),
    ]
    with pytest.raises(ValueError, match="not sent"):
        sqs.batch_failures(text, 1)


def test_attributes_of_a_queue_are_numbers_in_strings() -> None:
    text = b'{"Attributes":{"VisibilityTimeout":"30","ApproximateNumberOfMessages":"7"}}'

    assert sqs.queue_attributes(text) == QueueAttributes(30, 7)
    with pytest.raises(ValueError, match="VisibilityTimeout"):
        sqs.queue_attributes(b'{"Attributes":{}}')


def test_a_queue_is_looked_up_by_name_and_owner() -> None:
    assert json.loads(sqs.url_request(ARN)) == {
        "QueueName": "orders",
        "QueueOwnerAWSAccountId": "123456789012",
    }
