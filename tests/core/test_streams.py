"""Whole stream machines in virtual time, judged by the lab's checker."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poller.core.model import (
    Batch,
    DiscardReason,
    Failed,
    Outcome,
    PartlyFailed,
    Refused,
    Succeeded,
)
from poller.core.policy import StreamPolicy
from poller.core.routing import lane_of
from poller.core.steps import Fetch, Invoke, Stopping
from poller.lab.checks import StreamChecker
from poller.lab.simulator import Life, StreamSimulation
from poller.lab.world import MadeRecord, StreamWorld, make_records

SETTINGS = settings(deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)

policies = st.builds(
    StreamPolicy,
    batch_size=st.integers(1, 20),
    batch_bytes_max=st.sampled_from([150, 1000, 10**6]),
    batch_window=st.sampled_from([0.0, 1.0, 30.0]),
    lanes=st.integers(1, 4),
    retries_max=st.sampled_from([0, 1, 3, None]),
    record_age_max=st.sampled_from([None, 5.0, 60.0]),
    bisect=st.booleans(),
    fetch_max=st.sampled_from([3, 10, 1000]),
    unsettled_bytes_max=st.sampled_from([500, 5000, 10**7]),
    backoff_max=st.just(5.0),
)
worlds = st.fixed_dictionaries(
    {
        "count": st.integers(0, 80),
        "keys": st.integers(1, 12),
        "poison": st.sampled_from([0, 3, 11]),
        "flaky": st.sampled_from([0.0, 0.2, 0.6]),
        "report": st.booleans(),
        "rate": st.sampled_from([1.0, 50.0]),
        "sizes": st.sampled_from([(100,), (60, 140), (10, 400)]),
        "keyless": st.sampled_from([0.0, 0.3]),
        "read_failures": st.sampled_from([0.0, 0.3]),
        "seed": st.integers(0, 2**20),
    }
)


def behaviour(poison: int, flaky: float, report: bool) -> Callable[..., Outcome]:
    """A function that fails on every `poison`th record, and at random besides."""

    def outcome(batch: Batch, rng: random.Random) -> Outcome:
        bad = [i for i, r in enumerate(batch.records) if poison and r.index % poison == 0]
        chance = rng.random()
        if chance < flaky / 3:
            return Refused("busy", rng.choice([None, 3.0]))
        if chance < flaky * 2 / 3:
            return Failed("flaky")
        if chance < flaky:
            return Failed("bad response", bisectable=False)
        if bad and report and rng.random() < 0.7:
            return PartlyFailed(frozenset(bad))
        return Failed("poison") if bad else Succeeded()

    return outcome


def made(policy: StreamPolicy, shape: dict, **faults: float | None) -> StreamWorld:
    rng = random.Random(shape["seed"])
    endless = policy.retries_max is None and policy.record_age_max is None
    records = make_records(
        shape["count"],
        keys=shape["keys"],
        random=rng,
        rate=shape["rate"],
        sizes=shape["sizes"],
        keyless=shape["keyless"],
        aggregate=shape.get("aggregate", 1),
        skew=shape.get("skew", 0.0),
    )
    # Without a limit a poison record is tried for ever, as on AWS.
    outcome = behaviour(0 if endless else shape["poison"], shape["flaky"], shape["report"])
    return StreamWorld(
        records,
        outcome,
        rng,
        read_failures=shape["read_failures"],
        takes_bytes=shape.get("takes_bytes"),
        **faults,
    )


def live(policy: StreamPolicy, world: StreamWorld) -> tuple[Life, StreamChecker]:
    checker = StreamChecker(policy, world.records)
    return StreamSimulation(policy, world, checker).run(), checker


@settings(SETTINGS, max_examples=600)
@given(policies, worlds)
def test_every_record_is_run_or_given_up_once_and_in_order(policy: StreamPolicy, shape: dict):
    world = made(policy, shape)
    life, checker = live(policy, world)
    everything = {record.index for record in world.records}
    assert life.finished
    assert checker.settled == everything
    assert checker.ran | set(checker.lost) == everything
    assert not checker.ran & set(checker.lost)


@settings(SETTINGS, max_examples=300)
@given(policies, worlds)
def test_no_record_reaches_the_function_more_often_than_its_quota(
    policy: StreamPolicy, shape: dict
):
    world = made(policy, {**shape, "report": False})
    _, checker = live(policy, world)
    if policy.retries_max is not None:
        splits = math.ceil(math.log2(policy.batch_size)) if policy.bisect else 0
        # Responses that condemn a batch are not split, so each size may spend the whole quota.
        tries = (policy.retries_max + 1) * (splits + 1)
        assert max(checker.reached.values(), default=0) <= tries


@settings(SETTINGS, max_examples=300)
@given(policies, worlds, st.sampled_from([99, 150, 399, 800]))
def test_what_is_too_large_for_the_function_is_split_and_only_what_is_so_alone_is_given_up(
    policy: StreamPolicy, shape: dict, takes: int
):
    policy = replace(policy, retries_max=None, record_age_max=None, batch_bytes_max=10**6)
    world = made(policy, {**shape, "takes_bytes": takes})
    life, checker = live(policy, world)
    alone = {record.index for record in world.records if record.size > takes}
    assert life.finished
    assert checker.lost == dict.fromkeys(alone, DiscardReason.RECORD_TOO_LARGE)
    assert checker.ran == {record.index for record in world.records} - alone


@settings(SETTINGS, max_examples=300)
@given(policies, worlds, st.lists(st.floats(0.1, 5.0), min_size=1, max_size=6), st.data())
def test_a_crash_repeats_work_but_never_skips_it(
    policy: StreamPolicy, shape: dict, gaps: list[float], data: st.DataObject
):
    world = made(policy, shape)
    checker = StreamChecker(policy, world.records)
    resume, now = None, 0.0
    for gap in [*gaps, None]:
        lanes = data.draw(st.sampled_from([policy.lanes, policy.lanes, 1, 3]))
        world.crash_at = None if gap is None else now + gap
        life = StreamSimulation(_with(policy, lanes), world, checker, resume, now).run()
        resume, now = life.stored, life.now
        if life.finished:
            break
    assert life.finished
    assert checker.ran | set(checker.lost) == {record.index for record in world.records}


def _with(policy: StreamPolicy, lanes: int) -> StreamPolicy:
    return StreamPolicy(
        **{name: getattr(policy, name) for name in policy.__slots__ if name != "lanes"},
        lanes=lanes,
    )


@settings(SETTINGS, max_examples=300)
@given(policies, worlds, st.floats(0.0, 20.0))
def test_stopping_starts_nothing_new_and_saves_what_is_settled(
    policy: StreamPolicy, shape: dict, stop_at: float
):
    world = made(policy, shape, stop_at=stop_at)
    life, checker = live(policy, world)
    assert life.finished
    assert not checker.busy
    facts = [fact for _, fact, _ in life.trace]
    stopped = next((i for i, fact in enumerate(facts) if isinstance(fact, Stopping)), len(facts))
    later = [command for _, _, commands in life.trace[stopped:] for command in commands]
    assert not [command for command in later if isinstance(command, Invoke | Fetch)]
    assert checker.covered(checker.stored) == checker.settled


@settings(SETTINGS, max_examples=200)
@given(policies, worlds, st.integers(2, 4))
def test_a_filtered_record_never_runs_and_never_holds_up_the_shard(
    policy: StreamPolicy, shape: dict, keep: int
):
    world = made(policy, shape)
    checker = StreamChecker(policy, world.records)

    def accept(record: MadeRecord) -> bool:
        return record.index % keep == 0

    life = StreamSimulation(policy, world, checker, accept=accept).run()
    assert life.finished
    assert checker.ran | set(checker.lost) == set(range(0, len(world.records), keep))


@pytest.mark.proves("S6.3.bisect")
@settings(SETTINGS, max_examples=200)
@given(policies, worlds)
def test_bisect_gives_up_the_poison_alone(policy: StreamPolicy, shape: dict):
    policy = StreamPolicy(
        batch_size=policy.batch_size, lanes=policy.lanes, retries_max=2, bisect=True
    )
    world = made(policy, {**shape, "poison": 11, "flaky": 0.0, "report": False})
    _, checker = live(policy, world)
    assert set(checker.lost) == {record.index for record in world.records[::11]}


@settings(SETTINGS, max_examples=100)
@given(policies, worlds)
def test_the_same_seed_gives_the_same_life(policy: StreamPolicy, shape: dict):
    first, _ = live(policy, made(policy, shape))
    second, _ = live(policy, made(policy, shape))
    assert first.trace == second.trace


@pytest.mark.proves("S5.lanes")
def test_other_lanes_run_ahead_while_one_is_stuck():
    policy = StreamPolicy(batch_size=10, lanes=4)
    rng = random.Random(5)
    records = make_records(9_000, keys=40, random=rng, rate=1e6)

    def outcome(batch: Batch, rng: random.Random) -> Outcome:
        return Failed("stuck") if batch.lane == 2 else Succeeded()

    world = StreamWorld(records, outcome, rng, stop_at=3000.0, run_latency=(0.01, 0.02))
    _, checker = live(policy, world)
    assert checker.ran == {record.index for record in records if lane_of(record, 4) != 2}


@pytest.mark.proves("S5.bound")
def test_a_stuck_lane_bounds_what_is_read():
    policy = StreamPolicy(batch_size=100, lanes=2)
    rng = random.Random(5)
    records = make_records(15_000, keys=40, random=rng, rate=1e6)

    def outcome(batch: Batch, rng: random.Random) -> Outcome:
        return Failed("stuck") if batch.lane == 1 else Succeeded()

    world = StreamWorld(records, outcome, rng, stop_at=500.0, run_latency=(0.01, 0.02))
    _, checker = live(policy, world)
    first_stuck = next(record.index for record in records if lane_of(record, 2) == 1)
    ahead = records[: first_stuck + policy.unsettled_max]
    assert checker.ran == {record.index for record in ahead if lane_of(record, 2) == 0}


def test_a_full_memory_does_not_wait_for_the_batching_window():
    policy = StreamPolicy(batch_size=1000, batch_window=300.0, fetch_max=3, unsettled_bytes_max=500)
    rng = random.Random(5)
    records = make_records(100, keys=3, random=rng, rate=1e6)
    world = StreamWorld(records, lambda batch, rng: Succeeded(), rng)
    life, checker = live(policy, world)
    assert len(checker.ran) == 100
    assert life.now < 300.0


def test_a_record_whose_event_cannot_fit_goes_alone_to_the_destination():
    policy = StreamPolicy(batch_bytes_max=1000)
    records = [
        MadeRecord(str(100 + index), "k", 0.0, 2000 if index == 2 else 10, index)
        for index in range(5)
    ]
    world = StreamWorld(records, lambda batch, rng: Succeeded(), random.Random(1))
    _, checker = live(policy, world)
    assert checker.lost == {2: DiscardReason.RECORD_TOO_LARGE}
    assert checker.ran == {0, 1, 3, 4}


def test_reading_goes_on_at_once_while_records_keep_coming():
    policy = StreamPolicy(batch_size=10, fetch_max=10, poll_interval=100.0)
    rng = random.Random(3)
    records = make_records(500, keys=3, random=rng, rate=1e6)
    world = StreamWorld(records, lambda batch, rng: Succeeded(), rng, run_latency=(0.01, 0.02))
    life, checker = live(policy, world)
    assert len(checker.ran) == 500
    assert life.now < 50 * (0.2 + 0.02 + 0.2) + 100.0
