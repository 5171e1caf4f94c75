"""Responses that are read while they come: whole, in pieces, held up, cut and given up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from poller.transport import streams
from poller.transport.http1 import (
    BodyTooLarge,
    ConnectionLost,
    Garbled,
    HttpPool,
    HttpReply,
    HttpStream,
    NotConnected,
    TimedOut,
)
from tests.transport.certificates import self_signed
from tests.transport.peers import END, HEAD, Peer, Server, Talk, chunk, serving
from tests.waiting import soon


@asynccontextmanager
async def streamed(talk: Talk, *, timeout: float = 5.0) -> AsyncIterator[tuple[HttpStream, Server]]:
    async with serving(talk) as server, HttpPool(server.origin) as pool:
        stream = await pool.stream("POST", "/", [("X-Asked", "yes")], b"{}", timeout=timeout)
        assert isinstance(stream, HttpStream)
        yield stream, server


async def rest(stream: HttpStream) -> bytes:
    taken = b""
    while some := await stream.take():
        taken += some
    return taken


async def test_a_body_is_taken_while_it_comes() -> None:
    go_on = asyncio.Event()

    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + chunk(b"first"))
        await go_on.wait()
        await peer.send(chunk(b"second") + END)
        await peer.gone()

    async with streamed(talk) as (stream, server):
        assert (stream.status, stream.headers["x-name"]) == (200, "value")
        assert await stream.take() == b"first"
        go_on.set()
        assert await rest(stream) == b"second"
        assert await stream.take() == b""
        await soon(lambda: server.open == 0)

    assert server.requests[0].headers["x-asked"] == "yes"
    assert server.requests[0].body == b"{}"


@pytest.mark.parametrize("end", [END, b""])
async def test_a_body_ends_with_its_last_chunk_and_not_with_the_connection(end: bytes) -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + chunk(b"all") + end)

    async with streamed(talk) as (stream, _):
        assert await stream.take() == b"all"
        if end:
            assert await stream.take() == b""
        else:
            with pytest.raises(ConnectionLost, match="in the middle of its response"):
                await stream.take()


async def test_a_body_without_a_length_ends_with_the_connection() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nall")

    async with streamed(talk) as (stream, _):
        assert await rest(stream) == b"all"


async def test_a_reset_comes_after_all_that_came_before_it() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + chunk(b"some"))
        await asyncio.sleep(0.05)
        peer.reset()

    async with streamed(talk) as (stream, server):
        await soon(lambda: server.open == 0)
        assert await stream.take() == b"some"
        for _ in range(2):
            with pytest.raises(ConnectionLost):
                await stream.take()


async def test_garbage_within_a_body_is_told_as_such() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + chunk(b"some") + b"what?\r\n")
        await peer.gone()

    async with streamed(talk) as (stream, _):
        with pytest.raises(Garbled, match="not HTTP"):
            await rest(stream)


async def test_a_taker_that_is_cancelled_loses_no_byte() -> None:
    go_on = asyncio.Event()

    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD)
        await go_on.wait()
        for number in range(50):
            await peer.send(chunk(b"%02d" % number))
        await peer.send(END)
        await peer.gone()

    async with streamed(talk) as (stream, _):
        taken = b""
        waiting = asyncio.create_task(stream.take())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        go_on.set()
        while True:
            taking = asyncio.create_task(stream.take())
            await asyncio.sleep(0)
            taking.cancel()
            try:
                some = await taking
            except asyncio.CancelledError:
                continue
            if not some:
                break
            taken += some

    assert taken == b"".join(b"%02d" % number for number in range(50))


async def test_what_is_not_taken_holds_the_server_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "LIVE_AFTER", 0.05)
    total, sent, all_taken = 32 * 1024 * 1024, 0, asyncio.Event()

    async def talk(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(HEAD)
        while sent < total:
            await peer.send(chunk(b"x" * 65536))
            sent += 65536
        await all_taken.wait()
        await asyncio.sleep(0.1)
        await peer.send(chunk(b"later"))
        await peer.gone()

    async with streamed(talk) as (stream, _):
        await soon(lambda: stream.held_up)
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.05)
        assert sent < total
        assert stream._response.untaken < 2 * streams.UNTAKEN_BYTES_MAX
        taken = 0
        while taken < total:
            taken += len(await stream.take())
        all_taken.set()
        assert await stream.take() == b"later"
        assert not stream.held_up  # it waited long enough for that


async def test_a_refusal_comes_whole() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 6\r\n\r\nno")
        await asyncio.sleep(0.02)
        await peer.send(b", no")
        await peer.gone()

    async with serving(talk) as server, HttpPool(server.origin) as pool:
        reply = await pool.stream("POST", "/", [], b"", timeout=5)

    assert isinstance(reply, HttpReply)
    assert (reply.status, reply.body) == (400, b"no, no")


async def test_a_refusal_without_end_is_given_up() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD.replace(b"200", b"500"))
        while True:
            await peer.send(chunk(b"x" * 65536))

    async with serving(talk) as server, HttpPool(server.origin) as pool:
        with pytest.raises(BodyTooLarge):
            await pool.stream("POST", "/", [], b"", timeout=30)
        await soon(lambda: server.open == 0)


async def test_a_response_that_does_not_begin_times_out() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    async with serving(talk) as server, HttpPool(server.origin) as pool:
        with pytest.raises(TimedOut, match=r"no response within 0\.05 s"):
            await pool.stream("POST", "/", [], b"", timeout=0.05)
        await soon(lambda: server.open == 0)


async def test_a_connection_that_closes_at_once_is_lost_or_was_never_there() -> None:
    async def talk(peer: Peer) -> None:
        peer.reset()

    async with serving(talk) as server, HttpPool(server.origin) as pool:
        with pytest.raises((ConnectionLost, NotConnected)):
            await pool.stream("POST", "/", [], b"", timeout=5)


async def test_streams_take_no_connection_from_others_and_end_with_the_pool() -> None:
    async def talk(peer: Peer) -> None:
        message = await peer.request()
        assert message is not None
        if message.first_line.startswith("POST /stream"):
            await peer.send(HEAD)
            await peer.gone()
        else:
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await peer.gone()

    async with serving(talk) as server:
        async with HttpPool(server.origin, connections_max=1) as pool:
            open_streams = [
                await pool.stream("POST", "/stream", [], b"", timeout=5) for _ in range(3)
            ]
            assert (await pool.request("POST", "/", [], b"", timeout=5)).body == b"ok"
        for stream in open_streams:
            assert isinstance(stream, HttpStream)
            with pytest.raises(ConnectionLost):
                await stream.take()
        await soon(lambda: server.open == 0)


async def test_streams_go_over_tls(tmp_path: Path) -> None:
    contexts = self_signed(tmp_path)

    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD)
        for _ in range(64):
            await peer.send(chunk(b"x" * 65536))
        await peer.send(END)
        await peer.gone()

    async with (
        serving(talk, context=contexts.server) as server,
        HttpPool(server.origin, ssl=contexts.client) as pool,
    ):
        stream = await pool.stream("POST", "/", [], b"", timeout=5)
        assert isinstance(stream, HttpStream)
        await soon(lambda: stream.held_up)
        assert len(await rest(stream)) == 64 * 65536
