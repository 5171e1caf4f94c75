"""Filters in the whole engine: what they reject is settled and counted; no record is lost."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

import pytest

from poller.interfaces import Errored, Ran
from poller.observe.tally import Tally
from poller.sources.memory import MemoryStream
from poller.sources.memory_queue import MemoryQueue
from tests.engine.worlds import World, make_world, until

pytestmark = pytest.mark.looptime


def counted(world: World) -> tuple[World, Tally]:
    tally = Tally()
    return replace(world, shared=replace(world.shared, observers=(tally,))), tally


def only(wanted: str) -> Any:
    """Makes a predicate from what is in a record's event."""
    return lambda event: lambda record: wanted.encode() in event(record)


async def test_filtered_records_never_reach_the_function_and_are_counted():
    world, tally = counted(make_world())
    stream = MemoryStream(now=world.shared.clock.now)
    for number in range(30):
        stream.put("k", f"{'keep' if number % 3 == 0 else 'drop'}:{number}")
    spec = replace(world.stream_spec(stream, batch_size=4), make_accept=only("keep"))
    async with world.running(spec):
        await until(lambda: len(world.function.seen) >= 10)
    assert world.function.seen == [f"keep:{number}" for number in range(0, 30, 3)]
    counts = tally.of_mapping("uuid-1")
    assert (counts.polled, counts.filtered, counts.succeeded) == (30, 20, 10)


@pytest.mark.parametrize("lanes", [1, 3])
async def test_records_that_are_all_filtered_move_the_checkpoint(lanes: int):
    world = make_world()
    stream = MemoryStream(now=world.shared.clock.now)
    last = [stream.put(f"k{number}", "drop") for number in range(10)][-1]
    spec = replace(world.stream_spec(stream, lanes=lanes), make_accept=only("keep"))
    async with world.running(spec):
        await asyncio.sleep(5)
        (position,) = (await world.store.positions("uuid-1")).values()
        assert position.sequence == last.sequence
    assert world.function.calls == []


async def test_a_failing_record_holds_the_checkpoint_before_filtered_ones():
    world = make_world()
    stream = MemoryStream(now=world.shared.clock.now)
    first = stream.put("k", "drop")
    stream.put("k", "keep")
    last = stream.put("k", "drop")
    fails = iter([True] * 3)
    world.function.answer = lambda call: Errored("E", "no") if next(fails, False) else Ran(b"")
    spec = replace(world.stream_spec(stream), make_accept=only("keep"))
    async with world.running(spec):
        await until(lambda: len(world.function.calls) == 2)
        (position,) = (await world.store.positions("uuid-1")).values()
        assert position.sequence == first.sequence
        await until(lambda: len(world.function.calls) == 4)
        await asyncio.sleep(1)
        (position,) = (await world.store.positions("uuid-1")).values()
        assert position.sequence == last.sequence


async def test_filtered_messages_are_deleted_and_never_reach_the_function():
    world, tally = counted(make_world())
    queue = MemoryQueue(now=world.shared.clock.now)
    for number in range(9):
        queue.send(f"{'keep' if number % 3 == 0 else 'drop'}:{number}")
    spec = replace(world.queue_spec(queue), make_accept=only("keep"))
    async with world.running(spec):
        await until(lambda: tally.of_mapping("uuid-2").deleted == 9)
    assert sorted(world.function.seen) == ["keep:0", "keep:3", "keep:6"]
    assert tally.of_mapping("uuid-2").filtered == 6


async def test_a_predicate_that_breaks_lets_the_record_through_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
):
    world = make_world()
    stream = MemoryStream(now=world.shared.clock.now)
    for number in range(5):
        stream.put("k", f"k:{number}")

    def broken(_: Any) -> bool:
        raise RuntimeError("cannot judge")

    spec = replace(world.stream_spec(stream), make_accept=lambda _: broken)
    with caplog.at_level(logging.ERROR):
        async with world.running(spec):
            await until(lambda: len(world.function.seen) >= 5)
    assert world.function.seen == [f"k:{number}" for number in range(5)]
    assert [record.message for record in caplog.records] == [
        "a filter broke on shard-000001, and lets through what it cannot judge: cannot judge"
    ]
