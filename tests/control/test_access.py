"""Who may ask, over real connections: keys, a token, or neither."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from aiohttp import ClientSession, web
from yarl import URL

from poller.control import access
from poller.control.access import HASHED_INLINE_MAX, Access
from poller.control.server import make_app, serve
from tests.control.signed import KEY, NOW, SECRET, Client, Sent

KEYS = {KEY: SECRET, "AKIDOTHER": "another secret"}
TOKEN = "a token that nobody guesses"
MAPPINGS = "/2015-03-31/event-source-mappings/"
BEARER = 'Bearer realm="poller"'


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def refusal(self) -> tuple[int, str | None, str]:
        """Status, AWS's code, and what is said."""
        assert self.headers["x-amzn-RequestId"]
        told = json.loads(self.body)
        assert list(told) == ["message"]
        return self.status, self.headers.get("x-amzn-ErrorType"), told["message"]


@dataclass
class Server:
    """Answers every path with the bytes that were sent to it."""

    access: Access
    time: float = NOW
    address: tuple[str, int] = ("", 0)

    @property
    def client(self) -> Client:
        return Client(host="{}:{}".format(*self.address))

    async def ask(self, path: str, method: str = "GET", data: bytes = b"", **headers: str) -> Reply:
        return await self.send(Sent(method, path, {k: [v] for k, v in headers.items()}, data))

    async def send(self, sent: Sent) -> Reply:
        url = URL("http://{}:{}{}".format(*self.address, sent.target), encoded=True)
        headers = [(name, value) for name, values in sent.headers.items() for value in values]
        async with (
            ClientSession() as session,
            session.request(
                sent.method, url, data=io.BytesIO(sent.body) if sent.body else None, headers=headers
            ) as reply,
        ):
            return Reply(reply.status, reply.headers, await reply.read())


@asynccontextmanager
async def server(keys: Mapping[str, str], token: str | None) -> AsyncIterator[Server]:
    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=b"got " + await request.read())

    started = Server(Access(lambda: started.time))
    started.access.grant(keys, token)
    app = make_app([web.route("*", "/{path:.*}", echo)], loopback=True, access=started.access)
    async with serve(app, "127.0.0.1", 0) as started.address:
        yield started


@pytest.fixture
async def both() -> AsyncIterator[Server]:
    async with server(KEYS, TOKEN) as started:
        yield started


async def test_a_signed_request_passes_with_its_body(both: Server) -> None:
    for size in (0, 2, HASHED_INLINE_MAX, HASHED_INLINE_MAX + 1, 6 * 1024 * 1024):
        sent = both.client.sends(path=f"{MAPPINGS}?FunctionName=orders%3Alive", body=bytes(size))
        reply = await both.send(sent)
        assert (reply.status, len(reply.body)) == (200, 4 + size)


async def test_the_token_passes_everywhere(both: Server) -> None:
    for path in ("/metrics", "/", MAPPINGS):
        for scheme in ("Bearer", "bearer"):
            reply = await both.ask(path, authorization=f"{scheme} {TOKEN}")
            assert (reply.status, reply.body) == (200, b"got ")


@pytest.mark.parametrize("authorization", [{}, {"authorization": "Bearer wrong"}])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_health_is_open_to_everybody(
    both: Server, authorization: dict[str, str], method: str
) -> None:
    for path in ("/healthz", "/readyz"):
        assert (await both.ask(path, method, **authorization)).status == 200
    for path in ("/healthz/", "/readyz/x", "//healthz", "/x/../metrics", "/healthzz"):
        assert (await both.ask(path, method, **authorization)).status == 401


@pytest.mark.parametrize(
    "given", [TOKEN[:-1], f"{TOKEN}x", TOKEN.upper(), "", f"{TOKEN}, Bearer {TOKEN}", "\u00e9"]
)
async def test_another_token_is_a_401(both: Server, given: str) -> None:
    for path in ("/metrics", MAPPINGS):
        reply = await both.ask(path, authorization=f"Bearer {given}")
        assert reply.refusal == (401, None, "this is not the token that auth sets")
        assert reply.headers["WWW-Authenticate"] == BEARER


async def test_people_are_asked_for_what_they_lack_and_clients_of_aws_in_awss_words(
    both: Server,
) -> None:
    reply = await both.ask("/metrics")
    assert reply.headers["WWW-Authenticate"] == BEARER
    assert reply.refusal == (
        401,
        None,
        "send the token that auth sets: Authorization: Bearer TOKEN, or sign the request (SigV4, "
        "service lambda)",
    )
    assert (await both.ask("/lag", authorization="Basic bWU6cHc=")).status == 401
    for path in (MAPPINGS, "/2017-03-31/tags/arn"):
        assert (await both.ask(path)).refusal == (
            403,
            "MissingAuthenticationTokenException",
            "Missing Authentication Token",
        )
        assert (await both.ask(path, authorization="Basic bWU6cHc=")).refusal == (
            403,
            "IncompleteSignatureException",
            "Authorization must begin with AWS4-HMAC-SHA256.",
        )
        assert (await both.ask(f"{path}?X-Amz-Signature=0")).refusal == (
            403,
            "IncompleteSignatureException",
            "A presigned URL is not taken: sign in the Authorization header.",
        )


