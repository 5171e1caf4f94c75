"""Records that came out of aggregates share sequence numbers; none of them is ever skipped."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poller.core.model import Begun, LaneMarks, Position, Succeeded
from poller.core.policy import StreamPolicy
from poller.core.steps import Checkpoint, Checkpointed, Fetched, Invoke, Invoked, Started
from poller.core.streams import StreamMachine
from poller.lab.checks import StreamChecker
from poller.lab.simulator import StreamSimulation
from poller.lab.world import MadeRecord, StreamWorld, make_records
from tests.core.test_streams import behaviour

SETTINGS = settings(deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)

policies = st.builds(
    StreamPolicy,
    batch_size=st.integers(1, 12),
    batch_bytes_max=st.sampled_from([250, 10**6]),
    lanes=st.integers(1, 4),
    retries_max=st.sampled_from([0, 2]),
    record_age_max=st.sampled_from([None, 5.0]),
    bisect=st.booleans(),
    fetch_max=st.sampled_from([3, 1000]),
    backoff_max=st.just(5.0),
)
worlds = st.fixed_dictionaries(
    {
        "count": st.integers(0, 60),
        "aggregate": st.integers(2, 20),
        "poison": st.sampled_from([0, 3, 11]),
        "flaky": st.sampled_from([0.0, 0.4]),
        "report": st.booleans(),
        "keyless": st.sampled_from([0.0, 0.3]),
        "seed": st.integers(0, 2**20),
    }
)


def made(shape: dict) -> StreamWorld:
    rng = random.Random(shape["seed"])
    records = make_records(
        shape["count"],
        keys=5,
        random=rng,
        keyless=shape["keyless"],
        aggregate=shape["aggregate"],
    )
    return StreamWorld(records, behaviour(shape["poison"], shape["flaky"], shape["report"]), rng)


@settings(SETTINGS, max_examples=300)
@given(policies, worlds)
def test_every_record_of_an_aggregate_is_run_or_given_up_once(
    policy: StreamPolicy, shape: dict
) -> None:
    world = made(shape)
    checker = StreamChecker(policy, world.records)
    assert StreamSimulation(policy, world, checker).run().finished
    assert checker.ran | set(checker.lost) == {record.index for record in world.records}
    assert not checker.ran & set(checker.lost)


@settings(SETTINGS, max_examples=400)
@given(policies, worlds, st.lists(st.floats(0.1, 5.0), min_size=1, max_size=6), st.data())
def test_a_crash_within_an_aggregate_skips_none_of_its_records(
    policy: StreamPolicy, shape: dict, gaps: list[float], data: st.DataObject
) -> None:
    world = made(shape)
    checker = StreamChecker(policy, world.records)
    resume, now = None, 0.0
    for gap in [*gaps, None]:
        lanes = data.draw(st.sampled_from([policy.lanes, policy.lanes, 1, 3]))
        world.crash_at = None if gap is None else now + gap
        life = StreamSimulation(replace(policy, lanes=lanes), world, checker, resume, now).run()
        resume, now = life.stored, life.now
        if life.finished:
            break
    assert life.finished
    assert checker.ran | set(checker.lost) == {record.index for record in world.records}


@settings(SETTINGS, max_examples=200)
@given(policies, worlds, st.floats(0.0, 5.0))
def test_with_one_lane_a_stop_within_an_aggregate_repeats_none_of_its_records(
    policy: StreamPolicy, shape: dict, stop_at: float
) -> None:
    world, policy = made(shape), replace(policy, lanes=1)
    world.stop_at = stop_at
    checker = StreamChecker(policy, world.records)
    assert StreamSimulation(policy, world, checker).run().finished
    assert checker.covered(checker.stored) == checker.settled


# What is stored.

PAIRS = StreamPolicy(batch_size=2)


def records(*sequences: str, keys: str = "k") -> list[MadeRecord]:
    return [
        MadeRecord(sequence, keys[index % len(keys)], 0.0, 10, index)
        for index, sequence in enumerate(sequences)
    ]


def stored(policy: StreamPolicy, found: list[MadeRecord], resume: Position) -> list[Position]:
    """The checkpoints of a run in which everything succeeds at once."""
    machine = StreamMachine(policy, resume=resume)
    fetched = Fetched(found, 10 * len(found), 0.0, 0.0)
    commands, positions = [*machine.handle(Started(), 0.0)], []
    commands = machine.handle(fetched, 0.0)
    while commands:
        match commands.pop(0):
            case Checkpoint(position):
                positions.append(position)
                commands += machine.handle(Checkpointed(), 0.0)
            case Invoke(batch):
                commands += machine.handle(Invoked(batch.id, Succeeded()), 0.0)
            case _:
                pass
    return positions


def test_a_sequence_number_counts_once_all_its_records_are_settled() -> None:
    found = records("5", "7", "7", "7", "7", "9")

    assert stored(PAIRS, found, Position("3")) == [
        Position("5", begun=Begun("7", 1)),
        Position("5", begun=Begun("7", 3)),
        Position("9"),
    ]


def test_a_run_goes_on_within_the_aggregate_where_the_run_before_stopped() -> None:
    found = records("7", "7", "7", "7", "9")

    assert stored(PAIRS, found, Position("5", begun=Begun("7", 3))) == [Position("9")]


def test_what_is_begun_means_nothing_once_the_stream_has_lost_that_aggregate() -> None:
    assert stored(PAIRS, records("9", "9", "9"), Position("5", begun=Begun("7", 1))) == [
        Position("5", begun=Begun("9", 2)),
        Position("9"),
    ]


def test_the_mark_of_a_lane_never_names_an_aggregate_of_which_records_are_left() -> None:
    policy = StreamPolicy(batch_size=1, lanes=2)
    found = records("7", "7", "7", "7", "7", keys="dad")  # in lanes 0, 1, 0, 0, 1

    assert stored(policy, found, Position("5")) == [
        Position("5", begun=Begun("7", 1)),
        Position("5", begun=Begun("7", 2)),
        Position("5", begun=Begun("7", 3)),
        Position("5", ahead=(LaneMarks(2, (None, "7")),), begun=Begun("7", 3)),
        Position("7"),
    ]
