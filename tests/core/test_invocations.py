"""Asynchronous invocations: every accepted event ends once, as the rules say, whatever happens."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poller.core.event_steps import (
    EventInvoked,
    EventResult,
    EventsLoaded,
    PolicyChanged,
    QueuedEvent,
    RemoveEvent,
)
from poller.core.invocations import DELIVERIES_MAX, EventMachine
from poller.core.model import Failed, Refused, Succeeded
from poller.core.policy import EventPolicy
from poller.core.steps import Started, Ticked
from tests.core.event_lives import Behaviour, EventWorld, Outcome, check_results, check_waits

SETTINGS = settings(
    deadline=None,
    max_examples=120,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)

policies = st.builds(
    EventPolicy,
    retries_max=st.integers(0, 2),
    age_max=st.sampled_from([60.0, 90.0, 400.0, 21_600.0]),
    concurrency_max=st.sampled_from([1, 3, 100]),
    tells_success=st.booleans(),
    tells_failure=st.booleans(),
)
shapes = st.fixed_dictionaries(
    {
        "count": st.integers(0, 30),
        "over": st.sampled_from([0.0, 5.0, 300.0]),
        "fails": st.sampled_from([0.0, 0.3, 1.0]),
        "refuses": st.sampled_from([0.0, 0.3, 0.9]),
        "takes": st.sampled_from([0.0, 0.5, 30.0]),
        "seed": st.integers(0, 2**20),
    }
)


def behaviour(fails: float, refuses: float) -> Behaviour:
    def outcome(event: QueuedEvent, rng: random.Random) -> Outcome:
        if rng.random() < refuses:
            return Refused("busy", rng.choice([None, 7.0, 100.0]))
        return Failed("Error: no") if rng.random() < fails else Succeeded()

    return outcome


def world_of(policy: EventPolicy, shape: dict[str, float], crash_chance: float = 0.0) -> EventWorld:
    rng = random.Random(shape["seed"])
    world = EventWorld(
        policy,
        behaviour(shape["fails"], shape["refuses"]),
        rng,
        takes=shape["takes"],
        crash_chance=crash_chance,
    )
    for _ in range(int(shape["count"])):
        world.accept_at(world.now + rng.uniform(0.0, shape["over"]))
    return world


def ran(event: QueuedEvent, rng: random.Random) -> Outcome:
    return Succeeded()


def answering(outcomes: Iterable[Outcome], policy: EventPolicy, **more: float) -> EventWorld:
    """One event, whose attempts come to `outcomes`; it has ended."""
    left = iter(outcomes)
    world = EventWorld(policy, lambda event, rng: next(left), random.Random(0), **more)
    world.accept_at(world.now)
    assert world.live()
    return world


@given(policies, shapes)
@SETTINGS
def test_every_event_ends_once_and_as_its_attempts_say(
    policy: EventPolicy, shape: dict[str, float]
) -> None:
    world = world_of(policy, shape)

    assert world.live()

    check_results(world)
    check_waits(world)


@given(policies, shapes, st.sampled_from([0.01, 0.1, 0.3]))
@SETTINGS
def test_a_crash_repeats_what_was_under_way_and_loses_nothing(
    policy: EventPolicy, shape: dict[str, float], crash_chance: float
) -> None:
    world = world_of(policy, shape, crash_chance)

    for _ in range(1000):
        if world.live():
            break
    else:
        world.crash_chance = 0.0
        assert world.live()

    check_results(world)
    check_waits(world)


@given(policies, shapes, st.floats(0.0, 400.0))
@SETTINGS
def test_what_is_not_done_when_stopping_is_done_in_the_next_life(
    policy: EventPolicy, shape: dict[str, float], after: float
) -> None:
    world = world_of(policy, shape)

    assert world.live(stop_at=world.now + after)
    assert world.live()

    check_results(world)
    check_waits(world)


ERROR, RAN, BUSY = Failed("Error: no"), Succeeded(), Refused("busy")


@pytest.mark.parametrize(
    ("outcomes", "policy", "result", "waits"),
    [
        # An error is retried after one minute, and then after two.
        ([RAN], EventPolicy(), "Success", []),
        ([ERROR, RAN], EventPolicy(), "Success", [60]),
        ([ERROR] * 3, EventPolicy(), "RetriesExhausted", [60, 120]),
        ([ERROR] * 2, EventPolicy(retries_max=1), "RetriesExhausted", [60]),
        ([ERROR], EventPolicy(retries_max=0), "RetriesExhausted", []),
        # What would be too old by then is given up at once (recorded).
        ([ERROR], EventPolicy(age_max=60), "EventAgeExceeded", []),
        ([ERROR] * 2, EventPolicy(age_max=90), "EventAgeExceeded", [60]),
        # Not being reached costs no attempt; the waits double, up to five minutes.
        ([*[BUSY] * 11, RAN], EventPolicy(retries_max=0), "Success",
         [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]),
        ([ERROR, BUSY, BUSY, ERROR, BUSY, ERROR], EventPolicy(), "RetriesExhausted",
         [60, 1, 2, 120, 1]),
        # The function may ask for more; never for less.
        ([Refused("busy", 30.0), BUSY, RAN], EventPolicy(), "Success", [30, 2]),
        ([Refused("busy", 0.1), RAN], EventPolicy(), "Success", [1]),
        # The last try is a second before the event is too old.
        ([BUSY] * 7, EventPolicy(age_max=60), "EventAgeExceeded", [1, 2, 4, 8, 16, 28]),
        ([Refused("busy", 1e9), RAN], EventPolicy(age_max=60), "Success", [59]),
    ],
)  # fmt: skip
@pytest.mark.proves("S12.4.retries")
def test_attempts_come_when_the_rules_say(
    outcomes: list[Outcome], policy: EventPolicy, result: str, waits: list[int]
) -> None:
    world = answering(outcomes, policy)

    (attempts,) = world.attempts.values()
    assert [after.began - before.ended for before, after in pairwise(attempts)] == waits
    assert [event.result for event in world.ended.values()] == [result]
    assert list(world.ended_at.values()) == [attempts[-1].ended]


@pytest.mark.proves("S12.4.age")
def test_an_event_too_old_to_begin_with_never_runs() -> None:
    world = EventWorld(
        EventPolicy(age_max=60, concurrency_max=1, tells_failure=True),
        ran,
        random.Random(0),
    )
    id = world.accept_at(world.now)
    world.live(stop_at=world.now)
    world.now += 60.0

    assert world.live()

    assert world.attempts[id] == []
    assert world.told[id] == [world.ended[id]]
    assert world.ended[id].result is EventResult.EVENT_AGE_EXCEEDED


@pytest.mark.parametrize("concurrency", [1, 4])
def test_as_many_run_at_one_time_as_may(concurrency: int) -> None:
    policy = EventPolicy(concurrency_max=concurrency)
    world = EventWorld(policy, ran, random.Random(1), takes=1.0)
    for _ in range(50):
        world.accept_at(world.now)

    assert world.live()

    starts = sorted((each.began, 1) for [each] in world.attempts.values())
    ends = sorted((each.ended, -1) for [each] in world.attempts.values())
    running = most = 0
    for _, change in sorted(starts + ends):
        running += change
        most = max(most, running)
    assert most == concurrency


def test_while_a_destination_is_slow_others_still_run() -> None:
    """Deliveries have room of their own, beside the invocations."""
    policy = EventPolicy(concurrency_max=1, tells_success=True)
    world = EventWorld(policy, ran, random.Random(1), deliveries_take=300.0)
    for _ in range(20):
        world.accept_at(world.now)
    began = world.now

    assert world.live()

    assert {each.began for [each] in world.attempts.values()} == {began}


def test_each_event_comes_again_when_it_is_due_whatever_the_others_do() -> None:
    def outcome(event: QueuedEvent, rng: random.Random) -> Outcome:
        return Failed("no") if event.id % 2 else Refused("busy", 90.0 if event.id == 2 else None)

    world = EventWorld(EventPolicy(age_max=200.0), outcome, random.Random(0))
    for number in range(4):
        world.accept_at(world.now + number)

    assert world.live()

    assert {
        id: [after.began - before.ended for before, after in pairwise(attempts)]
        for id, attempts in world.attempts.items()
    } == {1: [60, 120], 2: [90, 90, 19], 3: [60, 120], 4: [1, 2, 4, 8, 16, 32, 64, 72]}


def test_results_that_wait_to_be_told_have_a_bound() -> None:
    policy = EventPolicy(concurrency_max=1, tells_success=True)
    world = EventWorld(policy, ran, random.Random(1), deliveries_take=300.0)
    for _ in range(DELIVERIES_MAX + 50):
        world.accept_at(world.now)

    assert world.live()

    check_results(world)
    began = world.attempts[1][0].began
    assert {each.began - began for [each] in world.attempts.values()} == {0.0, 300.0}


def test_a_changed_policy_holds_for_what_is_decided_next() -> None:
    machine = EventMachine(EventPolicy(retries_max=2))
    machine.handle(PolicyChanged(EventPolicy(retries_max=0)), 0.0)
    event = QueuedEvent(1, "request", 2, 0.0, 0.0)
    machine.handle(Started(), 0.0)
    machine.handle(EventsLoaded([event], None), 0.0)

    (command,) = machine.handle(EventInvoked(1, Failed("no")), 0.0)

    assert command == RemoveEvent(replace(event, attempts=1, result=EventResult.RETRIES_EXHAUSTED))


def test_an_empty_queue_waits_for_nothing() -> None:
    world = EventWorld(EventPolicy(), ran, random.Random(0))
    machine = EventMachine(world.policy)

    (load,) = machine.handle(Started(), 0.0)
    assert machine.handle(world._load(load), 0.0) == []

    assert machine.deadline() is None
    assert machine.handle(Ticked(), 1e9) == []
