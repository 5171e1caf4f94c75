"""A consumer over real sockets: what it asks for, what it pins, and frames that arrive broken."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from poller.aws.sessions import AwsSession, AwsSettings
from poller.core.model import Position
from poller.core.steps import Fetched, FetchFailed
from poller.errors import SourceMissing
from poller.sources import kinesis_fanout
from poller.sources.kinesis import AtTimestamp, Latest, Start, TrimHorizon
from poller.sources.kinesis_fanout import KinesisFanoutSource
from poller.sources.paces import Paces
from tests.event_frames import event, exception
from tests.http1 import Message, reply
from tests.sources.fanout_scripts import CONSUMER, ROLE, pushed
from tests.sources.kinesis_scripts import NOW, SHARD, shard
from tests.transport.peers import END, HEAD, Peer, chunk, serving
from tests.waiting import soon

ACTIVE = {"ConsumerDescription": {"ConsumerStatus": "ACTIVE"}}
DATE = email.utils.formatdate(NOW - 3, usegmt=True)

Push = Callable[[Peer], Awaitable[None]]


def operation(message: Message) -> str:
    return message.headers["x-amz-target"].rpartition(".")[2]


def frame(*numbers: int, **others: Any) -> bytes:
    return event("SubscribeToShardEvent", json.loads(pushed(*numbers, **others).payload))


@dataclass
class Server:
    """Answers each SubscribeToShard with the next of `pushes`, and other calls as the stream is."""

    pushes: list[Push]
    consumer: dict[str, Any] | tuple[int, dict[str, Any]] = field(default_factory=lambda: ACTIVE)
    asked: list[dict[str, Any]] = field(default_factory=list)
    open: int = 0

    async def talk(self, peer: Peer) -> None:
        while (message := await peer.request()) is not None:
            match operation(message):
                case "SubscribeToShard":
                    self.asked.append(json.loads(message.body))
                    self.open += 1
                    try:
                        await self.pushes.pop(0)(peer)
                    finally:
                        self.open -= 1
                    return
                case "ListShards":
                    await self._say(peer, {"Shards": [shard(), shard("shardId-9", ending="9")]})
                case _:
                    await self._say(peer, self.consumer)

    async def _say(self, peer: Peer, what: Any) -> None:
        status, body = what if isinstance(what, tuple) else (200, what)
        answer = reply(status, json.dumps(body).encode(), {"Date": DATE})
        await peer.send(answer.encode())

    @property
    def places(self) -> list[Any]:
        return [request["StartingPosition"] for request in self.asked]


def pushing(*pieces: bytes, end: bytes | None = None) -> Push:
    """Send these pieces of a stream, and `end`; None: leave it open."""

    async def push(peer: Peer) -> None:
        await peer.send(HEAD)
        for piece in pieces:
            await peer.send(chunk(piece))
        if end is None:
            await peer.gone()
        await peer.send(end or b"")

    return push


@contextlib.asynccontextmanager
async def source_on(
    server: Server,
    start: Start = TrimHorizon(),  # noqa: B008 - it is frozen
) -> AsyncIterator[KinesisFanoutSource]:
    async with (
        serving(server.talk) as serves,
        AwsSession(AwsSettings(region="us-east-1", endpoint_url=serves.origin)) as session,
    ):
        yield KinesisFanoutSource(
            session.json_client("kinesis"),
            consumer_arn=CONSUMER,
            role_arn=ROLE,
            start=start,
            now=time.time,
            paces=Paces(0.0),
        )


@pytest.fixture(autouse=True)
def _takeovers_are_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poller.sources.kinesis_fanout_reader.TAKEOVER_AFTER", 0.0)


@pytest.mark.parametrize(
    ("resume", "start", "place"),
    [
        (Position("7"), TrimHorizon(), {"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": "7"}),
        (Position(since=NOW), Latest(), {"Type": "AT_TIMESTAMP", "Timestamp": NOW}),
        (None, AtTimestamp(NOW), {"Type": "AT_TIMESTAMP", "Timestamp": NOW}),
        (None, TrimHorizon(), {"Type": "TRIM_HORIZON"}),
        (None, Latest(), {"Type": "TRIM_HORIZON"}),
    ],
)
async def test_a_subscription_begins_where_the_position_or_the_mapping_says(
    resume: Position | None, start: Start, place: dict[str, Any]
) -> None:
    server = Server([pushing(frame(1))])
    async with source_on(server, start) as source:
        reader = source.reader(SHARD, resume)
        assert isinstance(await reader.read(10), Fetched)
        reader.close()

    assert server.asked == [{"ConsumerARN": CONSUMER, "ShardId": SHARD, "StartingPosition": place}]


BROKEN = {
    "a frame that is cut": pushing(frame(1, 2, continuation="2"), frame(3)[:-9], end=END),
    "a connection that is cut": pushing(frame(1, 2, continuation="2"), frame(3)[:30], end=b""),
    "a checksum that is wrong": pushing(frame(1, 2, continuation="2"), frame(3)[:-1] + b"x"),
    "records that are none": pushing(
        frame(1, 2, continuation="2"), event("SubscribeToShardEvent", {"Records": [{}]})
    ),
    "an exception": pushing(frame(1, 2, continuation="2"), exception("InternalFailureException")),
    "no HTTP": pushing(frame(1, 2, continuation="2"), end=b"what?\r\n"),
}


@pytest.mark.parametrize("how", BROKEN)
async def test_whatever_breaks_a_subscription_the_next_one_goes_on(how: str) -> None:
    server = Server([BROKEN[how], pushing(frame(3, 4))])
    found, failures = [], []
    async with source_on(server) as source:
        reader = source.reader(SHARD, None)
        while len(found) < 4:
            read = await reader.read(10)
            if isinstance(read, FetchFailed):
                failures.append(read.error)
            else:
                found += [record.sequence for record in read.records]
        reader.close()

    assert found == ["1", "2", "3", "4"]
    assert len(failures) == 1
    assert failures[0].startswith(f"reading {SHARD}: ")
    assert "\n" not in failures[0]
    assert server.places[1] == {"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": "2"}


async def test_a_reader_that_is_closed_leaves_no_connection_behind() -> None:
    server = Server([pushing(frame(1))])
    async with source_on(server) as source:
        reader = source.reader(SHARD, None)
        await reader.read(10)
        assert server.open == 1
        reader.close()
        await soon(lambda: server.open == 0)
        reader.close()


async def test_a_reader_that_is_not_asked_holds_the_server_up_and_misses_nothing() -> None:
    sent = 0

    async def push(peer: Peer) -> None:
        nonlocal sent
        await peer.send(HEAD)
        while sent < 4000:
            await peer.send(chunk(frame(sent, continuation=str(sent), Padding="x" * 10_000)))
            sent += 1
        await peer.send(END)

    server = Server([push, pushing(frame(4000))])
    async with source_on(server) as source:
        reader = source.reader(SHARD, None)
        await reader.read(10)
        before = -1
        while sent != before:  # while the function is busy
            before = sent
            await asyncio.sleep(0.1)
        assert sent < 4000
        found = []
        while not found or found[-1] != 4000:
            read = await reader.read(10)
            assert isinstance(read, Fetched), read
            found += [int(record.sequence) for record in read.records]
        reader.close()

    assert found == list(range(1, 4001))


# LATEST.


async def test_a_pin_is_a_subscription_at_the_tip_that_waits_for_its_reader() -> None:
    server = Server([pushing(frame(1))])
    async with source_on(server, Latest()) as source:
        pins = await source.pin()
        reader = source.reader(SHARD, pins[SHARD])
        read = await reader.read(10)
        reader.close()

    assert pins == {SHARD: Position(since=NOW - 3), "shardId-9": Position(ended=True)}
    assert isinstance(read, Fetched)
    assert [record.sequence for record in read.records] == ["1"]
    assert server.places == [{"Type": "LATEST"}]


@pytest.mark.parametrize("lifetime", [0.05, kinesis_fanout.LIFETIME])
async def test_a_pin_that_nobody_reads_is_let_go(
    lifetime: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kinesis_fanout, "LIFETIME", lifetime)
    server = Server([pushing(frame(1)), pushing(frame(2))])
    async with source_on(server, Latest()) as source:
        pins = await source.pin()
        if lifetime > 1:
            source.unpin()
        await soon(lambda: server.open == 0)
        reader = source.reader(SHARD, pins[SHARD])
        assert isinstance(await reader.read(10), Fetched)
        reader.close()

    assert server.places == [{"Type": "LATEST"}, {"Type": "AT_TIMESTAMP", "Timestamp": NOW - 3}]


async def test_a_second_pin_replaces_the_first() -> None:
    server = Server([pushing(frame(1)), pushing(frame(2))])
    async with source_on(server, Latest()) as source:
        await source.pin()
        pins = await source.pin()
        await soon(lambda: server.open == 1)
        reader = source.reader(SHARD, pins[SHARD])
        read = await reader.read(10)
        reader.close()

    assert isinstance(read, Fetched)
    assert [record.sequence for record in read.records] == ["2"]


async def test_a_pin_that_cannot_subscribe_is_the_instant_alone() -> None:
    async def refuse(peer: Peer) -> None:
        body = json.dumps({"__type": "ResourceInUseException"}).encode()
        await peer.send(reply(400, body, {}).encode())

    server = Server([refuse, pushing(frame(1))])
    async with source_on(server, Latest()) as source:
        pins = await source.pin()
        reader = source.reader(SHARD, pins[SHARD])
        await reader.read(10)
        reader.close()

    assert server.places == [{"Type": "LATEST"}, {"Type": "AT_TIMESTAMP", "Timestamp": NOW - 3}]


# The consumer itself.


def refused(code: str) -> tuple[int, dict[str, Any]]:
    return 400, {"__type": code, "message": "injected"}


@pytest.mark.parametrize(
    ("consumer", "told"),
    [
        (refused("ResourceNotFoundException"), f"Stream not found: {CONSUMER}"),
        (refused("ValidationException"), f"consumer {CONSUMER}: .*ValidationException: injected"),
        ({"ConsumerDescription": {"ConsumerStatus": "CREATING"}}, "is CREATING, not ACTIVE"),
        ({"ConsumerDescription": {"ConsumerStatus": "DELETING"}}, "is DELETING, not ACTIVE"),
        ({"ConsumerDescription": 1}, "not what Kinesis answers"),
    ],
)
async def test_a_consumer_that_cannot_be_pushed_to_is_missing(consumer: Any, told: str) -> None:
    async with source_on(Server([], consumer)) as source:
        for ask in (source.shards, source.pin):
            with pytest.raises(SourceMissing, match=told):
                await ask()


async def test_a_role_that_may_not_describe_the_consumer_may_still_read_from_it() -> None:
    server = Server([pushing(frame(1))], refused("AccessDeniedException"))
    async with source_on(server) as source:
        assert [listed.id for listed in await source.shards()] == [SHARD, "shardId-9"]
        reader = source.reader(SHARD, None)
        assert isinstance(await reader.read(10), Fetched)
        reader.close()
