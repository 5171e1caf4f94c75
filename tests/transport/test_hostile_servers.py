"""Every way in which a server can fail a request has one error, and none leaves a socket open."""

from __future__ import annotations

import asyncio

import pytest

from poller.transport.http1 import (
    BodyTooLarge,
    ConnectionLost,
    Garbled,
    HttpError,
    HttpPool,
    NotConnected,
    TimedOut,
)
from tests.transport.peers import Peer, Talk, serving
from tests.waiting import soon

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
ENDLESS = b"HTTP/1.1 200 OK\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def saying(data: bytes, *, then: str) -> Talk:
    async def talk(peer: Peer) -> None:
        await peer.request()
        if data:
            await peer.send(data)
        if then == "reset":
            await asyncio.sleep(0.01)  # let what was sent arrive: a reset overtakes it
            peer.reset()
        elif then == "hang":
            await peer.gone()

    return talk


async def drip(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n")
    while not peer.reader.at_eof():
        await peer.send(b"x")
        await asyncio.sleep(0.01)


async def without_reading(peer: Peer) -> None:
    await asyncio.sleep(0)


FAILURES: dict[str, tuple[Talk, type[HttpError]]] = {
    "closes without an answer": (saying(b"", then="close"), ConnectionLost),
    "resets without an answer": (saying(b"", then="reset"), ConnectionLost),
    "closes in the head": (saying(b"HTTP/1.1 200 OK\r\nConte", then="close"), ConnectionLost),
    "resets in the head": (saying(b"HTTP/1.1 200 OK\r\nConte", then="reset"), ConnectionLost),
    "closes after an interim answer": (
        saying(b"HTTP/1.1 100 Continue\r\n\r\n", then="close"),
        ConnectionLost,
    ),
    "closes in the body": (saying(HEAD + b"x", then="close"), ConnectionLost),
    "resets in the body": (saying(HEAD + b"x", then="reset"), ConnectionLost),
    "closes between chunks": (saying(CHUNKED + b"1\r\nx\r\n", then="close"), ConnectionLost),
    "resets a body without end": (
        saying(b"HTTP/1.1 200 OK\r\n\r\nx", then="reset"),
        ConnectionLost,
    ),
    "hangs": (saying(b"", then="hang"), TimedOut),
    "hangs in the head": (saying(b"HTTP/1.1 200 OK\r\nConte", then="hang"), TimedOut),
    "hangs in the body": (saying(HEAD + b"x", then="hang"), TimedOut),
    "hangs before the last chunk": (saying(CHUNKED + b"1\r\nx\r\n", then="hang"), TimedOut),
    "hangs in a body without end": (saying(ENDLESS + b"x", then="hang"), TimedOut),
    "drips": (drip, TimedOut),
    "speaks another protocol": (saying(b"220 mail.example ESMTP\r\n", then="hang"), Garbled),
    "speaks TLS": (saying(b"\x15\x03\x03\x00\x02\x02\x46", then="hang"), Garbled),
    "switches protocols": (
        saying(b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", then="hang"),
        Garbled,
    ),
    "has a head without end": (
        saying(b"HTTP/1.1 200 OK\r\nA: " + b"x" * 999_999, then="hang"),
        Garbled,
    ),
    "has a large body": (
        saying(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", then="hang"),
        BodyTooLarge,
    ),
    "has a body that grows too large": (
        saying(ENDLESS + b"x" * 5000, then="hang"),
        BodyTooLarge,
    ),
}


@pytest.mark.parametrize("title", FAILURES)
async def test_a_failure_is_named_on_one_line_and_closes_the_connection(title: str) -> None:
    talk, expected = FAILURES[title]
    timeout = 0.1 if expected is TimedOut else 10.0

    async with serving(talk) as server, HttpPool(server.origin, body_bytes_max=4096) as pool:
        with pytest.raises(expected) as failure:
            await pool.request("POST", "/", [("X-Key", "s3cret")], b"{}", timeout=timeout)
        await soon(lambda: server.open == 0)

    assert type(failure.value) is expected
    assert server.origin in str(failure.value)
    assert "\n" not in str(failure.value)
    assert "s3cret" not in str(failure.value)
    assert server.connections == 1


async def test_a_server_that_closes_at_once_is_a_failure_before_or_after_the_request() -> None:
    async with serving(without_reading) as server, HttpPool(server.origin) as pool:
        for _ in range(5):
            with pytest.raises((NotConnected, ConnectionLost)):
                await pool.request("GET", "/", [], b"", timeout=10)


async def test_a_refused_connection_is_not_connected() -> None:
    async with serving(without_reading) as server:
        pass

    async with HttpPool(server.origin) as pool:
        with pytest.raises(NotConnected, match=f"^cannot connect to {server.origin}: Connection"):
            await pool.request("GET", "/", [], b"", timeout=10)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 64])
async def test_a_host_that_does_not_exist_is_not_connected(host: str) -> None:
    async with HttpPool(f"http://{host}:80") as pool:
        with pytest.raises(NotConnected, match=f"^cannot connect to http://{host}: "):
            await pool.request("GET", "/", [], b"", timeout=10)


async def test_a_connection_that_takes_too_long_is_not_connected() -> None:
    async def mute(peer: Peer) -> None:
        await peer.gone()  # never answers the TLS handshake

    async with serving(mute) as server:
        origin = server.origin.replace("http:", "https:")
        async with HttpPool(origin, connect_timeout=0.05) as pool:
            with pytest.raises(NotConnected, match=r"no connection within 0\.05 s"):
                await pool.request("GET", "/", [], b"", timeout=10)
        await soon(lambda: server.open == 0)
