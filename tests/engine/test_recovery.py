"""What the engine outlives: faults of the state, stops at odd moments, shards that end early."""

from __future__ import annotations

import asyncio
import logging

import pytest

from poller.core.policy import QueuePolicy
from poller.errors import SourceMissing, StateError
from poller.interfaces import NotReached, Ran
from poller.sources.memory import MemoryStream
from poller.sources.memory_queue import MemoryQueue
from poller.stores.memory import MemoryStore
from tests.engine.worlds import make_world, until

pytestmark = pytest.mark.looptime


class Faulty(MemoryStore):
    """Raises StateError from the methods named in `broken`."""

    def __init__(self) -> None:
        super().__init__()
        self.broken: set[str] = set()

    def _fail(self, name: str) -> None:
        if name in self.broken:
            raise StateError(f"the state is locked ({name})")

    async def positions(self, mapping):
        self._fail("positions")
        return await super().positions(mapping)

    async def pinned(self, uuid):
        self._fail("pinned")
        return await super().pinned(uuid)

    async def pin(self, uuid, pins):
        self._fail("pin")
        await super().pin(uuid, pins)

    async def forget(self, mapping, shards):
        self._fail("forget")
        await super().forget(mapping, shards)


@pytest.mark.parametrize("broken", ["pinned", "pin", "positions", "forget"])
async def test_a_passing_fault_of_the_state_ends_nothing(
    broken: str, caplog: pytest.LogCaptureFixture
):
    store = Faulty()
    world = make_world(store)
    stream = MemoryStream(now=world.shared.clock.now)
    queue = MemoryQueue(now=world.shared.clock.now)
    store.broken = {broken}
    stream.put("k", "k:0")
    queue.send("m")
    stream.split(next(iter(stream.logs)))
    spec = world.stream_spec(stream, latest=broken.startswith("pin"))
    async with world.running(spec, world.queue_spec(queue)):
        await asyncio.sleep(20)
        stream.trim(world.shared.clock.now() + 1)
        await asyncio.sleep(40)
        store.broken = set()
        board = world.shared.board
        await until(lambda: all(status.state == "Enabled" for status in board.mappings()))
        stream.put("k", "k:1")
        await until(lambda: "k:1" in world.function.seen and not queue.waiting)
    assert "Traceback" not in caplog.text
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 0


async def test_a_mapping_that_breaks_begins_anew(caplog: pytest.LogCaptureFixture):
    world = make_world()
    stream = MemoryStream(now=world.shared.clock.now)
    stream.put("k", "k:0")
    shards, faults = stream.shards, iter([None, None, RuntimeError("nobody expected this")])

    async def sometimes():
        if (error := next(faults, None)) is not None:
            raise error
        return await shards()

    stream.shards = sometimes
    async with world.running(world.stream_spec(stream)):
        await until(lambda: bool(world.function.seen))
        await asyncio.sleep(60)
        stream.put("k", "k:1")
        await until(lambda: "k:1" in world.function.seen)
    assert "begins anew: " in caplog.text


async def test_a_mapping_that_is_stopped_after_it_broke_does_not_begin_anew():
    world = make_world()
    stream = MemoryStream(now=world.shared.clock.now)
    stream.put("k", "k:0")
    listing = stream.shards

    async def broken():
        raise RuntimeError("nobody expected this")

    stream.shards = broken
    async with world.running(world.stream_spec(stream)) as supervisor:
        await asyncio.sleep(1)
        stream.shards = listing
        began = asyncio.get_running_loop().time()
        await supervisor.stop()
        assert asyncio.get_running_loop().time() - began < 1.0
    assert world.function.calls == []


async def test_a_queue_that_is_stopped_while_it_is_looked_for_never_polls():
    world = make_world()
    queue = MemoryQueue(now=world.shared.clock.now)
    for number in range(50):
        queue.send(f"m{number}")

    async def slow_check() -> None:
        await asyncio.sleep(10)

    queue.check = slow_check
    async with world.running(world.queue_spec(queue)) as supervisor:
        await asyncio.sleep(9.5)
        await supervisor.stop()
    assert world.function.calls == []


async def test_rereading_and_stopping_at_once_starts_and_strands_nothing():
    world = make_world()
    stream = MemoryStream(now=world.shared.clock.now)
    queue = MemoryQueue(now=world.shared.clock.now)
    stream.put("k", "k:0")
    world.function.duration = 2.0
    async with world.running(world.stream_spec(stream), world.queue_spec(queue)) as supervisor:
        await until(lambda: bool(world.function.calls))
        changed = [world.stream_spec(stream, batch_size=3)]
        rereading = asyncio.create_task(supervisor.apply(changed))
        await asyncio.sleep(0.1)
        stream.put("k", "k:1")
        await supervisor.stop()
        await rereading
        assert all(place.running is None for place in supervisor._places.values())
        await supervisor.apply(changed)
        await asyncio.sleep(5)
    assert world.function.seen == ["k:0"]
    assert world.function.calls[0].ended is not None


async def test_a_new_mapping_does_not_wait_for_one_that_ends_slowly():
    world = make_world()
    stream = MemoryStream(now=world.shared.clock.now)
    queue = MemoryQueue(now=world.shared.clock.now, visibility=900)
    stream.put("k", "k:0")
    queue.send("m")
    world.function.duration = 2.9
    async with world.running(world.stream_spec(stream)) as supervisor:
        await until(lambda: bool(world.function.calls))
        began = world.shared.clock.now()
        await supervisor.apply([world.queue_spec(queue)])
    assert world.function.seen == ["k:0", "m"]
    assert world.function.calls[1].begun - began < 1.0


