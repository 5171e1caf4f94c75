"""Queues under limits, in virtual time: the engine carries out what the machine decides."""

from __future__ import annotations

import pytest

from poller.interfaces import Errored, Ran
from poller.sources.memory_queue import MemoryQueue
from tests.engine.worlds import make_world, until

pytestmark = pytest.mark.looptime


@pytest.mark.proves("R1.6.concurrency", "ScalingConfig")
async def test_thirty_messages_in_batches_of_twenty_are_two_invocations() -> None:
    """As recorded: window 1 and MaximumConcurrency 2."""
    world = make_world()
    queue = MemoryQueue(now=world.shared.clock.now)
    for number in range(30):
        queue.send(f"m{number}")
    policy = {"concurrency_start": 2, "concurrency_max": 2}
    async with world.running(world.queue_spec(queue, batch_size=20, batch_window=1.0, **policy)):
        await until(lambda: not queue.waiting)
    assert [len(call.bodies) for call in world.function.calls] == [20, 10]


@pytest.mark.proves("poller.VisibilityHeartbeat")
async def test_a_heartbeat_hides_messages_for_as_long_as_the_function_takes() -> None:
    world = make_world()
    queue = MemoryQueue(now=world.shared.clock.now, visibility=10.0)
    for number in range(12):
        queue.send(f"m{number}")
    world.function.duration = 600.0
    async with world.running(world.queue_spec(queue, heartbeat=True, run_time_max=900.0)):
        await until(lambda: not queue.waiting, seconds=3000.0)
    assert sorted(world.function.seen) == sorted(f"m{number}" for number in range(12))


@pytest.mark.proves("poller.VisibilityHeartbeat")
async def test_a_failed_batch_with_a_heartbeat_comes_again_within_the_queues_timeout() -> None:
    world = make_world()
    queue = MemoryQueue(now=world.shared.clock.now, visibility=10.0)
    queue.send("m")
    world.function.duration = 55.0
    first_only = iter([Errored("Exception", "no")])
    world.function.answer = lambda call: next(first_only, Ran(b""))
    async with world.running(world.queue_spec(queue, heartbeat=True, run_time_max=900.0)):
        await until(lambda: not queue.waiting)
    first, second = world.function.calls
    assert first.ended is not None
    assert 0 <= second.begun - first.ended <= 11.0


@pytest.mark.proves("poller.MessagesPerSecond")
async def test_no_second_hands_a_function_more_messages_than_the_rate() -> None:
    world = make_world()
    queue = MemoryQueue(now=world.shared.clock.now)
    for number in range(200):
        queue.send(f"m{number}")
    async with world.running(world.queue_spec(queue, messages_per_second=20.0)):
        await until(lambda: not queue.waiting)
    calls = world.function.calls
    for call in calls:
        second = [each for each in calls if call.begun <= each.begun < call.begun + 1.0 - 1e-6]
        assert sum(len(each.bodies) for each in second) <= 20
    assert calls[-1].begun - calls[0].begun == pytest.approx(9.5, abs=0.5)
