"""Deletes, releases and counts of the SQS source when calls fail."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator

import pytest

from poller.aws.sessions import AwsSession, AwsSettings
from poller.core.steps import Deleted
from poller.sources.sqs import SqsSource
from tests.faults import Close, Fault, Proxy, Reset, Rewrite, faulty, refused, throttled
from tests.servers import Queue, new_queue
from tests.sources.queues import Clock, fill, held, send, source_of


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def proxy(ministack_url: str) -> Iterator[Proxy]:
    with faulty(ministack_url) as proxy:
        yield proxy


@pytest.fixture
async def session(proxy: Proxy) -> AsyncIterator[AwsSession]:
    async with AwsSession(AwsSettings(endpoint_url=proxy.url)) as opened:
        yield opened


@pytest.fixture
def queue(ministack_url: str) -> Queue:
    return new_queue(ministack_url, VisibilityTimeout="40")


@pytest.fixture
def source(session: AwsSession, queue: Queue, clock: Clock) -> SqsSource:
    return source_of(session, queue, clock)


@pytest.mark.parametrize(
    "fault",
    [throttled("RequestThrottled"), refused("InternalError", status=500), Reset(), Close()],
)
async def test_a_delete_that_fails_is_tried_again(
    source: SqsSource, proxy: Proxy, queue: Queue, ministack_url: str, fault: Fault
) -> None:
    messages = await fill(source, ministack_url, queue, 12)
    proxy.inject(fault, on="DeleteMessageBatch", times=2)

    assert await source.delete(messages) == Deleted(12)
    assert await held(ministack_url, queue) == 0


async def test_only_entries_that_failed_are_tried_again(
    source: SqsSource, proxy: Proxy, queue: Queue, ministack_url: str
) -> None:
    messages = await fill(source, ministack_url, queue, 10)
    busy = [{"Id": number, "Code": "InternalError", "SenderFault": False} for number in "37"]
    proxy.inject(Rewrite(lambda reply: {**reply, "Failed": busy}), on="DeleteMessageBatch")
    gone = {"Id": "1", "Code": "ReceiptHandleIsInvalid", "SenderFault": True, "Message": "old"}
    proxy.inject(Rewrite(lambda reply: {"Failed": [gone]}), on="DeleteMessageBatch")

    assert await source.delete(messages) == Deleted(9, 1)

    calls = [call.json for call in proxy.calls if call.operation == "DeleteMessageBatch"]
    assert [[entry["ReceiptHandle"] for entry in call["Entries"]] for call in calls] == [
        [message.receipt for message in messages],
        [messages[3].receipt, messages[7].receipt],
    ]


async def test_a_delete_that_keeps_failing_is_counted_with_one_warning(
    source: SqsSource,
    proxy: Proxy,
    queue: Queue,
    ministack_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    messages = await fill(source, ministack_url, queue, 20)
    proxy.inject(refused("AccessDeniedException"), on="DeleteMessageBatch", times=1)
    proxy.inject(refused("InternalError", status=500), on="DeleteMessageBatch", times=None)

    with caplog.at_level(logging.INFO, "poller.sources"):
        assert await source.delete(messages) == Deleted(0, 20)
        assert proxy.count("DeleteMessageBatch") == 1 + 5
        assert await source.delete(messages) == Deleted(0, 20)

    assert len(caplog.records) == 1
    assert f"20 of 20 messages could not be deleted from {queue.arn}" in caplog.text


async def test_a_release_that_is_not_permitted_is_said_once_and_not_tried_again(
    source: SqsSource,
    proxy: Proxy,
    queue: Queue,
    ministack_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    messages = await fill(source, ministack_url, queue, 1)
    proxy.inject(refused("AccessDeniedException"), on="ChangeMessageVisibilityBatch", times=None)

    await source.release(messages)
    await source.release(messages)

    assert caplog.text.count("AccessDeniedException") == 1
    assert proxy.count("ChangeMessageVisibilityBatch") == 1


async def test_a_backlog_is_asked_for_every_few_seconds_and_may_be_unknown(
    source: SqsSource, proxy: Proxy, queue: Queue, clock: Clock, ministack_url: str
) -> None:
    send(ministack_url, queue, 2)
    proxy.inject(refused("InternalError", status=500), on="GetQueueAttributes", skip=1)

    seen = []
    for seconds in (0, 4, 1, 4, 1):
        clock.time += seconds
        seen.append(await source.backlog())

    assert seen == [2, 2, None, None, 2]
    assert proxy.count("GetQueueAttributes") == 3
