from __future__ import annotations

import asyncio
import email.utils
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from poller.aws.client import AwsError, JsonClient
from poller.aws.failures import MESSAGE_LENGTH_MAX
from poller.aws.sessions import AwsSession, AwsSettings
from tests.aws.canned import Answer, Call, Canned, Says, canned, error

NOW = 1_732_550_000.0
HOUR = 3600.0


@asynccontextmanager
async def calling(
    answer: Callable[[Call], Answer], service: str = "kinesis"
) -> AsyncIterator[tuple[JsonClient, Canned]]:
    """A client of `service` on a canned server, at the fixed instant NOW."""
    async with canned(answer) as server:
        settings = AwsSettings(region="us-east-1", endpoint_url=server.url)
        async with AwsSession(settings, wall_clock=lambda: NOW) as session:
            yield session.json_client(service), server


async def failure(client: JsonClient, **options: float) -> AwsError:
    with pytest.raises(AwsError) as raised:
        await client.call("GetRecords", b"{}", **options)
    assert "\n" not in str(raised.value)
    return raised.value


@pytest.mark.parametrize(
    ("service", "target", "content_type", "signed_as"),
    [
        ("kinesis", "Kinesis_20131202", "application/x-amz-json-1.1", "kinesis"),
        ("dynamodbstreams", "DynamoDBStreams_20120810", "application/x-amz-json-1.0", "dynamodb"),
        ("sqs", "AmazonSQS", "application/x-amz-json-1.0", "sqs"),
    ],
)
async def test_a_service_is_called_as_its_model_says(
    service: str, target: str, content_type: str, signed_as: str
) -> None:
    async with calling(lambda call: {"a": 1}, service) as (client, server):
        assert await client.call("Operation", b'{"b":2}') == b'{"a": 1}'

    [call] = server.calls
    assert (call.line, call.body) == ("POST / HTTP/1.1", b'{"b":2}')
    assert call.headers["x-amz-target"] == f"{target}.Operation"
    assert call.headers["content-type"] == content_type
    assert call.headers["host"] == server.url.removeprefix("http://")
    assert f"/20241125/us-east-1/{signed_as}/aws4_request" in call.headers["authorization"]
    assert "accept-encoding" not in call.headers


async def test_a_queues_own_url_replaces_the_endpoint() -> None:
    async with (
        canned(lambda call: {"here": 1}) as other,
        calling(lambda call: {"there": 1}, "sqs") as (client, server),
    ):
        url = f"{other.url}/000000000000/queue"
        assert await client.call("ReceiveMessage", b"{}", url=url) == b'{"here": 1}'

    assert [call.line for call in other.calls] == ["POST /000000000000/queue HTTP/1.1"]
    assert server.calls == []


async def test_calls_at_one_time_do_not_mix() -> None:
    async with calling(lambda call: call.json) as (client, _):
        bodies = [json.dumps({"n": n}).encode() for n in range(50)]

        assert await asyncio.gather(*(client.call("Echo", body) for body in bodies)) == bodies


async def test_the_server_date_of_the_last_reply_is_known() -> None:
    headers = {"Date": email.utils.formatdate(NOW, usegmt=True)}
    async with calling(lambda call: Says(headers=headers)) as (client, _):
        before = client.last_date
        await client.call("GetRecords", b"{}")

        assert (before, client.last_date) == (None, NOW)


# Signatures and clocks.


@pytest.mark.parametrize(
    "code", ["RequestTimeTooSkewed", "InvalidSignatureException", "com.amazon#RequestExpired"]
)
@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
async def test_a_clock_that_is_wrong_is_corrected_once_and_for_good(
    code: str, ahead: float
) -> None:
    date = email.utils.formatdate(NOW + ahead, usegmt=True)
    stamp = {HOUR: "20241125T165320Z", -HOUR: "20241125T145320Z"}[ahead]

    def strict(call: Call) -> Answer:
        return {} if call.headers["x-amz-date"] == stamp else error(code, Date=date)

    async with calling(strict) as (client, server):
        await client.call("GetRecords", b"{}")
        await client.call("GetRecords", b"{}")

    stamps = [call.headers["x-amz-date"] for call in server.calls]
    assert stamps == ["20241125T155320Z", stamp, stamp]


@pytest.mark.parametrize(
    "headers", [{}, {"Date": "never"}, {"Date": email.utils.formatdate(NOW + 30, usegmt=True)}]
)
async def test_a_signature_that_fails_for_another_reason_is_not_tried_again(
    headers: dict[str, str],
) -> None:
    def wrong(call: Call) -> Answer:
        return error("InvalidSignatureException", "no", **headers)

    async with calling(wrong) as (client, server):
        assert (await failure(client)).code == "InvalidSignatureException"

    assert len(server.calls) == 1


