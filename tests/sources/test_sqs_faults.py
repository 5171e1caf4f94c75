"""Receives of the SQS source that fail, and what they hide messages for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from poller.aws.sessions import AwsSession, AwsSettings
from poller.core.steps import Received
from poller.errors import SourceMissing
from poller.sources.sqs import SqsSource
from tests.faults import Fault, Proxy, Reset, Rewrite, faulty, refused, throttled
from tests.servers import Queue, aws, new_queue
from tests.sources.queues import Clock, failed, received, send, source_of


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
    ("queue_timeout", "window", "function_timeout", "visibility"),
    [("40", 0.0, 900.0, 40), ("40", 20.0, 15.0, 40), ("40", 30.0, 15.0, 75)],
)
async def test_a_receive_passes_the_effective_visibility_timeout(
    *,
    session: AwsSession,
    clock: Clock,
    proxy: Proxy,
    ministack_url: str,
    queue_timeout: str,
    window: float,
    function_timeout: float,
    visibility: int,
) -> None:
    queue = new_queue(ministack_url, VisibilityTimeout=queue_timeout)
    send(ministack_url, queue)
    source = source_of(session, queue, clock, window=window, timeout=function_timeout)

    reply = await received(source)

    assert reply.expires_at == clock.time + visibility
    [call] = [call for call in proxy.calls if call.operation == "ReceiveMessage"]
    assert call.json["VisibilityTimeout"] == visibility
    assert call.json["WaitTimeSeconds"] == 0  # the first poll says at once that polling works
    assert "ReceiveRequestAttemptId" not in call.json


async def test_the_queues_own_timeout_is_asked_for_once_a_minute(
    source: SqsSource, clock: Clock, proxy: Proxy, queue: Queue, ministack_url: str
) -> None:
    await source.check()
    aws("sqs", ministack_url).set_queue_attributes(
        QueueUrl=queue.url, Attributes={"VisibilityTimeout": "50"}
    )
    seen = []
    for seconds in (0, 59, 1, 30):
        clock.time += seconds
        send(ministack_url, queue)
        seen.append((await received(source)).expires_at - clock.time)

    assert seen == [40, 40, 50, 50]
    assert proxy.count("GetQueueAttributes") == 2
    assert proxy.count("GetQueueUrl") == 1


@pytest.mark.parametrize(("timeout", "visibility"), [(3.0, 30), (100.5, 101)])
async def test_a_failing_refresh_never_fails_a_receive(
    *,
    session: AwsSession,
    clock: Clock,
    proxy: Proxy,
    queue: Queue,
    ministack_url: str,
    timeout: float,
    visibility: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    proxy.inject(refused("AccessDeniedException"), on="GetQueueAttributes", times=None)
    send(ministack_url, queue)
    source = source_of(session, queue, clock, timeout=timeout)

    reply = await received(source)

    assert reply.expires_at == clock.time + visibility
    assert "AccessDeniedException" in caplog.text
    [call] = [call for call in proxy.calls if call.operation == "ReceiveMessage"]
    assert call.json["VisibilityTimeout"] == visibility


@pytest.mark.parametrize(
    ("fault", "words", "retry_after"),
    [
        (throttled("RequestThrottled"), "RequestThrottled", 1.0),
        (throttled("ThrottlingException"), "ThrottlingException", 1.0),
        (refused("InternalError", status=500), "InternalError", None),
        (refused("ServiceUnavailable", status=503, retry_after="7"), "ServiceUnavailable", 7.0),
        (refused("AccessDeniedException"), "AccessDeniedException", None),
        (refused("QueueDoesNotExist"), "QueueDoesNotExist", None),
        (Reset(), "ReceiveMessage", None),
        (Rewrite(lambda reply: {**reply, "Messages": "?"}), "come again in 40 s", None),
        (
            Rewrite(lambda reply: {"Messages": [*reply["Messages"], {"Body": 5}]}),
            "come again in 40 s",
            None,
        ),
    ],
)
async def test_a_failed_receive_is_a_value_and_the_next_one_works(
    *,
    source: SqsSource,
    proxy: Proxy,
    queue: Queue,
    ministack_url: str,
    fault: Fault,
    words: str,
    retry_after: float | None,
) -> None:
    await source.check()
    send(ministack_url, queue)
    proxy.inject(fault, on="ReceiveMessage")

    failure = await failed(source)

    assert words in failure.error
    assert queue.arn in failure.error
    assert (failure.limit, failure.retry_after) == (10, retry_after)
    send(ministack_url, queue)
    assert (await received(source)).messages


async def test_a_fifo_receive_is_asked_again_under_its_own_id_after_a_network_fault(
    session: AwsSession, clock: Clock, proxy: Proxy, ministack_url: str
) -> None:
    queue = new_queue(ministack_url, fifo=True)
    source = source_of(session, queue, clock)
    await source.check()
    proxy.inject(Reset(), on="ReceiveMessage", times=3)
    proxy.inject(refused("InternalError", status=500), on="ReceiveMessage", skip=1)

    await failed(source)  # a is lost
    clock.time += 299
    await failed(source)  # a is lost again
    clock.time += 1
    await failed(source)  # too late for a; b is lost
    send(ministack_url, queue, 2, group="g")
    assert isinstance(await source.receive(1), Received)  # c, since b asked for more
    await failed(source)  # b is answered with an error: it had no messages
    send(ministack_url, queue, 1, group="h")
    await received(source)  # d

    calls = [call.json for call in proxy.calls if call.operation == "ReceiveMessage"]
    names = {call["ReceiveRequestAttemptId"]: "" for call in calls}
    names = dict(zip(names, "abcd", strict=True))
    assert [names[call["ReceiveRequestAttemptId"]] for call in calls] == list("aabcbd")


async def test_a_queue_that_cannot_be_asked_says_why(
    source: SqsSource, proxy: Proxy, queue: Queue
) -> None:
    proxy.inject(refused("AccessDeniedException", "no right to do that"), on="GetQueueAttributes")
    with pytest.raises(SourceMissing, match=rf"{queue.arn}: .*AccessDenied.*no right to do that"):
        await source.check()

    proxy.down()
    with pytest.raises(SourceMissing, match=rf"{queue.arn}: .*127\.0\.0\.1"):
        await source.check()
