"""How the SQS source hides the messages of a running batch for longer."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator, Sequence

import pytest

from poller.aws.sessions import AwsSession, AwsSettings
from poller.core.model import ClosedBy, Message, MessageBatch
from poller.core.steps import Extended
from poller.errors import SourceUnfit
from poller.sources.sqs import SqsSource
from tests.faults import Fault, Proxy, Rewrite, faulty, refused, throttled
from tests.servers import Queue, new_queue
from tests.sources.queues import Clock, fill, received, source_of


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["ministack", "moto"])
def server_url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
def proxy(server_url: str) -> Iterator[Proxy]:
    with faulty(server_url) as proxy:
        yield proxy


@pytest.fixture
async def session(proxy: Proxy) -> AsyncIterator[AwsSession]:
    async with AwsSession(AwsSettings(endpoint_url=proxy.url)) as opened:
        yield opened


@pytest.fixture
def queue(server_url: str) -> Queue:
    return new_queue(server_url, VisibilityTimeout="40")


@pytest.fixture
def source(session: AwsSession, queue: Queue, clock: Clock) -> SqsSource:
    return source_of(session, queue, clock, heartbeat=True)


def batch(messages: Sequence[Message]) -> MessageBatch:
    return MessageBatch(7, messages, 0.0, ClosedBy.COUNT)


async def test_an_extension_counts_from_when_it_is_asked_for(
    source: SqsSource, proxy: Proxy, clock: Clock, queue: Queue, server_url: str
) -> None:
    messages = await fill(source, server_url, queue, 12)
    clock.time += 5

    assert await source.extend(batch(messages), 33) == Extended(7, clock.time + 33)

    calls = [call.json for call in proxy.calls if call.operation == "ChangeMessageVisibilityBatch"]
    entries = [entry for call in calls for entry in call["Entries"]]
    assert [entry["ReceiptHandle"] for entry in entries] == [each.receipt for each in messages]
    assert {entry["VisibilityTimeout"] for entry in entries} == {33}
    assert max(len(call["Entries"]) for call in calls) == 10


async def test_a_message_that_is_hidden_for_less_long_comes_again_then(
    source: SqsSource, queue: Queue, server_url: str
) -> None:
    """Real servers count it: from 40 seconds down to one."""
    messages = await fill(source, server_url, queue, 1)
    await source.extend(batch(messages), 1)

    again: Sequence[Message] = ()
    while not again:  # each is a long poll
        again = (await received(source)).messages
    assert [each.id for each in again] == [messages[0].id]


@pytest.mark.parametrize(
    "fault", [throttled("RequestThrottled"), refused("InternalError", status=500)]
)
async def test_an_extension_that_fails_may_be_tried_again_and_is_said_once(
    *,
    source: SqsSource,
    proxy: Proxy,
    queue: Queue,
    server_url: str,
    fault: Fault,
    caplog: pytest.LogCaptureFixture,
) -> None:
    messages = await fill(source, server_url, queue, 1)
    proxy.inject(fault, on="ChangeMessageVisibilityBatch", times=3)

    with caplog.at_level(logging.INFO, "poller.sources"):
        found = [await source.extend(batch(messages), 30) for _ in range(4)]

    assert [each.expires_at is None for each in found] == [True, True, True, False]
    assert all(each.permitted for each in found)
    assert caplog.text.count("could not be hidden for longer") == 1


async def test_an_extension_that_is_not_permitted_is_said_once_and_not_tried_again(
    *,
    source: SqsSource,
    proxy: Proxy,
    queue: Queue,
    server_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    messages = await fill(source, server_url, queue, 12)
    proxy.inject(refused("AccessDeniedException"), on="ChangeMessageVisibilityBatch", times=None)

    forbidden = Extended(7, None, permitted=False)
    assert await source.extend(batch(messages), 30) == forbidden
    assert await source.extend(batch(messages), 30) == forbidden
    await source.release(messages)

    assert proxy.count("ChangeMessageVisibilityBatch") == 2
    assert len(caplog.records) == 1
    assert "sqs:ChangeMessageVisibility" in caplog.text
    assert queue.arn in caplog.text


async def test_messages_that_cannot_be_hidden_any_more_do_not_hold_up_the_others(
    source: SqsSource, proxy: Proxy, clock: Clock, queue: Queue, server_url: str
) -> None:
    messages = await fill(source, server_url, queue, 2)
    gone = {"Id": "1", "Code": "ReceiptHandleIsInvalid", "SenderFault": True, "Message": "old"}
    proxy.inject(Rewrite(lambda reply: {"Failed": [gone]}), on="ChangeMessageVisibilityBatch")
    busy = {"Id": "1", "Code": "InternalError", "SenderFault": False}
    proxy.inject(Rewrite(lambda reply: {"Failed": [busy]}), on="ChangeMessageVisibilityBatch")

    assert await source.extend(batch(messages), 30) == Extended(7, clock.time + 30)
    assert await source.extend(batch(messages), 30) == Extended(7, None)


async def test_a_function_may_outlive_the_queues_timeout_with_a_heartbeat_only(
    session: AwsSession, clock: Clock, queue: Queue
) -> None:
    with pytest.raises(SourceUnfit, match="Queue visibility timeout: 40 seconds is less than"):
        await source_of(session, queue, clock, timeout=60.0).check()
    await source_of(session, queue, clock, timeout=60.0, heartbeat=True).check()


async def test_a_heartbeat_needs_two_seconds(
    session: AwsSession, clock: Clock, server_url: str
) -> None:
    queue = new_queue(server_url, VisibilityTimeout="0")
    source = source_of(session, queue, clock, heartbeat=True)
    await source.check()
    assert (await received(source)).expires_at == clock.time + 2
