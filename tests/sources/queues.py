"""An SqsSource over a queue of a real server, with a clock that a test sets."""

from __future__ import annotations

import asyncio

from poller.aws.sessions import AwsSession
from poller.core.model import Message
from poller.core.steps import Received, ReceiveFailed
from poller.sources.sqs import SqsSource
from tests.servers import Queue, aws


class Clock:
    """The engine's clock, standing still."""

    def __init__(self) -> None:
        self.time = 1_732_550_100.0

    def __call__(self) -> float:
        return self.time


def source_of(
    session: AwsSession,
    queue: Queue,
    clock: Clock,
    *,
    window: float = 0.0,
    timeout: float = 3.0,
    heartbeat: bool = False,
) -> SqsSource:
    return SqsSource(
        session.json_client("sqs", long_poll=True),
        session.json_client("sqs"),
        queue_arn=queue.arn,
        batch_window=window,
        function_timeout=timeout,
        heartbeat=heartbeat,
        now=clock,
    )


def send(url: str, queue: Queue, count: int = 1, *, group: str | None = None) -> None:
    members = {}
    for number in range(count):
        if group is not None:
            members = {"MessageGroupId": group, "MessageDeduplicationId": f"{group}{number}"}
        aws("sqs", url).send_message(QueueUrl=queue.url, MessageBody=f"m{number}", **members)


async def received(source: SqsSource) -> Received:
    reply = await source.receive(10)
    assert isinstance(reply, Received), reply
    return reply


async def failed(source: SqsSource) -> ReceiveFailed:
    reply = await source.receive(10)
    assert isinstance(reply, ReceiveFailed), reply
    return reply


async def fill(source: SqsSource, url: str, queue: Queue, count: int) -> list[Message]:
    """Send `count` messages and receive them all."""
    send(url, queue, count)
    messages: list[Message] = []
    while len(messages) < count:
        messages += (await received(source)).messages
    return messages


async def held(url: str, queue: Queue) -> int:
    """How many messages the queue holds, hidden ones too."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = await asyncio.to_thread(
        aws("sqs", url).get_queue_attributes, QueueUrl=queue.url, AttributeNames=names
    )
    return sum(int(found["Attributes"][name]) for name in names)