async def test_a_clock_that_cannot_be_corrected_fails_after_one_more_try() -> None:
    date = email.utils.formatdate(NOW + HOUR, usegmt=True)
    async with calling(lambda call: error("RequestTimeTooSkewed", Date=date)) as (client, server):
        assert (await failure(client)).code == "RequestTimeTooSkewed"

    assert len(server.calls) == 2


# Errors.

THROUGHPUT = "ProvisionedThroughputExceededException"


@pytest.mark.parametrize(
    ("says", "code", "message", "throttled", "retryable"),
    [
        (error(THROUGHPUT, "Rate exceeded"), THROUGHPUT, "Rate exceeded", True, True),
        (error(f"com.amazonaws.kinesis#{THROUGHPUT}", ""), THROUGHPUT, "", True, True),
        (error("ThrottlingException", "x"), "ThrottlingException", "x", True, True),
        (error("ResourceNotFoundException", "no"), "ResourceNotFoundException", "no", False, False),
        (error("InternalFailure", "oh", status=500), "InternalFailure", "oh", False, True),
        (Says(b'{"Message":"m"}', 400), "HTTP 400", "m", False, False),
        (Says(b"<html>\nbusy</html>", 503), "HTTP 503", "<html> busy</html>", False, True),
        (Says(b"", 429), "HTTP 429", "", True, True),
        (Says(b"[1]", 404), "HTTP 404", "[1]", False, False),
        (Says(b"\xff", 502), "HTTP 502", "\N{REPLACEMENT CHARACTER}", False, True),
        (Says(b"", 301), "HTTP 301", "", False, False),
        (Says(b"[" * 5_000, 503), "HTTP 503", "[" * MESSAGE_LENGTH_MAX, False, True),
        (
            Says(b"", 400, {"x-amzn-errortype": "LimitExceededException:http://internal/"}),
            "LimitExceededException",
            "",
            True,
            True,
        ),
    ],
)
async def test_a_refusal_is_read_whatever_its_form(
    says: Says, code: str, message: str, throttled: bool, retryable: bool
) -> None:
    async with calling(lambda call: says) as (client, server):
        refusal = await failure(client)

    assert (refusal.code, refusal.message) == (code, message)
    assert (refusal.status, refusal.throttled, refusal.retryable) == (
        says.status,
        throttled,
        retryable,
    )
    assert str(refusal).startswith(f"kinesis GetRecords at {server.url}: {code}")


@pytest.mark.parametrize(
    ("header", "retry_after"), [("2", 2.0), ("1.5", 1.5), ("-1", 0.0), ("soon", None)]
)
async def test_what_a_reply_asks_to_wait_is_told(header: str, retry_after: float | None) -> None:
    async with calling(lambda call: error("SlowDown", Retry_After=header)) as (client, _):
        assert (await failure(client)).retry_after == retry_after


async def test_errors_are_short_and_hold_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SECRETKEY")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "SECRETTOKEN")
    quoted = "no match. SECRETKEY SECRETTOKEN The Canonical String should have been\nPOST\n"
    async with calling(lambda call: error("SignatureDoesNotMatch", quoted + "x" * 9999)) as made:
        refusal = await failure(made[0])

    assert refusal.message == "no match. *** ***"
    assert made[1].calls[0].headers["x-amz-security-token"] == "SECRETTOKEN"


async def test_a_connection_that_fails_is_an_error_with_a_name() -> None:
    async with calling(lambda call: None) as (client, server):
        slow = await failure(client, timeout=0.05)
    async with calling(lambda call: Says(b"HTTP?")) as (client, server):
        pass
    async with AwsSession(AwsSettings(endpoint_url=server.url)) as session:
        refused = await failure(session.json_client("kinesis"))

    assert (slow.code, slow.status, slow.retryable) == ("TimedOut", None, True)
    assert (refused.code, refused.status, refused.retryable) == ("NotConnected", None, True)
    assert server.url in str(refused)


async def test_credentials_with_a_line_end_are_named_as_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "SECRET\n")
    async with calling(lambda call: {}) as (client, server):
        refusal = await failure(client)

    assert (refusal.code, server.calls) == ("NoCredentials", [])
    assert "line ends" in str(refusal)
    assert "SECRET" not in str(refusal)


async def test_a_url_that_is_none_fails_its_call() -> None:
    async with calling(lambda call: {}, "sqs") as (client, server):
        with pytest.raises(AwsError, match=r"sqs ReceiveMessage: BadUrl: .*'queue'"):
            await client.call("ReceiveMessage", b"{}", url="queue")

    assert server.calls == []
