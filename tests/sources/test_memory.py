"""The stream and the queue in memory keep the promises that the real sources make."""

from __future__ import annotations

import asyncio
import json
from itertools import chain

import pytest

from poller.core.model import EVERYTHING, Position
from poller.core.shards import Shard
from poller.core.steps import Deleted, Fetched, FetchFailed, Received, ReceiveFailed
from poller.errors import SourceMissing
from poller.interfaces import ShardReader
from poller.sources.memory import MemoryStream
from poller.sources.memory_queue import MemoryQueue


class Clock:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


def loop_time() -> float:
    return asyncio.get_running_loop().time()


async def read(reader: ShardReader, limit: int = 1000) -> list[str]:
    fetched = await reader.read(limit)
    assert isinstance(fetched, Fetched), fetched
    assert fetched.size == sum(record.size for record in fetched.records)
    return [record.sequence for record in fetched.records]


async def receive(queue: MemoryQueue, limit: int = 10) -> Received:
    received = await queue.receive(limit)
    assert isinstance(received, Received), received
    return received


def bodies(queue: MemoryQueue, received: Received) -> list[str]:
    return [record["body"] for record in json.loads(queue.event(received.messages))["Records"]]


async def test_a_key_stays_in_its_shard_and_is_read_in_order(clock: Clock) -> None:
    stream = MemoryStream(now=clock, shards=3)
    put = [stream.put(f"k{number % 20}").sequence for number in range(100)]
    by_shard = [await read(stream.reader(shard.id, None)) for shard in await stream.shards()]

    assert sorted(chain(*by_shard), key=int) == put
    assert all(sequences == sorted(sequences, key=int) for sequences in by_shard)
    assert all(len(sequences) > 0 for sequences in by_shard)


async def test_reading_tells_how_far_it_has_come(clock: Clock) -> None:
    stream = MemoryStream(now=clock)
    [shard] = await stream.shards()
    first = stream.put("a").sequence
    clock.time += 5
    second = stream.put("a").sequence
    clock.time += 5
    reader = stream.reader(shard.id, None)

    seen = [await reader.read(1) for _ in range(3)]

    assert [
        ([record.sequence for record in s.records], s.asked_at, s.read_up_to)
        for s in seen
        if isinstance(s, Fetched)
    ] == [([first], 1010.0, 1005.0), ([second], 1010.0, 1010.0), ([], 1010.0, 1010.0)]
    assert await read(stream.reader(shard.id, Position(first))) == [second]


async def test_a_split_shard_ends_and_its_children_take_over(clock: Clock) -> None:
    stream = MemoryStream(now=clock)
    [parent] = await stream.shards()
    old = [stream.put(f"k{number}").sequence for number in range(10)]
    children = stream.split(parent.id)
    new = [stream.put(f"k{number}").sequence for number in range(10)]

    last = await stream.reader(parent.id, None).read(1000)
    assert isinstance(last, Fetched)
    assert [record.sequence for record in last.records] == old
    assert (last.shard_ended, last.read_up_to) == (True, EVERYTHING)
    found = [await read(stream.reader(child, None)) for child in children]
    assert sorted(chain(*found), key=int) == new
    merged = stream.merge(*children)
    assert await stream.shards() == [
        Shard(parent.id, closed=True),
        Shard(children[0], (parent.id,), closed=True),
        Shard(children[1], (parent.id,), closed=True),
        Shard(merged, children),
    ]


async def test_a_pin_sees_what_comes_later_by_its_iterator_or_by_its_instant(clock: Clock) -> None:
    stream = MemoryStream(now=clock)
    [parent] = await stream.shards()
    stream.put("a")
    tip, other = stream.split(parent.id)
    key = next(k for k in map(str, range(99)) if stream.put(k) in stream.logs[tip].records)
    clock.time += 1
    same_instant = stream.put(key).sequence

    pins = await stream.pin()
    later = stream.put(key).sequence

    tips = Position(since=clock.time)
    assert pins == {parent.id: Position(ended=True), tip: tips, other: tips}
    assert await read(stream.reader(tip, pins[tip])) == [later]
    clock.time += 1
    await stream.pin()  # another iterator replaces the first
    assert await read(stream.reader(tip, pins[tip])) == [same_instant, later]


