"""Lambda's Invoke as the lean client calls it: where, how signed, on which connections."""

from __future__ import annotations

import asyncio
import datetime
from typing import Any
from unittest.mock import patch

import botocore.session
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given
from hypothesis import strategies as st

from poller.aws.client import AwsError
from poller.aws.invoke import InvokeClient
from poller.aws.sessions import AwsSession, AwsSettings
from poller.aws.signing import Credentials, Route, Signer, route
from poller.wire.arns import parse_function
from tests.aws.canned import Call, Canned, Says, canned, error
from tests.aws.test_endpoints import ENVIRONMENTS
from tests.transport.peers import OK, Peer, serving

LOCAL = "http://127.0.0.1:9"  # nothing listens there, and nothing is sent
NOW = 1_732_550_000.0
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793"
ARN = "arn:aws:lambda:eu-west-1:123456789012:function:orders"
FUNCTIONS = [
    "orders",
    "orders:live",
    "orders:$LATEST",
    "orders:7",
    "123456789012:function:orders",
    "123456789012:function:orders:live",
    ARN,
    f"{ARN}:live",
]


async def called(client: InvokeClient, function: str = "orders", **more: Any) -> bytes:
    headers = [("Content-Type", "application/json"), *more.items()]
    to = client.route(parse_function(function))
    return (await client.invoke(to, b"{}", headers, TRACE, timeout=10.0)).body


class Stopped(Exception):
    """A request of botocore's, just before it would have been sent."""


def as_botocore_sends(**parameters: Any) -> Any:
    client = botocore.session.Session().create_client(
        "lambda", region_name="us-east-1", config=Config(retries={"total_max_attempts": 1})
    )
    sent: list[Any] = []

    def stop(request: Any, **_: Any) -> None:
        sent.append(request)
        raise Stopped

    client.meta.events.register("before-send", stop)
    with pytest.raises(Stopped):
        client.invoke(Payload=b"{}", **parameters)
    client.close()
    return sent[0]


