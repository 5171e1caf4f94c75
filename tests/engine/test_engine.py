"""The whole engine over memory adapters, in virtual time."""

from __future__ import annotations

import asyncio
import logging
import random

import pytest

from poller.errors import StateError
from poller.interfaces import Errored, NotReached, Ran, Reply
from poller.sources.memory import MemoryStream
from poller.sources.memory_queue import MemoryQueue
from poller.stores.memory import MemoryStore
from tests.engine.worlds import Call, make_world, until

pytestmark = pytest.mark.looptime


def by_key(bodies: list[str]) -> dict[str, list[int]]:
    """Bodies look like `key:number`."""
    found: dict[str, list[int]] = {}
    for body in bodies:
        key, number = body.split(":")
        found.setdefault(key, []).append(int(number))
    return found


async def test_every_record_arrives_once_and_in_order_through_splits_and_merges():
    world = make_world()
    stream = MemoryStream(now=world.shared.clock.now, shards=2)
    async with world.running(world.stream_spec(stream, batch_size=7, lanes=3)):
        for number in range(600):
            stream.put(f"k{number % 20}", f"k{number % 20}:{number}")
            if number == 200:
                children = stream.split(next(iter(stream.logs)))
            if number == 400:
                stream.merge(*children)
            await asyncio.sleep(0.01)
        await until(lambda: len(world.function.seen) >= 600)
    assert len(world.function.seen) == 600
    assert all(numbers == sorted(numbers) for numbers in by_key(world.function.seen).values())


async def test_a_child_is_not_read_before_its_parents_are_finished():
    world = make_world()
    stream = MemoryStream(now=world.shared.clock.now)
    stream.put("a", "a:1")
    stream.split(next(iter(stream.logs)))
    stream.put("a", "a:2")
    fails = iter([True, True, True])
    world.function.answer = lambda call: Errored("E", "no") if next(fails, False) else Ran(b"")
    async with world.running(world.stream_spec(stream)):
        await until(lambda: "a:2" in world.function.seen)
    assert world.function.seen == ["a:1"] * 4 + ["a:2"]


async def test_a_restart_continues_behind_what_was_settled():
    store = MemoryStore()
    seen: list[str] = []
    clock = make_world().shared.clock
    stream = MemoryStream(now=clock.now)
    for part in range(3):
        world = make_world(store)
        for number in range(10):
            stream.put("k", f"k:{part * 10 + number}")
        async with world.running(world.stream_spec(stream)):
            await until(lambda: len(world.function.seen) >= 10)  # noqa: B023
        seen += world.function.seen
    assert seen == [f"k:{number}" for number in range(30)]


async def test_latest_is_pinned_once_and_a_restart_does_not_skip():
    store = MemoryStore()
    world = make_world(store)
    stream = MemoryStream(now=world.shared.clock.now)
    stream.put("k", "k:0")
    await asyncio.sleep(1)
    spec = world.stream_spec(stream, latest=True)
    async with world.running(spec):
        await until(lambda: world.shared.board.mappings()[0].state == "Enabled")
    await asyncio.sleep(1)
    stream.put("k", "k:1")
    async with world.running(spec):
        await until(lambda: bool(world.function.seen))
    assert world.function.seen == ["k:1"]


async def test_a_missing_stream_is_waited_for_and_said_once(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "poller")
    world = make_world()
    stream = MemoryStream(now=world.shared.clock.now)
    stream.put("k", "k:0")
    stream.outage = "Stream not found: orders"
    async with world.running(world.stream_spec(stream)):
        await asyncio.sleep(200)
        assert world.shared.board.mappings()[0].state == "Creating"
        stream.outage = None
        await until(lambda: bool(world.function.seen))
        assert world.shared.board.mappings()[0].state == "Enabled"
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_an_outage_of_the_source_loses_nothing():
    world = make_world()
    stream = MemoryStream(now=world.shared.clock.now)
    async with world.running(world.stream_spec(stream)):
        for number in range(100):
            stream.outage = "no connection" if 30 < number < 60 else None
            stream.put("k", f"k:{number}")
            await asyncio.sleep(0.3)
        await until(lambda: len(world.function.seen) >= 100)
    assert world.function.seen == [f"k:{number}" for number in range(100)]


