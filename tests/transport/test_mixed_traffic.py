"""Whatever goes wrong around it, a reply belongs to its request."""

from __future__ import annotations

import asyncio
import random

import pytest

from poller.transport.http1 import HttpError, HttpPool
from tests.http1 import Message
from tests.transport.peers import Peer, serving
from tests.waiting import soon

REQUESTS = 300
SIDE_BY_SIDE = 20
DEEDS = ["answer"] * 8 + ["late", "close", "reset", "cut", "extra", "leave", "hang", "garbage"]


async def talk(peer: Peer) -> None:
    while (request := await peer.request()) is not None:
        if not await perform(peer, request):
            return


async def perform(peer: Peer, request: Message) -> bool:
    """Do to the request what its path says; whether the connection goes on."""
    path = request.first_line.split()[1].encode()
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path)
    deed = path.split(b"/")[1].decode()
    match deed:
        case "late":
            await asyncio.sleep(0.02)  # by then some have been given up
        case "reset":
            peer.reset()
            return False
        case "cut":
            await peer.send(whole[:-1])
        case "garbage":
            await peer.send(b"garbage\r\n\r\n")
        case "hang":
            await peer.gone()
    if deed in ("answer", "late", "leave"):
        await peer.send(whole)
    elif deed == "extra":
        await peer.send(whole + whole)
    return deed in ("answer", "late", "extra")


@pytest.mark.parametrize("seed", range(5))
async def test_a_reply_belongs_to_its_request_or_there_is_none(seed: int) -> None:
    dice = random.Random(seed)
    turns = asyncio.Semaphore(SIDE_BY_SIDE)

    async def request(pool: HttpPool, number: int) -> bool:
        """Whether the reply was the right one; an AssertionError if it was another one's."""
        path = f"/{dice.choice(DEEDS)}/{number}"
        give_up = dice.random() < 0.2
        async with turns:
            task = asyncio.ensure_future(pool.request("GET", path, [], b"", timeout=0.1))
            if give_up:
                await asyncio.sleep(dice.random() * 0.01)
                task.cancel()
            try:
                reply = await task
            except (HttpError, asyncio.CancelledError):
                return False
            assert reply.body.decode() == path
            return True

    async with serving(talk) as server:
        async with HttpPool(server.origin, connections_max=10) as pool:
            right = await asyncio.gather(*(request(pool, number) for number in range(REQUESTS)))
            last = await pool.request("GET", "/answer/last", [], b"", timeout=10)
            await soon(lambda: server.open <= 10)
        await soon(lambda: server.open == 0)

    assert any(right)
    assert last.body == b"/answer/last"
