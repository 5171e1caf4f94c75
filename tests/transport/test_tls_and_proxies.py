"""The same exchanges inside TLS, by way of a proxy, and inside a proxy's tunnel."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from poller.transport.http1 import ConnectionLost, HttpPool, NotConnected, TimedOut
from tests.transport.certificates import Contexts, self_signed
from tests.transport.peers import OK, Peer, answering, serving
from tests.waiting import soon

LARGE = b"x" * 1_000_000


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> Contexts:
    folder: Path = tmp_path_factory.mktemp("tls")
    return self_signed(folder)


async def tunnel(peer: Peer) -> None:
    """What a forward proxy does with CONNECT."""
    request = await peer.request()
    assert request is not None
    method, target, _ = request.first_line.split()
    assert method == "CONNECT"
    host, _, port = target.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    await peer.send(b"HTTP/1.1 200 Connection Established\r\nVia: test\r\n\r\n")
    try:
        await asyncio.gather(pump(peer.reader, writer), pump(reader, peer.writer))
    finally:
        writer.close()


async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        sink.close()


async def test_requests_inside_tls_share_a_connection(contexts: Contexts) -> None:
    async with (
        serving(answering(OK), context=contexts.server) as server,
        HttpPool(server.origin, ssl=contexts.client) as pool,
    ):
        bodies = [(await pool.request("POST", "/", [], LARGE, timeout=10)).body for _ in range(3)]
        await asyncio.gather(*(pool.request("GET", "/", [], b"", timeout=10) for _ in range(2)))

    assert bodies == [b"ok"] * 3
    assert server.connections == 2
    assert [request.body for request in server.requests[:3]] == [LARGE] * 3


async def test_a_certificate_that_nobody_vouches_for_is_not_connected(contexts: Contexts) -> None:
    async with (
        serving(answering(OK), context=contexts.server) as server,
        HttpPool(server.origin) as pool,
    ):
        with pytest.raises(NotConnected, match=r"certificate is not accepted: self.signed"):
            await pool.request("GET", "/", [], b"", timeout=10)

    assert server.requests == []


async def test_a_server_without_tls_is_not_connected(contexts: Contexts) -> None:
    async def greet(peer: Peer) -> None:
        await peer.send(b"220 hello\r\n")
        await peer.gone()

    async with serving(greet) as server:
        origin = server.origin.replace("http:", "https:")
        async with HttpPool(origin, ssl=contexts.client) as pool:
            with pytest.raises(NotConnected, match="TLS failed"):
                await pool.request("GET", "/", [], b"", timeout=10)


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"])
async def test_a_cut_inside_tls_is_a_lost_connection(contexts: Contexts, raw: bytes) -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(raw)

    async with (
        serving(talk, context=contexts.server) as server,
        HttpPool(server.origin, ssl=contexts.client) as pool,
    ):
        with pytest.raises(ConnectionLost) as lost:
            await pool.request("GET", "/", [], b"", timeout=10)

    assert lost.value.unanswered == (raw == b"")


async def test_a_body_until_close_inside_tls_ends_with_the_orderly_close_alone(
    contexts: Contexts,
) -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nwhole")
        if peer.number == 1:
            await asyncio.sleep(0.01)
            peer.reset()

    async with (
        serving(talk, context=contexts.server) as server,
        HttpPool(server.origin, ssl=contexts.client) as pool,
    ):
        reply = await pool.request("GET", "/", [], b"", timeout=10)
        with pytest.raises(ConnectionLost):
            await pool.request("GET", "/", [], b"", timeout=10)

    assert reply.body == b"whole"


async def test_a_timeout_inside_tls_closes_the_connection(contexts: Contexts) -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    async with (
        serving(talk, context=contexts.server) as server,
        HttpPool(server.origin, ssl=contexts.client) as pool,
    ):
        with pytest.raises(TimedOut):
            await pool.request("GET", "/", [], b"", timeout=0.05)
        await soon(lambda: server.open == 0)


async def test_plain_requests_go_to_the_proxy_in_absolute_form() -> None:
    async with serving(answering(OK)) as proxy:
        url = f"http://user:s3cret@127.0.0.1:{proxy.port}"
        async with HttpPool("http://far.example:8080", proxy=url) as pool:
            for _ in range(2):
                await pool.request("GET", "/a?b", [], b"", timeout=10)

    assert proxy.connections == 1
    assert proxy.requests[0].first_line == "GET http://far.example:8080/a?b HTTP/1.1"
    assert proxy.requests[0].headers == {
        "host": "far.example:8080",
        "proxy-authorization": "Basic dXNlcjpzM2NyZXQ=",
        "content-length": "0",
    }


async def test_requests_to_https_go_through_a_tunnel(contexts: Contexts) -> None:
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(serving(tunnel))
        server = await stack.enter_async_context(serving(answering(OK), context=contexts.server))
        url = f"http://user:s3cret@127.0.0.1:{proxy.port}"
        async with HttpPool(server.origin, proxy=url, ssl=contexts.client) as pool:
            bodies = [
                (await pool.request("POST", "/", [], LARGE, timeout=10)).body for _ in range(2)
            ]

    authority = server.origin.removeprefix("https://")
    assert bodies == [b"ok"] * 2
    assert proxy.requests[0].first_line == f"CONNECT {authority} HTTP/1.1"
    assert proxy.requests[0].headers == {
        "host": authority,
        "proxy-authorization": "Basic dXNlcjpzM2NyZXQ=",
    }
    assert (proxy.connections, server.connections) == (1, 1)
    assert "proxy-authorization" not in server.requests[0].headers


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (b"HTTP/1.1 407 Auth\r\nContent-Length: 0\r\n\r\n", "status 407"),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy", "status 503"),
        (b"SSH-2.0\r\n\r\n", "garbage"),
        (b"", "closed"),
    ],
)
async def test_a_proxy_that_opens_no_tunnel_is_not_connected(
    contexts: Contexts, reply: bytes, why: str
) -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(reply)

    async with serving(talk) as proxy:
        url = f"http://user:s3cret@127.0.0.1:{proxy.port}"
        async with HttpPool("https://far.example", proxy=url, ssl=contexts.client) as pool:
            with pytest.raises(NotConnected, match=why) as failure:
                await pool.request("GET", "/", [], b"", timeout=10)
        await soon(lambda: proxy.open == 0)

    assert f"https://far.example by way of the proxy http://127.0.0.1:{proxy.port}" in str(
        failure.value
    )
    assert "s3cret" not in str(failure.value)


async def test_a_proxy_that_wants_other_credentials_is_not_connected() -> None:
    refusal = b"HTTP/1.1 407 Auth\r\nContent-Length: 0\r\n\r\n"

    async with (
        serving(answering(refusal)) as proxy,
        HttpPool("http://far.example", proxy=proxy.origin) as pool,
    ):
        with pytest.raises(NotConnected, match="407"):
            await pool.request("GET", "/", [], b"", timeout=10)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_is_not_there_is_not_connected(scheme: str) -> None:
    async with serving(answering(OK)) as gone:
        pass

    async with HttpPool(f"{scheme}://far.example", proxy=gone.origin) as pool:
        with pytest.raises(NotConnected, match=f"by way of the proxy {gone.origin}: .*refused"):
            await pool.request("GET", "/", [], b"", timeout=10)


async def test_a_mute_proxy_is_not_connected_and_its_socket_is_closed(contexts: Contexts) -> None:
    async def mute(peer: Peer) -> None:
        await peer.gone()

    async with serving(mute) as proxy:
        async with HttpPool(
            "https://far.example", proxy=proxy.origin, ssl=contexts.client, connect_timeout=0.05
        ) as pool:
            with pytest.raises(NotConnected, match="no connection within"):
                await pool.request("GET", "/", [], b"", timeout=10)
        await soon(lambda: proxy.open == 0)