@pytest.mark.parametrize("function", FUNCTIONS)
async def test_a_function_is_where_botocore_would_invoke_it(
    function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", f"{LOCAL}/prefix/")
    named = parse_function(function)
    qualifier = {} if named.qualifier is None else {"Qualifier": named.qualifier}
    name = function.removesuffix(f":{named.qualifier}")

    async with AwsSession(AwsSettings(region="us-east-1")) as session:
        to = session.invoke_client().route(named)

    assert to.origin + to.path == as_botocore_sends(FunctionName=name, **qualifier).url


@pytest.mark.parametrize("region", ["us-east-1", "cn-north-1"])
@pytest.mark.parametrize(
    "environment", [*ENVIRONMENTS, {"AWS_ENDPOINT_URL_LAMBDA": LOCAL}], ids=str
)
async def test_lambda_is_where_botocore_would_find_it(
    region: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    client = botocore.session.Session().create_client("lambda", region_name=region)

    async with AwsSession(AwsSettings(region=region)) as session:
        assert session.invoke_client().endpoint == client.meta.endpoint_url
    client.close()


async def test_the_configs_own_endpoint_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:10")
    settings = AwsSettings(region="us-east-1", endpoints={"lambda": LOCAL})

    async with AwsSession(settings) as session:
        assert session.invoke_client().endpoint == LOCAL


visible = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=60)
headers = st.dictionaries(
    st.sampled_from(["Content-Type", "X-Amz-Log-Type", "X-Amz-Client-Context", "X-Amz-Tenant-Id"]),
    st.one_of(visible, st.just("two  blanks")),
)


routes = st.builds(
    lambda url, name, query: route(url).below(f"/f/{name}/invocations", query),
    st.sampled_from([LOCAL, "https://lambda.eu-west-1.amazonaws.com", "http://[::1]:4566/a/"]),
    st.sampled_from(["orders", "123456789012%3Afunction%3Aorders"]),
    st.sampled_from([(), [("Qualifier", "$LATEST")], [("b", "1 2"), ("a", "/~")]]),
)


@given(
    st.builds(Credentials, visible, visible, st.none() | visible),
    st.floats(0, 4e9),
    routes,
    st.binary(max_size=200),
    headers,
)
def test_a_signature_is_what_botocore_would_have_made(
    by: Credentials, at: float, to: Route, body: bytes, given: dict[str, str]
) -> None:
    request = AWSRequest("POST", to.origin + to.path, dict(given), body)
    moment = datetime.datetime.fromtimestamp(int(at), datetime.UTC)
    with patch("botocore.auth.get_current_datetime", return_value=moment):
        SigV4Auth(BotoCredentials(*by), "lambda", "eu-west-1").add_auth(request)

    signed = Signer("lambda", "eu-west-1").sign(by, at, to, body, list(given.items()))

    assert dict(signed) == dict(request.headers.items())


async def test_an_invocation_is_a_signed_post_of_the_event() -> None:
    def answer(call: Call) -> Says:
        return Says(b'{"ok":1}')

    async with canned(answer) as server:
        settings = AwsSettings(region="eu-west-1", endpoint_url=server.url)
        async with AwsSession(settings, wall_clock=lambda: NOW) as session:
            body = await called(
                session.invoke_client(), "orders:live", **{"X-Amz-Log-Type": "Tail"}
            )

    [call] = server.calls
    assert (body, call.body) == (b'{"ok":1}', b"{}")
    assert call.line == "POST /2015-03-31/functions/orders/invocations?Qualifier=live HTTP/1.1"
    authorization = call.headers["authorization"]
    assert "/20241125/eu-west-1/lambda/aws4_request" in authorization
    assert "SignedHeaders=content-type;host;x-amz-date;x-amz-log-type," in authorization
    assert (call.headers["x-amz-log-type"], call.headers["x-amzn-trace-id"]) == ("Tail", TRACE)


async def test_invocations_share_connections_with_no_other_calls_and_wait_for_none() -> None:
    many = 300  # more than short calls may have to one origin
    opened, all_there = asyncio.Event(), asyncio.Event()
    running = 0

    async def talk(peer: Peer) -> None:
        nonlocal running
        while await peer.request() is not None:
            running += 1
            if running == many:
                all_there.set()
            await opened.wait()
            await peer.send(OK)

    async with (
        serving(talk) as server,
        AwsSession(AwsSettings(region="us-east-1", endpoint_url=server.origin)) as session,
    ):
        client = session.invoke_client()
        assert session.invoke_client() is client
        invocations = [asyncio.ensure_future(called(client)) for _ in range(many)]
        await asyncio.wait_for(all_there.wait(), 30)
        other = asyncio.ensure_future(session.json_client("sqs").call("ListQueues", b"{}"))
        opened.set()
        assert await asyncio.gather(*invocations) == [b"ok"] * many
        await other
        before = server.connections
        await called(client)

    assert (before, server.connections) == (many + 1, many + 1)


async def test_a_clock_that_is_wrong_is_corrected() -> None:
    def strict(call: Call) -> Says:
        if call.headers["x-amz-date"] == "20241125T155320Z":
            return error("RequestTimeTooSkewed", status=403, Date="Mon, 25 Nov 2024 16:53:20 GMT")
        return Says()

    async with canned(strict) as server:
        settings = AwsSettings(region="us-east-1", endpoint_url=server.url)
        async with AwsSession(settings, wall_clock=lambda: NOW) as session:
            assert await called(session.invoke_client()) == b"{}"

    assert len(server.calls) == 2


async def test_a_refusal_is_an_error_with_lambdas_reason() -> None:
    body = b'{"Reason":"CallerRateLimitExceeded","Type":"User","message":"Rate exceeded"}'
    named = {"x-amzn-ErrorType": "TooManyRequestsException:http://internal", "Retry-After": "2"}

    async with (
        canned(lambda call: Says(body, 429, named)) as server,
        AwsSession(AwsSettings(region="r-1", endpoint_url=server.url)) as session,
    ):
        with pytest.raises(AwsError) as raised:
            await called(session.invoke_client())

    refusal = raised.value
    assert (refusal.code, refusal.status) == ("TooManyRequestsException", 429)
    assert (refusal.reason, refusal.retry_after) == ("CallerRateLimitExceeded", 2.0)
    assert only(server).body == b"{}"
    assert str(refusal) == (
        f"lambda Invoke at {server.url}: TooManyRequestsException: Rate exceeded"
    )


def only(server: Canned) -> Call:
    [call] = server.calls  # nothing is tried again by the client
    return call