async def test_a_disabled_mapping_leaves_the_board_with_the_file():
    world = make_world()
    stream = MemoryStream(now=world.shared.clock.now)
    spec = world.stream_spec(stream)
    disabled = type(spec)(
        **{name: getattr(spec, name) for name in spec.__dataclass_fields__} | {"enabled": False}
    )
    async with world.running(disabled) as supervisor:
        assert [status.state for status in world.shared.board.mappings()] == ["Disabled"]
        await supervisor.apply([])
        assert world.shared.board.mappings() == ()


async def test_children_are_found_at_once_also_when_their_parent_ends_during_a_look():
    world = make_world()
    stream = MemoryStream(now=world.shared.clock.now)
    listing = stream.shards

    async def slow():
        found = await listing()
        await asyncio.sleep(3)
        return found

    stream.shards = slow
    async with world.running(world.stream_spec(stream)) as supervisor:
        await asyncio.sleep(5.0)
        stream.split(next(iter(stream.logs)))
        stream.put("k", "k:0")
        began = world.shared.clock.now()
        await until(lambda: supervisor.idle or bool(world.function.seen))
        assert world.function.seen == ["k:0"], "idle with children that nobody reads"
        assert world.shared.clock.now() - began < 12.0


async def test_a_source_that_cannot_be_reached_is_not_caught_up():
    world = make_world()
    stream = MemoryStream(now=world.shared.clock.now)
    async with world.running(world.stream_spec(stream)) as supervisor:
        await until(lambda: supervisor.idle)
        stream.outage = "no connection"
        await asyncio.sleep(100)
        assert not supervisor.idle
        assert world.shared.board.lag()["total"]["seconds"] > 60


async def test_retry_after_nothing_is_still_a_pause():
    world = make_world()
    stream = MemoryStream(now=world.shared.clock.now)
    queue = MemoryQueue(now=world.shared.clock.now, visibility=1000)
    stream.put("k", "k:0")
    queue.send("m")
    world.function.answer = lambda call: NotReached("busy", throttled=True, retry_after=0.0)
    async with world.running(world.stream_spec(stream), world.queue_spec(queue)):
        await asyncio.sleep(30)
    assert len(world.function.calls) < 150


async def test_one_refused_batch_is_the_only_one_until_it_has_run():
    world = make_world()
    queue = MemoryQueue(now=world.shared.clock.now, visibility=1000)
    for number in range(100):
        queue.send(f"m{number}")
    world.function.answer = lambda call: NotReached("busy")
    async with world.running(world.queue_spec(queue, concurrency_start=2, concurrency_max=100)):
        await until(lambda: len(world.function.calls) == 2)
        world.function.duration = 1.0
        await asyncio.sleep(60)
        assert len([one for one in queue.waiting.values() if one.receive_count]) == 20
        world.function.answer = lambda call: Ran(b"")
        await until(lambda: not queue.waiting)


async def test_concurrency_grows_while_a_fast_function_has_more_than_it_can_take():
    world = make_world()
    queue = MemoryQueue(now=world.shared.clock.now, visibility=1000)
    world.function.duration = 0.3
    running = peak = 0

    async def answer(call):
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0.3)
        running -= 1
        return Ran(b"")

    world.function.answer = answer
    async with world.running(world.queue_spec(queue, batch_size=1)):
        for number in range(4000):
            queue.send(f"m{number}")
        await asyncio.sleep(15)
    assert peak > 3 * QueuePolicy().concurrency_start


async def test_a_batch_that_is_refused_while_stopping_is_released():
    world = make_world()
    queue = MemoryQueue(now=world.shared.clock.now, visibility=1000)
    queue.send("m")
    world.function.duration = 1.0
    world.function.answer = lambda call: NotReached("busy")
    async with world.running(world.queue_spec(queue)):
        await until(lambda: bool(world.function.calls))
    (message,) = queue.waiting.values()
    assert message.visible_at <= world.shared.clock.now()


async def test_a_missing_queue_is_said_once(caplog: pytest.LogCaptureFixture):
    world = make_world()
    queue = MemoryQueue(now=world.shared.clock.now)

    async def missing() -> None:
        raise SourceMissing("no such queue")

    queue.check = missing
    async with world.running(world.queue_spec(queue)):
        await asyncio.sleep(100)
    assert len(caplog.records) == 1


async def test_children_that_are_listed_late_are_found_soon_after_a_quiet_time():
    world = make_world()
    stream = MemoryStream(now=world.shared.clock.now)
    listing, hidden_until = stream.shards, 0.0

    async def late():
        hidden = world.shared.clock.now() < hidden_until
        return [shard for shard in await listing() if not (hidden and shard.parents)]

    stream.shards = late
    async with world.running(world.stream_spec(stream)):
        await asyncio.sleep(200)
        hidden_until = world.shared.clock.now() + 5
        stream.split(next(iter(stream.logs)))
        stream.put("k", "k:0")
        began = world.shared.clock.now()
        await until(lambda: bool(world.function.seen))
        assert world.shared.clock.now() - began < 12.0