async def test_discards_reach_the_destination_with_their_document():
    world = make_world()
    stream = MemoryStream(now=world.shared.clock.now)
    for number in range(4):
        stream.put("k", f"k:{number}")

    def answer(call: Call) -> Reply:
        return Errored("Poison", "no") if "k:2" in call.bodies else Ran(b"")

    world.function.answer = answer
    async with world.running(world.stream_spec(stream, bisect=True, retries_max=1)):
        await until(lambda: bool(world.failures) and "k:3" in world.function.seen)
    (failure,) = world.failures
    assert failure.records == 1
    assert '"approximateInvokeCount":2' in failure.document
    assert '"functionError":"Unhandled"' in failure.document


async def test_throttled_invocations_spend_no_retries():
    world = make_world()
    stream = MemoryStream(now=world.shared.clock.now)
    stream.put("k", "k:0")
    replies = iter([NotReached("busy", throttled=True)] * 7)
    world.function.answer = lambda call: next(replies, Ran(b""))
    async with world.running(world.stream_spec(stream, retries_max=0)):
        await until(lambda: len(world.function.calls) == 8)
    assert not world.failures


async def test_records_too_large_for_the_function_together_go_alone_and_one_too_large_is_sent_off():
    world = make_world()
    stream = MemoryStream(now=world.shared.clock.now)
    for number in range(6):
        stream.put("k", f"k:{number}")

    def answer(call: Call) -> Reply:
        fits = len(call.bodies) == 1 and call.bodies != ["k:2"]
        return Ran(b"") if fits else NotReached("413", too_large=True)

    world.function.answer = answer
    async with world.running(world.stream_spec(stream, retries_max=0)):
        await until(lambda: world.function.seen[-1:] == ["k:5"] and bool(world.failures))
    (failure,) = world.failures
    assert failure.records == 1
    assert '"condition":"RecordTooLarge"' in failure.document
    assert "responseContext" not in failure.document


async def test_stopping_lets_running_invocations_end_and_saves_their_position():
    world = make_world()
    stream = MemoryStream(now=world.shared.clock.now)
    stream.put("k", "k:0")
    world.function.duration = 2.5
    async with world.running(world.stream_spec(stream)):
        await until(lambda: bool(world.function.calls))
    assert world.function.calls[0].ended is not None
    positions = await world.store.positions("uuid-1")
    assert [position.sequence for position in positions.values()] != [None]


async def test_an_invocation_that_outlives_the_grace_period_is_given_up():
    world = make_world()
    stream = MemoryStream(now=world.shared.clock.now)
    stream.put("k", "k:0")
    world.function.duration = 10_000
    began = asyncio.get_running_loop().time()
    async with world.running(world.stream_spec(stream)):
        await until(lambda: bool(world.function.calls))
    assert asyncio.get_running_loop().time() - began < 20
    assert world.function.calls[0].ended is None
    assert not await world.store.positions("uuid-1")


class BrokenStore(MemoryStore):
    """Fails to save for a while."""

    broken = True

    async def save(self, mapping, shard, position):
        if self.broken:
            raise StateError("the disk is full")
        await super().save(mapping, shard, position)


async def test_nothing_goes_on_while_positions_cannot_be_stored():
    store = BrokenStore()
    world = make_world(store)
    stream = MemoryStream(now=world.shared.clock.now)
    for number in range(30):
        stream.put("k", f"k:{number}")
    async with world.running(world.stream_spec(stream, batch_size=10)):
        await asyncio.sleep(60)
        assert len(world.function.calls) == 1
        store.broken = False
        await until(lambda: len(world.function.seen) == 30)
    assert world.function.seen == [f"k:{number}" for number in range(30)]


async def test_a_task_that_breaks_starts_again_from_the_stored_position(
    caplog: pytest.LogCaptureFixture,
):
    world = make_world()
    stream = MemoryStream(now=world.shared.clock.now)
    for number in range(30):
        stream.put("k", f"k:{number}")
    breaks = iter([False, True])

    def answer(call: Call) -> Reply:
        if next(breaks, False):
            raise RuntimeError("nobody expected this")
        return Ran(b"")

    world.function.answer = answer
    async with world.running(world.stream_spec(stream, batch_size=10)):
        await until(lambda: "k:29" in world.function.seen)
    assert [call.bodies[0] for call in world.function.calls] == ["k:0", "k:10", "k:10", "k:20"]
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1


async def test_queue_messages_run_and_are_deleted():
    world = make_world()
    queue = MemoryQueue(now=world.shared.clock.now)
    for number in range(35):
        queue.send(f"m{number}")
    async with world.running(world.queue_spec(queue)):
        await until(lambda: not queue.waiting)
    assert sorted(world.function.seen) == sorted(f"m{number}" for number in range(35))