async def test_trimming_loses_records_and_then_shards(clock: Clock) -> None:
    stream = MemoryStream(now=clock)
    [parent] = await stream.shards()
    stream.put("a")
    clock.time += 1
    kept = stream.put("a").sequence
    reader = stream.reader(parent.id, None)
    stream.trim(clock.time)
    assert await read(reader) == [kept]

    children = stream.split(parent.id)
    stream.trim(clock.time + 1)

    assert [shard.id for shard in await stream.shards()] == list(children)
    ended = await stream.reader(parent.id, None).read(1)
    assert isinstance(ended, Fetched)
    assert ended.shard_ended


async def test_an_outage_is_a_value_where_values_are_promised(clock: Clock) -> None:
    stream, queue = MemoryStream(now=clock), MemoryQueue(now=clock)
    [shard] = await stream.shards()
    queue.send("x")
    received = await receive(queue)
    stream.outage = queue.outage = "gone"

    assert await stream.reader(shard.id, None).read(1) == FetchFailed("gone")
    with pytest.raises(SourceMissing, match="gone"):
        await stream.pin()
    assert await queue.receive(1) == ReceiveFailed("gone", 1)
    assert await queue.delete(received.messages) == Deleted(0, 1)
    assert await queue.backlog() is None
    with pytest.raises(SourceMissing, match="gone"):
        await queue.check()


async def test_a_message_is_hidden_until_it_is_deleted_or_its_time_is_over(clock: Clock) -> None:
    queue = MemoryQueue(now=clock, visibility=30)
    name = queue.send("x")
    first = await receive(queue)
    assert (first.expires_at, first.limit, await queue.backlog()) == (1030.0, 10, 0)
    clock.time += 30
    second = await receive(queue)

    assert [m.id for m in second.messages] == [m.id for m in first.messages] == [name]
    [record] = json.loads(queue.event(second.messages))["Records"]
    assert record["attributes"]["ApproximateReceiveCount"] == "2"
    assert await queue.delete(first.messages) == Deleted(1)  # an old receipt deletes nothing
    assert list(queue.waiting) == [name]
    assert await queue.delete(second.messages) == Deleted(1)
    assert not queue.waiting


async def test_released_messages_are_visible_at_once(clock: Clock) -> None:
    queue = MemoryQueue(now=clock)
    queue.send("x")
    await queue.release((await receive(queue)).messages)

    assert bodies(queue, await receive(queue)) == ["x"]


async def test_a_group_with_a_hidden_message_is_hidden_as_a_whole(clock: Clock) -> None:
    queue = MemoryQueue(now=clock, visibility=30)
    for body, group in [("a0", "a"), ("a1", "a"), ("b0", "b"), ("a2", "a")]:
        queue.send(body, group=group)
    first = await receive(queue, 2)
    assert bodies(queue, first) == ["a0", "a1"]
    assert bodies(queue, await receive(queue)) == ["b0"]

    assert await queue.delete(first.messages[:1]) == Deleted(1)
    assert await queue.backlog() == 0
    clock.time += 30

    assert await queue.delete(first.messages[1:]) == Deleted(0, 1)  # FIFO refuses what expired
    assert bodies(queue, await receive(queue)) == ["a1", "b0", "a2"]


@pytest.mark.looptime
async def test_a_long_poll_ends_with_a_message_or_after_twenty_seconds() -> None:
    queue = MemoryQueue(now=loop_time, visibility=7)
    began_at = loop_time()
    asyncio.get_running_loop().call_later(3, queue.send, "x")

    assert bodies(queue, await receive(queue)) == ["x"]
    assert loop_time() - began_at == pytest.approx(3)
    again = await receive(queue)  # waits until the message is visible again
    assert loop_time() - began_at == pytest.approx(10)
    await queue.delete(again.messages)
    assert (await receive(queue)).messages == []
    assert loop_time() - began_at == pytest.approx(30)
