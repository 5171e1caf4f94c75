"""Settings together: whatever is combined, nothing is lost, and nothing breaks a rule of its own.

The judges of the simulators check every command; here is only what their settings are drawn from.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from poller.core.policy import QueuePolicy, StreamPolicy
from poller.lab.checks import StreamChecker
from poller.lab.simulator import StreamSimulation
from poller.lab.world import MadeMessage, MadeRecord
from tests.core.queue_lives import SETTINGS, Shape, shapes, simulation
from tests.core.test_queue_limits import modes
from tests.core.test_streams import made, policies, worlds
from tests.core.test_windows import counts, endings

windows = st.sampled_from([None, 1.0, 7.0, 60.0])
stream_worlds = st.builds(
    lambda shape, more: shape | more,
    worlds,
    st.fixed_dictionaries(
        {
            "state": st.sampled_from([8, 40, 10**5]),
            "aggregate": st.integers(1, 8),
            "skew": st.sampled_from([0.0, 5.0]),
            "keep": st.integers(1, 4),
            "takes_bytes": st.sampled_from([None, 130, 1000]),
        }
    ),
)
queue_worlds = st.builds(
    lambda shape, more: shape | more,
    shapes,
    st.fixed_dictionaries(
        {
            "groups": st.sampled_from([0, 3]),
            "capacity": st.sampled_from([None, 1, 3]),
            "keep": st.integers(1, 4),
            "stop_at": st.none() | st.floats(0.0, 60.0),
            "takes": st.sampled_from([None, 1, 4]),
        }
    ),
)
queue_policies = st.builds(
    lambda policy, size, rate, heartbeat: replace(
        policy,
        batch_size=size if rate is None else min(size, max(1, int(rate))),
        messages_per_second=rate,
        heartbeat=heartbeat,
    ),
    modes,
    st.sampled_from([1, 3, 10]),
    st.sampled_from([None, 0.5, 3.0, 100.0]),
    st.booleans(),
)


@settings(SETTINGS, max_examples=600)
@given(policies, stream_worlds, endings, st.data())
def test_a_stream_with_everything_loses_nothing_and_counts_nothing_twice(
    policy: StreamPolicy, shape: Shape, ends: list[tuple[str, float]], data: st.DataObject
) -> None:
    """Filters, aggregates, windows that come and go, lanes that change, crashes and stops."""
    world, keep = made(policy, shape), shape["keep"]
    checker = StreamChecker(policy, world.records)
    resume, now = None, 0.0

    def accept(record: MadeRecord) -> bool:
        return record.index % keep == 0

    for how, gap in [*ends, ("", 0.0)]:
        window = data.draw(windows)
        lanes = 1 if window else data.draw(st.sampled_from([1, policy.lanes]))
        one = replace(policy, tumbling_window=window, lanes=lanes, state_bytes_max=shape["state"])
        world.crash_at = now + gap if how == "crash" else None
        world.stop_at = now + gap if how == "stop" else None
        life = StreamSimulation(one, world, checker, resume, now, accept).run()
        resume, now = life.stored, life.now
        if resume is not None and resume.ended:
            break
    assert resume is not None
    assert resume.ended
    assert checker.ran | set(checker.lost) == set(range(0, len(world.records), keep))
    counted: Counter[int] = counts(checker)
    assert max(counted.values(), default=1) == 1
    assert set(counted) <= checker.ran


@settings(SETTINGS, max_examples=600)
@given(queue_policies, queue_worlds)
def test_a_queue_with_everything_loses_nothing(policy: QueuePolicy, shape: Shape) -> None:
    """Filters, groups, a rate, a heartbeat, a function that refuses, a stop."""
    groups, keep = shape["groups"], shape["keep"]

    def accept(message: MadeMessage) -> bool:
        return message.index % keep == 0

    policy = replace(policy, fifo=bool(groups))
    life = simulation(
        policy,
        shape,
        groups,
        capacity=shape["capacity"],
        takes=shape["takes"],
        accept=accept,
        stop_at=shape["stop_at"],
    )
    life.run()
    if shape["stop_at"] is None:
        assert life.queue.deleted == set(range(shape["count"]))
    ran = {message.index for _, message in life.ran}
    assert ran <= set(range(0, shape["count"], keep))
    assert {index for index in life.queue.deleted if index % keep == 0} <= ran
