"""A function behind an Invoke API: what is sent, and what becomes of each class of answer."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from poller.aws.sessions import AwsSession, AwsSettings
from poller.interfaces import Errored, Invocation, NotReached, Ran, Reply
from poller.targets.http_replies import RETRY_AFTER_MAX
from poller.targets.lambda_function import LambdaFunction
from poller.targets.lambda_replies import SLOW_RETRY
from poller.wire.arns import parse_function
from tests.aws.canned import Answer, Call, Says, canned
from tests.transport.peers import OK, Peer, Server, Talk, answering, serving

ARN = "arn:aws:lambda:us-east-1:000000000000:function:orders"
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
EVENT = Invocation(b'{"Records":[]}', "11111111-2222-4333-8444-555555555555", ARN, TRACE)
CONTEXT = base64.b64encode(b'{"custom":{"a":"b"}}').decode()


@asynccontextmanager
async def behind(
    url: str, timeout: float = 10.0, margin: float = 10.0
) -> AsyncIterator[LambdaFunction]:
    async with AwsSession(AwsSettings(region="us-east-1", endpoint_url=url)) as session:
        function = parse_function("orders:live")
        yield LambdaFunction(session.invoke_client(), function, timeout=timeout, margin=margin)


async def answered(answer: Answer, invocation: Invocation = EVENT) -> tuple[Reply, Call]:
    """What the function comes to where every call is answered so, and the only call."""
    async with canned(lambda call: answer) as server, behind(server.url) as function:
        reply = await function.invoke(invocation)
    [call] = server.calls
    return reply, call


async def test_an_invocation_waits_for_what_the_function_returns() -> None:
    headers = {"X-Amz-Executed-Version": "7", "X-Amzn-RequestId": "r"}

    reply, call = await answered(Says(b'{"a":1}', headers=headers))

    assert reply == Ran(b'{"a":1}', "7")
    assert call.line == "POST /2015-03-31/functions/orders/invocations?Qualifier=live HTTP/1.1"
    assert call.body == EVENT.event
    sent = {name: value for name, value in call.headers.items() if name.startswith("x-amz")}
    assert sent.keys() - {"x-amz-date", "x-amz-security-token"} == {
        "x-amz-invocation-type",
        "x-amz-log-type",
        "x-amzn-trace-id",
    }
    assert sent["x-amz-invocation-type"] == "RequestResponse"
    assert (sent["x-amz-log-type"], sent["x-amzn-trace-id"]) == ("None", TRACE)
    assert call.headers["content-length"] == str(len(EVENT.event))


async def test_the_client_context_goes_along_and_the_log_tail_comes_back_if_wanted() -> None:
    wanted = Invocation(b"{}", "id", ARN, TRACE, CONTEXT, log_tail=True)
    log = {"X-Amz-Log-Result": base64.b64encode("START\nä\nEND\n".encode()).decode()}

    reply, call = await answered(Says(b"null", headers=log), wanted)

    assert reply == Ran(b"null", log="START\nä\nEND\n".encode())
    assert call.headers["x-amz-client-context"] == CONTEXT
    assert call.headers["x-amz-log-type"] == "Tail"


STATED = json.dumps({"errorMessage": "no", "errorType": "ValueError", "stackTrace": []}).encode()
FUNCTION_ERRORS: list[tuple[bytes, str, Errored]] = [
    (STATED, "Unhandled", Errored("ValueError", "no", executed_version="7", payload=STATED)),
    (STATED, "Handled", Errored("ValueError", "no", "Handled", 200, "7", STATED)),
    (b'"broken"', "Unhandled", Errored("Unhandled", '"broken"', executed_version="7")),
]


@pytest.mark.parametrize(("body", "value", "expected"), FUNCTION_ERRORS)
async def test_a_function_error_is_what_the_function_says(
    body: bytes, value: str, expected: Errored
) -> None:
    headers = {"X-Amz-Function-Error": value, "X-Amz-Executed-Version": "7"}

    reply, _ = await answered(Says(body, headers=headers))

    assert reply == expected


async def test_a_log_that_is_not_base64_is_no_log() -> None:
    reply, _ = await answered(Says(b"1", headers={"X-Amz-Log-Result": "%"}))

    assert reply == Ran(b"1")


THROTTLED, SLOW, SOON, SPLIT = "throttled", "slow", "soon", "split"
NOT_YET = "put right"
# Spec 12.1's table: status, exception, what becomes of it, and what is said beside it.
REFUSALS: list[tuple[int, str, str, str]] = [
    (429, "TooManyRequestsException", THROTTLED, ""),
    (400, "ThrottlingException", THROTTLED, ""),
    (500, "ServiceException", SOON, ""),
    (503, "ServiceUnavailableException", SOON, ""),
    (504, "GatewayTimeout", SOON, ""),
    *(
        (502, f"{name}Exception", SLOW, "")
        for name in (
            "EC2AccessDenied", "EC2Throttled", "EC2Unexpected", "ENILimitReached",
            "SubnetIPAddressLimitReached", "KMSAccessDenied", "KMSDisabled", "KMSInvalidState",
            "KMSNotFound", "InvalidRuntime", "InvalidZipFile", "InvalidSecurityGroupID",
            "InvalidSubnetID", "ResourceNotReady",
        )
    ),
    (403, "EFSMountFailureException", SOON, ""),
    (408, "EFSMountConnectivityException", SOON, ""),
    (408, "EFSMountTimeoutException", SOON, ""),
    (410, "EFSIOException", SOON, ""),
    (408, "SnapStartTimeoutException", SOON, ""),
    (409, "SnapStartNotReadyException", SOON, ""),
    (409, "CodeArtifactUserPendingException", SOON, ""),
    (409, "ResourceConflictException", SOON, ""),
    (402, "ServiceQuotaExceededException", SOON, NOT_YET),
    (404, "ResourceNotFoundException", SOON, "name, version or alias"),
    (400, "InvalidParameterValueException", SOON, NOT_YET),
    (400, "InvalidRequestContentException", SOON, NOT_YET),
    (400, "NoPublishedVersionException", SOON, NOT_YET),
    (400, "ModeNotSupportedException", SOON, NOT_YET),
    (400, "RecursiveInvocationException", SOON, NOT_YET),
    (400, "SnapStartException", SOON, NOT_YET),
    (415, "UnsupportedMediaTypeException", SOON, NOT_YET),
    (413, "RequestTooLargeException", SPLIT, ""),
    (413, "", SPLIT, ""),
    (400, "SerializedRequestEntityTooLargeException", SPLIT, ""),
    (403, "AccessDeniedException", SOON, "allow lambda:InvokeFunction"),
    (403, "ExpiredTokenException", SOON, "credentials that are valid"),
    (403, "InvalidSignatureException", SOON, "credentials that are valid"),
    (403, "UnrecognizedClientException", SOON, "credentials that are valid"),
    (301, "", SOON, ""),
    (202, "", SOON, ""),
]  # fmt: skip


@pytest.mark.parametrize(("status", "code", "treatment", "told"), REFUSALS)
@pytest.mark.proves("S12.1.errors")
async def test_an_error_of_lambdas_own_is_treated_as_by_its_pollers_and_never_counted(
    status: int, code: str, treatment: str, told: str
) -> None:
    named = {"x-amzn-ErrorType": f"{code}:http://internal.amazon.com/"} if code else {}
    body = json.dumps({"Type": "User", "Message": "it says\nwhy"}).encode()

    reply, call = await answered(Says(body, status, named))

    assert isinstance(reply, NotReached)
    assert (reply.throttled, reply.too_large) == (treatment == THROTTLED, treatment == SPLIT)
    assert reply.retry_after == (SLOW_RETRY if treatment == SLOW else None)
    assert f"{code or f'HTTP {status}'}: it says why" in reply.why
    assert told in reply.why
    assert bool(told) is (";" in reply.why)
    assert call.body == EVENT.event


@pytest.mark.parametrize(
    ("asked", "waits"), [("3", 3.0), ("0", 0.0), ("99999", RETRY_AFTER_MAX), ("soon", None)]
)
async def test_a_throttle_says_why_and_when_to_come_again(asked: str, waits: float | None) -> None:
    reason = "ReservedFunctionConcurrentInvocationLimitExceeded"
    body = json.dumps({"Reason": reason, "Type": "User", "message": "Rate Exceeded."}).encode()
    headers = {"x-amzn-ErrorType": "TooManyRequestsException", "Retry-After": asked}

    reply, _ = await answered(Says(body, 429, headers))

    assert isinstance(reply, NotReached)
    assert (reply.throttled, reply.reason, reply.retry_after) == (True, reason, waits)


# Connections.


async def reset(peer: Peer) -> None:
    await peer.request()
    peer.reset()


async def cut(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab")


async def garbled(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"220 mail.example\r\n")


@pytest.mark.parametrize("talk", [reset, cut, garbled])
async def test_an_answer_that_was_lost_is_awaited_anew_and_gives_no_record_up(talk: Talk) -> None:
    async with serving(talk) as server, behind(server.origin) as function:
        reply = await function.invoke(EVENT)

    assert isinstance(reply, NotReached)
    assert not reply.throttled
    assert len(server.requests) == 1


async def gone() -> Server:
    """An address at which nothing listens."""
    async with serving(answering(OK)) as server:
        return server


async def test_where_nothing_listens_the_function_is_not_reached() -> None:
    async with behind((await gone()).origin) as function:
        reply = await function.invoke(EVENT)

    assert isinstance(reply, NotReached)
    assert "Connection refused" in reply.why


async def test_a_kept_connection_that_closes_before_an_answer_counts_as_nothing() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()  # and closes without an answer

    async with serving(talk) as server, behind(server.origin) as function:
        replies = [await function.invoke(EVENT) for _ in range(3)]

    assert replies == [Ran(b"ok")] * 3


async def test_a_function_that_never_answers_has_timed_out_a_while_after_its_time() -> None:
    async def hang(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    loop = asyncio.get_running_loop()
    async with serving(hang) as server, behind(server.origin, 0.05, margin=0.1) as function:
        began = loop.time()
        reply = await function.invoke(EVENT)
        took = loop.time() - began

    assert reply == Errored("Sandbox.Timedout", "Task timed out after 0.05 seconds")
    assert took >= 0.14


async def test_credentials_that_cannot_be_had_are_said_and_nothing_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    async with behind("http://nothing.invalid:9") as function:
        reply = await function.invoke(EVENT)

    assert isinstance(reply, NotReached)
    assert "no AWS credentials found" in reply.why