async def test_with_keys_alone_all_is_said_in_awss_words() -> None:
    async with server(KEYS, None) as keys_only:
        for path in ("/metrics", MAPPINGS):
            refusal = (await keys_only.ask(path)).refusal
            assert refusal[:2] == (403, "MissingAuthenticationTokenException")
            refusal = (await keys_only.ask(path, authorization=f"Bearer {TOKEN}")).refusal
            assert refusal[:2] == (403, "IncompleteSignatureException")
            assert (
                await keys_only.send(keys_only.client.sends("GET", path, body=b""))
            ).status == 200


async def test_with_a_token_alone_no_signature_is_good() -> None:
    async with server({}, TOKEN) as token_only:
        for path in ("/metrics", MAPPINGS):
            reply = await token_only.ask(path)
            assert reply.refusal[:2] == (401, None)
            assert reply.refusal[2].endswith("Authorization: Bearer TOKEN")
            sent = token_only.client.sends("GET", path, body=b"")
            assert (await token_only.send(sent)).refusal == (
                403,
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            )


async def test_without_keys_and_token_everybody_may_ask() -> None:
    async with server({}, None) as anyone:
        for authorization in ({}, {"authorization": "Bearer whatever"}):
            assert (await anyone.ask(MAPPINGS, "POST", b"{}", **authorization)).status == 200


async def test_each_key_is_as_good_as_the_others_and_no_secret_goes_with_two(both: Server) -> None:
    host = both.client.host
    other = Client(secret=KEYS["AKIDOTHER"], key_id="AKIDOTHER", host=host).sends()
    assert (await both.send(other)).status == 200
    crossed = Client(secret=KEYS["AKIDOTHER"], host=host).sends()
    assert (await both.send(crossed)).refusal[:2] == (403, "InvalidSignatureException")


async def test_a_signature_grows_old(both: Server) -> None:
    sent = both.client.sends()
    assert (await both.send(sent)).status == 200
    both.time += 3600
    status, code, message = (await both.send(sent)).refusal
    assert (status, code) == (403, "InvalidSignatureException")
    assert message.startswith("Signature expired: 20241125T155320Z is now earlier than")


async def test_keys_and_token_change_while_it_serves(both: Server) -> None:
    sent = both.client.sends()
    both.access.grant({"AKIDNEW": SECRET}, "a new token")
    assert (await both.send(sent)).status == 403
    assert (await both.ask("/", authorization=f"Bearer {TOKEN}")).status == 401
    assert (await both.ask("/", authorization="Bearer a new token")).status == 200
    both.access.grant({}, None)
    assert (await both.ask("/")).status == 200


async def test_a_stranger_with_megabytes_is_refused_before_they_are_read(both: Server) -> None:
    sent = Client(key_id="AKIDNOBODY", host=both.client.host).sends(body=bytes(10))
    reader, writer = await asyncio.open_connection(*both.address)
    lines = [f"POST {sent.target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, (value,) in sent.headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode())  # and no body
    assert (await reader.readline()).split()[1] == b"403"
    writer.close()
    await writer.wait_closed()


async def test_bodies_that_are_awaited_take_no_more_than_their_bound(
    both: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "READING_BYTES_MAX", 100_000)
    sent = both.client.sends(body=bytes(60_000))
    _, writer = await asyncio.open_connection(*both.address)
    lines = [f"POST {sent.target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, (value,) in sent.headers.items()]
    writer.write("\r\n".join([*lines, "", "the beginning"]).encode())
    while (reply := await both.send(sent)).status == 200:
        pass  # the other has not arrived yet
    assert reply.refusal == (
        429,
        "TooManyRequestsException",
        "too many large requests are being read",
    )
    assert (await both.send(both.client.sends())).status == 200
    writer.close()
    await writer.wait_closed()
    while (await both.send(sent)).status == 429:
        pass  # that the other has gone is not known yet


async def test_a_body_over_the_bound_is_a_413(both: Server) -> None:
    sent = both.client.sends(body=bytes(7 * 1024 * 1024))
    assert (await both.send(sent)).refusal[:2] == (413, "RequestTooLargeException")


async def test_refusals_are_one_line_a_minute_and_never_tell_a_secret(
    both: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "poller")
    for _ in range(20):
        await both.ask("/metrics", authorization="Bearer wr0ng-guess")
        await both.send(Client(secret="wr0ng-guess", host=both.client.host).sends())
    both.time += 60
    await both.ask("/lag")
    assert [record.getMessage() for record in caplog.records] == [
        "refused GET /metrics from 127.0.0.1: this is not the token that auth sets",
        "refused GET /lag from 127.0.0.1: send the token that auth sets: Authorization: Bearer "
        "TOKEN, or sign the request (SigV4, service lambda); 39 more since the last such line",
    ]
    assert not any(secret in caplog.text for secret in ("wr0ng-guess", TOKEN, SECRET))
