"""Documents about asynchronous invocations against real servers: records and dead letters."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from poller.aws.sessions import AwsSession, AwsSettings
from poller.destinations.choice import destination_for
from poller.destinations.functions import OwnFunctions
from poller.errors import DestinationError, QueueFull, StateError
from poller.interfaces import Failure, Invocation
from poller.wire.invocation_records import Notice
from tests.faults import Answer, faulty
from tests.servers import aws, new_queue

ACCOUNT = "123456789012"
FUNCTION = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:orders"
OTHER = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:other"
BUS = f"arn:aws:events:us-east-1:{ACCOUNT}:event-bus/default"
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
ATTRIBUTES = (
    ("RequestID", "String", "request"),
    ("ErrorCode", "Number", "200"),
    ("ErrorMessage", "String", "intentional é"),
)
RECORD = Failure(
    mapping="",
    function="orders",
    shard="",
    destination="",
    document='{"version":"1.0","requestPayload":"é"}',
    payload="",
    key="aws/lambda/async/orders/2019/11/14/2019-11-14T00.38.06-id",
    records=1,
    notice=Notice("request", FUNCTION, False, TRACE),
)
LETTER = replace(
    RECORD,
    document='{"raise_error":1}',
    notice=Notice("request", FUNCTION, False, TRACE, True, ATTRIBUTES),
)


async def send(url: str, arn: str, failure: Failure, own: OwnFunctions | None = None) -> None:
    async with AwsSession(AwsSettings(region="us-east-1", endpoint_url=url)) as opened:
        destination = destination_for(arn, lambda _: opened, own)
        await destination.send(replace(failure, destination=arn))


def messages(url: str, queue_url: str) -> list[dict[str, Any]]:
    """All that is in a queue, with everything that it says."""
    return aws("sqs", url).receive_message(
        QueueUrl=queue_url,
        MaxNumberOfMessages=10,
        MessageAttributeNames=["All"],
        AttributeNames=["All"],
    )["Messages"]


@pytest.mark.parametrize("server", ["moto_url", "ministack_url"])
async def test_a_record_carries_the_trace_to_a_queue(
    server: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(server)
    queue = new_queue(url)

    await send(url, queue.arn, RECORD)

    (message,) = messages(url, queue.url)
    assert message["Body"] == RECORD.document
    assert message["Attributes"]["AWSTraceHeader"] == TRACE
    assert "MessageAttributes" not in message


@pytest.mark.parametrize("server", ["moto_url", "ministack_url"])
@pytest.mark.proves("S12.4.dead-letter")
async def test_a_dead_letter_says_what_went_wrong_beside_the_event(
    server: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(server)
    queue = new_queue(url)

    await send(url, queue.arn, LETTER)

    (message,) = messages(url, queue.url)
    assert message["Body"] == '{"raise_error":1}'
    assert {
        name: (attribute["DataType"], attribute["StringValue"])
        for name, attribute in message["MessageAttributes"].items()
    } == {name: (kind, value) for name, kind, value in ATTRIBUTES}
    assert "AWSTraceHeader" not in message["Attributes"]


@pytest.mark.parametrize("server", ["moto_url", "ministack_url"])
async def test_a_topic_gets_a_dead_letter_with_its_attributes(
    server: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(server)
    queue, sns = new_queue(url), aws("sns", url)
    topic = sns.create_topic(Name=queue.name)["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn)

    await send(url, topic, LETTER)

    (message,) = messages(url, queue.url)
    notification = json.loads(message["Body"])
    assert notification["Message"] == '{"raise_error":1}'
    assert {
        name: (attribute["Type"], attribute["Value"])
        for name, attribute in notification["MessageAttributes"].items()
    } == {name: (kind, value) for name, kind, value in ATTRIBUTES}


@pytest.mark.parametrize("server", ["moto_url", "ministack_url"])
@pytest.mark.proves("S12.4.records")
async def test_a_bucket_gets_the_record_and_nothing_else(
    server: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(server)
    name, s3 = new_queue(url).name, aws("s3", url)
    s3.create_bucket(Bucket=name)

    await send(url, f"arn:aws:s3:::{name}", RECORD)

    body = s3.get_object(Bucket=name, Key=RECORD.key)["Body"].read()
    assert body == RECORD.document.encode()


@pytest.mark.parametrize("succeeded", [True, False])
@pytest.mark.proves("S12.4.records")
async def test_a_bus_gets_the_record_as_the_detail_of_an_event(
    moto_url: str, succeeded: bool
) -> None:
    queue, events = new_queue(moto_url), aws("events", moto_url)
    pattern = json.dumps({"source": ["lambda"]})
    events.put_rule(Name=queue.name, EventPattern=pattern)
    events.put_targets(Rule=queue.name, Targets=[{"Id": "1", "Arn": queue.arn}])
    notice = Notice("request", FUNCTION, succeeded, TRACE)

    await send(moto_url, BUS, replace(RECORD, notice=notice))

    (message,) = messages(moto_url, queue.url)
    event = json.loads(message["Body"])
    result = "Success" if succeeded else "Failure"
    assert event["source"] == "lambda"
    assert event["detail-type"] == f"Lambda Function Invocation Result - {result}"
    assert event["resources"] == [BUS, f"{FUNCTION}:$LATEST"]
    assert event["detail"] == json.loads(RECORD.document)


async def test_a_bus_that_refuses_the_event_is_an_error(moto_url: str) -> None:
    refused = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "Throttled", "ErrorMessage": "no"}]}
    headers = {"Content-Type": "application/x-amz-json-1.1"}
    with faulty(moto_url) as proxy:
        proxy.inject(Answer(200, json.dumps(refused).encode(), headers))
        with pytest.raises(DestinationError, match=f"^{BUS}: Throttled: no$"):
            await send(proxy.url, BUS, RECORD)


async def test_a_function_elsewhere_is_invoked_asynchronously_with_the_record(
    moto_url: str,
) -> None:
    with faulty(moto_url) as proxy:
        proxy.inject(Answer(202, b"", {}))
        await send(proxy.url, OTHER, RECORD)

        (call,) = proxy.calls
    assert call.body == RECORD.document.encode()
    assert call.headers["x-amz-invocation-type"] == "Event"
    assert "other" in call.operation


# Functions that are declared here.


@dataclass
class Accepting:
    """An AsyncInvocations that remembers, or refuses."""

    refuses: Exception | None = None
    accepted: list[tuple[str, Invocation]] = field(default_factory=list)

    async def accept(self, function: str, invocation: Invocation) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.accepted.append((function, invocation))


def own(queue: Accepting) -> OwnFunctions:
    return OwnFunctions(lambda arn: "other" if arn == OTHER else None, queue)


async def test_a_function_declared_here_is_invoked_here() -> None:
    queue = Accepting()

    await send("http://127.0.0.1:9", OTHER, RECORD, own(queue))

    ((function, invocation),) = queue.accepted
    assert (function, invocation.function_arn, invocation.trace_id) == ("other", OTHER, TRACE)
    assert invocation.event == RECORD.document.encode()
    assert invocation.request_id != "request"


async def test_a_record_that_is_too_large_for_an_event_is_not_sent() -> None:
    queue = Accepting()

    with pytest.raises(DestinationError, match=f"^{OTHER}: the record has 1048577 bytes"):
        await send("http://127.0.0.1:9", OTHER, replace(RECORD, document="x" * 1048577), own(queue))

    assert queue.accepted == []


@pytest.mark.parametrize("reason", [QueueFull("full"), StateError("no room")])
async def test_a_queue_that_takes_no_more_is_a_destination_that_failed(reason: Exception) -> None:
    with pytest.raises(DestinationError, match=f"^{OTHER}: {reason}$"):
        await send("http://127.0.0.1:9", OTHER, RECORD, own(Accepting(reason)))
