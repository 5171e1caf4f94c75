"""The SQS source against real servers."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator

import pytest

from poller.aws.sessions import AwsSession, AwsSettings
from poller.core.model import Message
from poller.core.steps import Deleted, Received
from poller.errors import SourceMissing
from poller.sources.sqs import SqsSource
from tests.servers import Queue, aws, new_queue
from tests.waiting import soon


@pytest.fixture(params=["moto", "ministack"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
async def session(url: str) -> AsyncIterator[AwsSession]:
    async with AwsSession(AwsSettings(endpoint_url=url)) as opened:
        yield opened


def source_of(session: AwsSession, arn: str, *, window: float = 0.0) -> SqsSource:
    return SqsSource(
        session.json_client("sqs", long_poll=True),
        session.json_client("sqs"),
        queue_arn=arn,
        batch_window=window,
        function_timeout=3.0,
        now=time.time,
    )


async def received(source: SqsSource, count: int) -> list[Message]:
    """The next `count` messages, in as many receives as it takes."""
    messages: list[Message] = []
    while len(messages) < count:
        reply = await source.receive(min(10, count - len(messages)))
        assert isinstance(reply, Received), reply
        assert reply.size == sum(message.size for message in reply.messages)
        messages += reply.messages
    return messages


def left(url: str, queue: Queue) -> int:
    """How many messages the queue holds, hidden ones too."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = aws("sqs", url).get_queue_attributes(QueueUrl=queue.url, AttributeNames=names)
    return sum(int(found["Attributes"][name]) for name in names)


async def test_a_message_becomes_an_event(url: str, session: AwsSession) -> None:
    queue = new_queue(url)
    aws("sqs", url).send_message(
        QueueUrl=queue.url,
        MessageBody='{"price": "7 \u20ac"}\n',
        MessageAttributes={
            "Author": {"DataType": "String", "StringValue": "J\u00f6rg"},
            "Seal": {"DataType": "Binary", "BinaryValue": b"\x00\x01"},
        },
    )
    source = source_of(session, queue.arn)
    await source.check()

    [message] = await received(source, 1)
    [record] = json.loads(source.event([message]))["Records"]

    assert record["messageId"] == message.id
    assert record["receiptHandle"] == message.receipt
    assert record["body"] == '{"price": "7 \u20ac"}\n'
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert {"SenderId", "SentTimestamp", "ApproximateFirstReceiveTimestamp"} <= set(
        record["attributes"]
    )
    nothing = {"stringListValues": [], "binaryListValues": []}
    assert record["messageAttributes"] == {
        "Author": {"stringValue": "J\u00f6rg", **nothing, "dataType": "String"},
        "Seal": {"binaryValue": "AAE=", **nothing, "dataType": "Binary"},
    }
    assert len(record["md5OfMessageAttributes"]) == len(record["md5OfBody"]) == 32
    assert record["eventSource"] == "aws:sqs"
    assert record["eventSourceARN"] == queue.arn
    assert record["awsRegion"] == "us-east-1"


@pytest.mark.parametrize(("window", "shown"), [(0.0, []), (1.0, [None])])
async def test_a_plain_message_has_the_md5_that_its_window_says(
    url: str, session: AwsSession, window: float, shown: list[None]
) -> None:
    queue = new_queue(url)
    aws("sqs", url).send_message(QueueUrl=queue.url, MessageBody="x")
    source = source_of(session, queue.arn, window=window)

    [record] = json.loads(source.event(await received(source, 1)))["Records"]

    assert [record[name] for name in record if name == "md5OfMessageAttributes"] == shown


async def test_deleted_messages_are_gone_and_deleting_again_is_survived(
    url: str, session: AwsSession
) -> None:
    queue = new_queue(url)
    bodies = [f"m{number}" for number in range(25)]
    for body in bodies:
        aws("sqs", url).send_message(QueueUrl=queue.url, MessageBody=body)
    source = source_of(session, queue.arn)
    messages = await received(source, 25)

    assert sorted(r["body"] for r in json.loads(source.event(messages))["Records"]) == sorted(
        bodies
    )
    assert await source.delete(messages) == Deleted(25)
    assert left(url, queue) == 0
    again = await source.delete(messages)
    assert again.count + again.failed == 25
    assert await source.delete([]) == Deleted(0)


async def test_released_messages_come_again_at_once(url: str, session: AwsSession) -> None:
    queue = new_queue(url, VisibilityTimeout="600")
    aws("sqs", url).send_message(QueueUrl=queue.url, MessageBody="x")
    source = source_of(session, queue.arn)
    [first] = await received(source, 1)

    await source.release([first])
    [second] = await received(source, 1)

    assert (second.id, second.receipt == first.receipt) == (first.id, False)
    [record] = json.loads(source.event([second]))["Records"]
    assert record["attributes"]["ApproximateReceiveCount"] == "2"


async def test_messages_are_hidden_for_the_queues_own_time(url: str, session: AwsSession) -> None:
    queue = new_queue(url, VisibilityTimeout="1")
    aws("sqs", url).send_message(QueueUrl=queue.url, MessageBody="x")
    source = source_of(session, queue.arn)
    asked_at = time.time()
    first = await source.receive(10)
    replied_at = time.time()
    assert isinstance(first, Received)
    assert asked_at + 1 <= first.expires_at <= replied_at + 1

    [second] = await received(source, 1)

    assert second.id == first.messages[0].id
    assert time.time() >= asked_at + 1


async def test_the_backlog_counts_what_could_be_received(url: str, session: AwsSession) -> None:
    queue = new_queue(url)
    for _ in range(3):
        aws("sqs", url).send_message(QueueUrl=queue.url, MessageBody="x")

    assert await source_of(session, queue.arn).backlog() == 3
    await received(source_of(session, queue.arn), 1)
    assert await source_of(session, queue.arn).backlog() == 2


async def test_a_missing_queue_is_said_in_aws_words(url: str, session: AwsSession) -> None:
    arn = new_queue(url).arn + "-not"

    with pytest.raises(SourceMissing) as missing:
        await source_of(session, arn).check()

    assert str(missing.value) == (
        "Error occurred while ReceiveMessage. SQS Error Code: "
        "AWS.SimpleQueueService.NonExistentQueue. SQS Error Message: "
        "The specified queue does not exist."
    )


async def test_a_fifo_queue_gives_groups_and_keeps_their_order(ministack_url: str) -> None:
    queue = new_queue(ministack_url, fifo=True)
    sent = [(group, str(number)) for number in range(4) for group in "ab"]
    for group, body in sent:
        aws("sqs", ministack_url).send_message(
            QueueUrl=queue.url,
            MessageBody=body,
            MessageGroupId=group,
            MessageDeduplicationId=group + body,
        )
    async with AwsSession(AwsSettings(endpoint_url=ministack_url)) as session:
        source = source_of(session, queue.arn)
        await source.check()
        messages = await received(source, 8)
        records = json.loads(source.event(messages))["Records"]

        for wanted in "ab":
            bodies = [
                record["body"]
                for message, record in zip(messages, records, strict=True)
                if message.group == wanted
            ]
            assert bodies == ["0", "1", "2", "3"]
        assert {"MessageGroupId", "MessageDeduplicationId", "SequenceNumber"} <= set(
            records[0]["attributes"]
        )
        assert await source.delete(messages) == Deleted(8)
        await soon(lambda: left(ministack_url, queue) == 0)
