"""Destinations against a real server, and what they say when it goes wrong."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from poller.aws.sessions import AwsSession, AwsSettings
from poller.destinations.choice import destination_for
from poller.errors import ConfigError, DestinationError
from poller.interfaces import Failure
from tests.faults import Answer, Reset, faulty, refused
from tests.programs import free_port
from tests.servers import aws, new_queue

ACCOUNT = "123456789012"
QUEUE = f"arn:aws:sqs:us-east-1:{ACCOUNT}:failed"
TOPIC = f"arn:aws:sns:us-east-1:{ACCOUNT}:failed"
BUCKET = "arn:aws:s3:::failed"
FAILURE = Failure(
    mapping="3f1b0f9e-0000-5000-8000-000000000001",
    function=f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:orders",
    shard="shardId-000000000000",
    destination=QUEUE,
    document='{"version":"1.0","KinesisBatchInfo":{"batchSize":1}}',
    payload='{"Records":[{"data":"\u00e9\\n"}]}',
    key="aws/lambda/uuid/shardId-000000000000/2019/11/14/2019-11-14T00.38.06-id",
    records=1,
)


@asynccontextmanager
async def session(url: str) -> AsyncIterator[AwsSession]:
    async with AwsSession(AwsSettings(region="us-east-1", endpoint_url=url)) as opened:
        yield opened


async def send(url: str, arn: str, failure: Failure = FAILURE) -> None:
    async with session(url) as opened:
        await destination_for(arn, lambda _: opened).send(replace(failure, destination=arn))


def bodies(url: str, queue_url: str) -> list[str]:
    found = aws("sqs", url).receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10)
    return [message["Body"] for message in found.get("Messages", [])]


@pytest.mark.parametrize("server", ["moto_url", "ministack_url"])
async def test_a_queue_gets_the_document_as_body(
    server: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(server)
    queue = new_queue(url)

    await send(url, queue.arn)

    assert bodies(url, queue.url) == [FAILURE.document]


@pytest.mark.parametrize("server", ["moto_url", "ministack_url"])
async def test_a_topic_gets_the_document_as_message(
    server: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(server)
    queue, sns = new_queue(url), aws("sns", url)
    topic = sns.create_topic(Name=queue.name)["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn)

    await send(url, topic)

    (notification,) = bodies(url, queue.url)
    assert json.loads(notification)["Message"] == FAILURE.document


@pytest.mark.parametrize("server", ["moto_url", "ministack_url"])
async def test_a_bucket_gets_the_document_with_its_payload(
    server: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(server)
    name, s3 = new_queue(url).name, aws("s3", url)
    s3.create_bucket(Bucket=name)

    await send(url, f"arn:aws:s3:::{name}")

    (listed,) = s3.list_objects_v2(Bucket=name)["Contents"]
    assert listed["Key"] == FAILURE.key
    body = json.loads(s3.get_object(Bucket=name, Key=FAILURE.key)["Body"].read())
    assert body == {**json.loads(FAILURE.document), "payload": FAILURE.payload}


@pytest.mark.parametrize("arn", [QUEUE, TOPIC, BUCKET])
async def test_what_is_missing_is_to_be_created(arn: str, moto_url: str) -> None:
    with pytest.raises(
        DestinationError, match=f"^{arn}: .*; create it, or name another one as destination[^\n]*$"
    ):
        await send(moto_url, arn)


@pytest.mark.parametrize("arn", [QUEUE, TOPIC, BUCKET])
async def test_what_is_missing_is_found_to_be_so_without_sending(arn: str, moto_url: str) -> None:
    async with session(moto_url) as opened:
        with pytest.raises(DestinationError, match=f"^{arn}: .*; create it, or name another"):
            await destination_for(arn, lambda _: opened).check()


@pytest.mark.parametrize("server", ["moto_url", "ministack_url"])
async def test_what_is_there_is_found(server: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(server)
    queue = new_queue(url)
    topic = aws("sns", url).create_topic(Name=queue.name)["TopicArn"]
    aws("s3", url).create_bucket(Bucket=queue.name)

    async with session(url) as opened:
        for arn in (queue.arn, topic, f"arn:aws:s3:::{queue.name}"):
            await destination_for(arn, lambda _: opened).check()


async def test_a_document_too_large_for_a_topic_is_an_error(moto_url: str) -> None:
    topic = aws("sns", moto_url).create_topic(Name="large")["TopicArn"]

    with pytest.raises(DestinationError, match=f"^{topic}: InvalidParameter[^\n]*$"):
        await send(moto_url, topic, replace(FAILURE, document="x" * 300_000))


XML_DENIED = Answer(
    403,
    b"<ErrorResponse><Error><Type>Sender</Type><Code>AuthorizationError</Code>"
    b"<Message>User is not\n authorized</Message></Error></ErrorResponse>",
    {"Content-Type": "text/xml"},
)
S3_DENIED = Answer(
    403,
    b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>",
    {"Content-Type": "application/xml"},
)


@pytest.mark.parametrize(
    ("arn", "answer", "permission"),
    [
        (QUEUE, refused("AccessDeniedException", "not authorized", status=403), "sqs:SendMessage"),
        (TOPIC, XML_DENIED, "sns:Publish"),
        (BUCKET, S3_DENIED, "s3:PutObject"),
    ],
)
async def test_a_missing_permission_is_named(
    arn: str, answer: Answer, permission: str, moto_url: str
) -> None:
    with faulty(moto_url) as proxy:
        proxy.inject(answer)
        with pytest.raises(DestinationError, match=f"^{arn}: A[^\n]*; allow {permission} on it"):
            await send(proxy.url, arn)


# An aiohttp client repeats a PUT once on its own, which for the same key is harmless.
@pytest.mark.parametrize("arn", [QUEUE, TOPIC])
async def test_a_send_is_one_attempt(arn: str, moto_url: str) -> None:
    with faulty(moto_url) as proxy:
        proxy.inject(Reset())
        with pytest.raises(DestinationError, match=f"^{arn}: "):
            await send(proxy.url, arn)

        assert len(proxy.calls) == 1


@pytest.mark.parametrize("arn", [QUEUE, TOPIC, BUCKET])
async def test_a_server_that_is_not_there_is_named(arn: str) -> None:
    url = f"http://127.0.0.1:{free_port()}"

    with pytest.raises(DestinationError, match=f"^{arn}: [^\n]*{url}"):
        await send(url, arn)


async def test_an_error_does_not_show_credentials(moto_url: str) -> None:
    with faulty(moto_url) as proxy:
        proxy.inject(S3_DENIED)
        settings = AwsSettings(region="us-east-1", endpoint_url=proxy.url)
        async with AwsSession(settings) as opened:
            with pytest.raises(DestinationError) as refusal:
                await destination_for(BUCKET, lambda _: opened).send(FAILURE)

    assert "test" not in str(refusal.value)


@pytest.mark.parametrize(
    "arn",
    [
        f"{QUEUE}.fifo",
        f"{TOPIC}.fifo",
        "kafka://failed",
        f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/failed",
        "failed",
        "arn:aws:s3:::",
        "",
    ],
)
async def test_what_cannot_be_a_destination_is_refused_before_anything_is_sent(arn: str) -> None:
    async with session("http://127.0.0.1:9") as opened:
        with pytest.raises(ConfigError, match=r"^failure destination: [^\n]*; use a"):
            destination_for(arn, lambda _: opened)
