"""Streams of events: taken apart as they come, and everything that can be wrong with them."""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poller.aws.client import AwsError
from poller.aws.event_streams import Event, EventStream
from poller.aws.sessions import AwsSession, AwsSettings
from tests.aws.canned import canned, error
from tests.event_frames import event, exception, frame
from tests.transport.peers import END, HEAD, Peer, chunk, serving

EVENTS = [event("initial-response", {}), event("A", {"a": 1}), event("B", {"b": "x" * 3000})]
WHOLE = b"".join(EVENTS)


@asynccontextmanager
async def events_of(*pieces: bytes | None, end: bytes = END) -> AsyncIterator[EventStream]:
    """A stream that comes in these pieces; None: nothing for a while."""

    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD)
        for piece in pieces:
            if piece is None:
                await peer.gone()
            else:
                await peer.send(chunk(piece))
                await asyncio.sleep(0)
        await peer.send(end)

    async with (
        serving(talk) as server,
        AwsSession(AwsSettings(region="us-east-1", endpoint_url=server.origin)) as session,
    ):
        yield await session.json_client("kinesis").events("SubscribeToShard", b"{}")


async def all_of(stream: EventStream) -> list[tuple[str, bytes]]:
    found = []
    while (came := await stream.next(silence_max=5)) is not None:
        found.append((came.kind, came.payload))
    return found


ALL = [("initial-response", b"{}"), ("A", b'{"a": 1}'), ("B", b'{"b": "%b"}' % (b"x" * 3000))]


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.integers(1, len(WHOLE) - 1), max_size=8))
def test_events_come_however_their_bytes_are_cut(cuts: list[int]) -> None:
    places = sorted({0, *cuts, len(WHOLE)})
    pieces = [WHOLE[start:end] for start, end in pairwise(places)]

    async def read() -> list[tuple[str, bytes]]:
        async with events_of(*pieces) as stream:
            return await all_of(stream)

    assert asyncio.run(read()) == ALL


async def test_an_event_that_is_asked_for_in_vain_comes_later() -> None:
    async with events_of(*EVENTS, None) as stream:
        found = []
        while len(found) < 3:
            asking = asyncio.create_task(stream.next(silence_max=5))
            await asyncio.sleep(0)
            asking.cancel()
            try:
                came = await asking
            except asyncio.CancelledError:
                await asyncio.sleep(0.001)
                continue
            assert came is not None
            found.append((came.kind, came.payload))

    assert found == ALL


async def test_an_event_is_fresh_if_nothing_of_it_had_come_when_it_was_asked_for() -> None:
    go_on = asyncio.Event()

    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + chunk(EVENTS[0] + EVENTS[1]))
        await go_on.wait()
        await peer.send(chunk(EVENTS[2]))
        await peer.gone()

    async with (
        serving(talk) as server,
        AwsSession(AwsSettings(region="us-east-1", endpoint_url=server.origin)) as session,
    ):
        stream = await session.json_client("kinesis").events("SubscribeToShard", b"{}")
        await stream.next(silence_max=5)
        second = await stream.next(silence_max=5)
        asking = asyncio.create_task(stream.next(silence_max=5))
        await asyncio.sleep(0)
        go_on.set()
        third = await asking

    assert second == Event("A", b'{"a": 1}', fresh=False)
    assert third is not None
    assert third.fresh


def spoilt(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]


def sealed(total: int, headers: bytes, payload: bytes = b"") -> bytes:
    """A frame whose checksums are right, whatever it says."""
    prelude = struct.pack(">II", total, len(headers))
    head = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return head + struct.pack(">I", zlib.crc32(head))


@pytest.mark.parametrize(
    "data",
    [
        spoilt(EVENTS[1], 3),  # the length
        spoilt(EVENTS[1], 9),  # its checksum
        spoilt(EVENTS[1], 20),  # a header
        spoilt(EVENTS[1], -6 % len(EVENTS[1])),  # the payload
        spoilt(EVENTS[1], len(EVENTS[1]) - 1),  # the checksum of all
        b"HTTP/1.1 200 OK\r\n\r\n{}",
        sealed(19, b"\x01a\x63"),  # a header of no known type
        sealed(20, b"\x01a\x07\x00"),  # that ends within a header
        sealed(21, b"\x02\xff\xff\x00\x00"),  # whose name is no text
        sealed(0, b""),
        sealed(2**31, b""),
    ],
)
async def test_a_frame_that_is_not_sound_ends_the_stream(data: bytes) -> None:
    async with events_of(EVENTS[0], data) as stream:
        assert (await stream.next(silence_max=5)) is not None
        with pytest.raises(AwsError) as garbled:
            await all_of(stream)

    assert garbled.value.code == "Garbled"
    assert "not an event stream" in str(garbled.value)
    assert "\n" not in str(garbled.value)


@pytest.mark.parametrize("end", [END, b""])
async def test_a_stream_that_ends_within_an_event_is_a_lost_connection(end: bytes) -> None:
    async with events_of(EVENTS[0], EVENTS[1][:-1], end=end) as stream:
        with pytest.raises(AwsError) as lost:
            await all_of(stream)

    assert lost.value.code == "ConnectionLost"


async def test_exceptions_that_come_as_events_are_errors_with_their_code() -> None:
    async with events_of(EVENTS[0], exception("ResourceInUseException", "taken\nover")) as stream:
        await stream.next(silence_max=5)
        with pytest.raises(AwsError, match="ResourceInUseException: taken over") as failure:
            await stream.next(silence_max=5)
    assert failure.value.code == "ResourceInUseException"
    assert str(failure.value).startswith("kinesis SubscribeToShard at http://127.0.0.1:")

    headers = {":message-type": "error", ":error-code": "Slow", ":error-message": "too slow"}
    async with events_of(frame(headers, b"")) as stream:
        with pytest.raises(AwsError, match="Slow: too slow"):
            await stream.next(silence_max=5)


async def test_silence_is_an_error() -> None:
    async with events_of(EVENTS[0], None) as stream:
        await stream.next(silence_max=5)
        with pytest.raises(AwsError, match=r"not a byte for 0\.01 s") as silent:
            await stream.next(silence_max=0.01)
    assert silent.value.code == "TimedOut"


async def test_a_refusal_to_begin_is_that_of_any_call() -> None:
    async with (
        canned(lambda call: error("ResourceNotFoundException", "no such consumer")) as server,
        AwsSession(AwsSettings(region="us-east-1", endpoint_url=server.url)) as session,
    ):
        with pytest.raises(AwsError, match="no such consumer") as refusal:
            await session.json_client("kinesis").events("SubscribeToShard", b"{}")

    assert refusal.value.code == "ResourceNotFoundException"
    assert server.operations == ["SubscribeToShard"]
    assert "SignedHeaders" in server.calls[0].headers["authorization"]