async def test_a_failed_message_returns_after_its_visibility_timeout():
    world = make_world()
    queue = MemoryQueue(now=world.shared.clock.now, visibility=30.0)
    queue.send("m")
    replies = iter([Errored("E", "no")])
    world.function.answer = lambda call: next(replies, Ran(b""))
    async with world.running(world.queue_spec(queue)):
        await until(lambda: not queue.waiting)
    first, second = world.function.calls
    assert second.begun - first.begun >= 30.0
    assert second.records[0]["attributes"]["ApproximateReceiveCount"] == "2"


async def test_stopping_a_queue_waits_for_the_open_receive_and_strands_no_message():
    world = make_world()
    queue = MemoryQueue(now=world.shared.clock.now, visibility=300.0)
    async with world.running(world.queue_spec(queue)) as supervisor:
        await asyncio.sleep(1)

        async def send_late() -> None:
            await asyncio.sleep(10)
            queue.send("late")

        sending = asyncio.create_task(send_late())
        await supervisor.stop()
        await sending
    (late,) = queue.waiting.values()
    assert late.visible_at <= world.shared.clock.now()
    assert world.function.seen == []


async def test_reconciling_restarts_what_changed_and_leaves_the_rest_alone():
    world = make_world()
    stream = MemoryStream(now=world.shared.clock.now)
    queue = MemoryQueue(now=world.shared.clock.now)
    stream_spec, queue_spec = world.stream_spec(stream), world.queue_spec(queue)
    async with world.running(stream_spec, queue_spec) as supervisor:
        await asyncio.sleep(1)

        def lives():
            return {uuid: place.running for uuid, place in supervisor._places.items()}

        before = lives()
        await supervisor.apply([world.stream_spec(stream, batch_size=3), queue_spec])
        assert lives()["uuid-1"] is not before["uuid-1"]
        assert lives()["uuid-2"] is before["uuid-2"]
        await supervisor.apply([queue_spec])
        assert set(lives()) == {"uuid-2"}
        stream.put("k", "k:0")
        await asyncio.sleep(5)
        assert world.function.seen == []


async def test_idle_means_that_everything_is_settled():
    world = make_world()
    stream = MemoryStream(now=world.shared.clock.now)
    queue = MemoryQueue(now=world.shared.clock.now)
    async with world.running(world.stream_spec(stream), world.queue_spec(queue)) as supervisor:
        await until(lambda: supervisor.idle)
        world.function.duration = 5
        stream.put("k", "k:0")
        await until(lambda: bool(world.function.calls))
        assert not supervisor.idle
        await until(lambda: supervisor.idle)
        assert world.function.calls[0].ended is not None


@pytest.mark.parametrize("seed", range(20))
async def test_random_failures_and_restarts_never_lose_or_reorder(seed: int):
    """The engine's own life: outages, function errors, throttles, reshards and restarts."""
    rng = random.Random(seed)
    store = MemoryStore()
    stream = MemoryStream(now=make_world().shared.clock.now, shards=2)
    done: list[str] = []
    number = 0
    for _ in range(4):
        world = make_world(store)

        def answer(call: Call, world=world) -> Reply:
            chance = rng.random()
            if chance < 0.15:
                return Errored("E", "flaky")
            if chance < 0.25:
                return NotReached("busy")
            done.extend(call.bodies)
            return Ran(b"")

        world.function.answer = answer
        spec = world.stream_spec(stream, batch_size=5, lanes=rng.randint(1, 4), bisect=True)
        async with world.running(spec):
            for _ in range(60):
                stream.put(f"k{number % 9}", f"k{number % 9}:{number}")
                number += 1
                stream.outage = "down" if rng.random() < 0.1 else None
                if rng.random() < 0.02:
                    opened = [name for name, log in stream.logs.items() if not log.shard.closed]
                    stream.split(rng.choice(opened))
                await asyncio.sleep(rng.random())
            stream.outage = None
            await asyncio.sleep(rng.choice([0.0, 30.0]))
    world = make_world(store)
    world.function.answer = lambda call: (done.extend(call.bodies), Ran(b""))[1]
    async with world.running(world.stream_spec(stream)):
        await until(lambda: len(set(done)) == number)
    firsts = list(dict.fromkeys(done))
    assert all(numbers == sorted(numbers) for numbers in by_key(firsts).values())
