"""Which connection carries a request, and what becomes of it afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import AsyncExitStack

import pytest

from poller.transport.http1 import ConnectionLost, HttpPool, HttpReply, NotConnected, TimedOut
from tests.transport.peers import OK, Peer, answering, serving
from tests.waiting import soon

TIMEOUT = 10.0
LARGE = b"x" * 3_000_000


def get(pool: HttpPool, path: str = "/", timeout: float = TIMEOUT) -> Awaitable[HttpReply]:
    return pool.request("GET", path, [], b"", timeout=timeout)


async def test_a_request_arrives_as_it_was_given() -> None:
    async with serving(answering(OK)) as server, HttpPool(server.origin) as pool:
        reply = await pool.request("POST", "/a?b=c", [("X-Name", "value")], b"{}", timeout=TIMEOUT)

    [request] = server.requests
    assert reply == HttpReply(200, {"content-length": "2"}, b"ok")
    assert request.first_line == "POST /a?b=c HTTP/1.1"
    assert request.headers == {
        "host": server.origin.removeprefix("http://"),
        "x-name": "value",
        "content-length": "2",
    }
    assert request.body == b"{}"


async def test_a_large_body_arrives_whole() -> None:
    async with serving(answering(OK)) as server, HttpPool(server.origin) as pool:
        await pool.request("POST", "/", [], LARGE, timeout=TIMEOUT)
        await get(pool)

    assert [request.body for request in server.requests] == [LARGE, b""]
    assert server.requests[1].headers["content-length"] == "0"
    assert server.connections == 1


async def test_a_large_reply_arrives_whole() -> None:
    large = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(LARGE) + LARGE

    async with serving(answering(large)) as server, HttpPool(server.origin) as pool:
        reply = await get(pool)

    assert reply.body == LARGE


async def test_requests_one_after_another_share_a_connection() -> None:
    async with serving(answering(OK)) as server, HttpPool(server.origin) as pool:
        for _ in range(5):
            await get(pool)

    assert server.connections == 1


async def test_requests_side_by_side_have_a_connection_each() -> None:
    async with serving(answering(OK)) as server, HttpPool(server.origin) as pool:
        await asyncio.gather(*(get(pool) for _ in range(5)))

    assert server.connections == 5


async def test_no_more_connections_are_opened_than_allowed() -> None:
    async with (
        serving(answering(OK)) as server,
        HttpPool(server.origin, connections_max=2) as pool,
    ):
        replies = await asyncio.gather(*(get(pool) for _ in range(20)))

    assert [reply.body for reply in replies] == [b"ok"] * 20
    assert server.connections == 2


async def test_a_failed_or_cancelled_request_gives_its_turn_to_the_next() -> None:
    async def talk(peer: Peer) -> None:
        request = await peer.request()
        if request is not None and request.first_line.startswith("GET /ok"):
            await peer.send(OK)
        elif request is not None and request.first_line.startswith("GET /hang"):
            await peer.gone()

    async with serving(talk) as server, HttpPool(server.origin, connections_max=1) as pool:
        hanging = asyncio.ensure_future(get(pool, "/hang"))
        await soon(lambda: len(server.requests) == 1)
        waiting = [asyncio.ensure_future(get(pool, "/ok")) for _ in range(3)]
        hanging.cancel()
        waiting[1].cancel()

        await asyncio.wait([hanging, *waiting])
        with pytest.raises(ConnectionLost):
            await get(pool, "/cut")

        assert [task.cancelled() for task in (hanging, *waiting)] == [True, False, True, False]
        assert (await get(pool, "/ok")).body == b"ok"


async def test_the_connection_that_became_idle_last_is_used_first() -> None:
    async def talk(peer: Peer) -> None:
        while await peer.request() is not None:
            number = str(peer.number).encode()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(number) + number)

    async with serving(talk) as server, HttpPool(server.origin) as pool:
        await asyncio.gather(*(get(pool) for _ in range(3)))
        numbers = {(await get(pool)).body for _ in range(10)}

    assert len(numbers) == 1


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: timeout=1\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more",
        OK + OK,
    ],
)
async def test_a_connection_that_cannot_be_kept_is_closed_after_its_reply(reply: bytes) -> None:
    async with serving(answering(reply)) as server, HttpPool(server.origin) as pool:
        bodies = [(await get(pool)).body for _ in range(3)]
        await soon(lambda: server.open == 0)

    assert bodies == [b"ok"] * 3
    assert server.connections == 3


@pytest.mark.parametrize("rest", [b"HTTP/1.1 200 OK\r\n", b"garbage", OK])
async def test_bytes_on_an_idle_connection_close_it(rest: bytes) -> None:
    unasked = asyncio.Event()

    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        if peer.number == 0:
            await unasked.wait()
            await peer.send(rest)
        await peer.gone()

    async with serving(talk) as server, HttpPool(server.origin) as pool:
        first = await get(pool)
        unasked.set()
        await soon(lambda: server.open == 0)
        second = await get(pool)

    assert (first.body, second.body, server.connections) == (b"ok", b"ok", 2)


async def test_an_idle_connection_is_closed_when_its_time_is_over() -> None:
    async with serving(answering(OK)) as server, HttpPool(server.origin, idle_max=0.05) as pool:
        await asyncio.gather(*(get(pool) for _ in range(3)))
        await soon(lambda: server.open == 0)
        reply = await get(pool)

    assert (reply.body, server.connections) == (b"ok", 4)


async def test_a_kept_connection_that_closes_without_an_answer_counts_as_nothing() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        if await peer.request() is not None and peer.number == 0:
            return  # closes although a request has come
        await peer.gone()

    async with serving(talk) as server, HttpPool(server.origin) as pool:
        await get(pool, "/1")
        reply = await get(pool, "/2")

    assert reply.body == b"ok"
    assert [request.first_line[:6] for request in server.requests] == ["GET /1", "GET /2", "GET /2"]


async def test_a_kept_connection_that_is_reset_without_an_answer_counts_as_nothing() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        peer.reset()

    async with serving(talk) as server, HttpPool(server.origin) as pool:
        bodies = [(await get(pool)).body for _ in range(4)]

    assert bodies == [b"ok"] * 4
    assert server.connections == 4


async def test_the_second_try_is_the_last_one_and_has_a_fresh_connection() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        if peer.number < 2:
            await peer.send(OK)
            await peer.request()

    async with serving(talk) as server, HttpPool(server.origin) as pool:
        await asyncio.gather(get(pool, "/1"), get(pool, "/2"))  # two idle connections
        with pytest.raises(ConnectionLost) as lost:
            await get(pool, "/3")

    assert lost.value.unanswered
    assert server.connections == 3
    assert [request.first_line for request in server.requests[2:]] == ["GET /3 HTTP/1.1"] * 2


async def test_a_kept_connection_that_breaks_within_an_answer_is_not_tried_again() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        await peer.send(b"H")

    async with serving(talk) as server, HttpPool(server.origin) as pool:
        await get(pool)
        with pytest.raises(ConnectionLost) as lost:
            await get(pool)

    assert not lost.value.unanswered
    assert server.connections == 1


async def test_a_server_that_is_gone_since_the_last_request_is_not_connected() -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(answering(OK)))
        async with HttpPool(server.origin) as pool:
            await get(pool)
            await stack.aclose()
            with pytest.raises(NotConnected, match=f"cannot connect to {server.origin}: .*refused"):
                await get(pool)


async def test_a_cancelled_request_closes_its_connection() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    async with serving(talk) as server, HttpPool(server.origin) as pool:
        request = asyncio.ensure_future(get(pool))
        await soon(lambda: len(server.requests) == 1)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        await soon(lambda: server.open == 0)


async def test_a_timeout_closes_the_connection() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    async with serving(talk) as server, HttpPool(server.origin) as pool:
        with pytest.raises(TimedOut, match=f"{server.origin} gave no whole response within 0.05 s"):
            await get(pool, timeout=0.05)
        await soon(lambda: server.open == 0)

    assert server.connections == 1


async def test_an_answer_to_a_request_that_was_not_read_is_an_answer() -> None:
    async def talk(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        await peer.gone()

    async with serving(talk) as server, HttpPool(server.origin) as pool:
        replies = [
            await pool.request("POST", "/", [], LARGE * 5, timeout=TIMEOUT) for _ in range(2)
        ]

    assert [reply.status for reply in replies] == [413, 413]
    assert server.connections == 2


async def test_an_answer_to_head_leaves_the_connection_in_order() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"

    async with serving(answering(head, OK)) as server, HttpPool(server.origin) as pool:
        bodies = [
            (await pool.request(method, "/", [], b"", timeout=TIMEOUT)).body
            for method in ("HEAD", "GET")
        ]

    assert bodies == [b"", b"ok"]
    assert server.connections == 1


async def test_a_pool_that_closes_ends_what_runs() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    async with serving(talk) as server:
        async with HttpPool(server.origin) as pool:
            request = asyncio.ensure_future(get(pool))
            await soon(lambda: len(server.requests) == 1)
        with pytest.raises(ConnectionLost):
            await request
        await soon(lambda: server.open == 0)


async def test_an_address_of_version_six_is_an_address() -> None:
    try:
        listening = serving(answering(OK), host="::1")
        async with listening as server:
            origin = f"http://[::1]:{server.port}"
            async with HttpPool(origin) as pool:
                await get(pool)
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")

    assert server.requests[0].headers["host"] == f"[::1]:{server.port}"


async def test_a_host_of_several_addresses_is_reached_by_the_one_that_works() -> None:
    async with (
        serving(answering(OK)) as server,
        HttpPool(f"http://localhost:{server.port}") as pool,
    ):
        assert (await get(pool)).body == b"ok"
