"""The number of slots of a queue over time: the rows of its table, and what always holds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poller.core.policy import QueuePolicy
from poller.core.scaling import (
    QUIET_PERIODS,
    ROUNDS_OWED_MAX,
    SUCCESSES_OWED,
    ConcurrencyLimit,
)

STANDARD = QueuePolicy()
CAPPED = QueuePolicy(concurrency_start=5, concurrency_max=40, concurrency_quiet=5)
FIXED = QueuePolicy(concurrency_start=7, concurrency_max=7, concurrency_quiet=7, backs_off=False)
PROVISIONED = QueuePolicy(
    concurrency_start=40,
    concurrency_max=200,
    concurrency_step=10,
    concurrency_period=0.6,
    concurrency_quiet=40,
    pollers_min=4,
)
POLICIES = [STANDARD, CAPPED, FIXED, PROVISIONED]


class Life:
    """A limit and its time; `all` of its slots are taken, or some number."""

    def __init__(self, policy: QueuePolicy = STANDARD) -> None:
        self.limit = ConcurrencyLimit(policy)
        self.now = 0.0

    @property
    def slots(self) -> int:
        return self.limit.slots

    def passes(self, seconds: float, running: int | None = None, *, refusing: bool = False) -> int:
        """So much time, observed ten times a second; None: all slots are taken."""
        for _ in range(round(seconds * 10)):
            taken = self.slots if running is None else running
            self.limit.observe(running=taken, promised=0, refusing=refusing, now=self.now)
            self.now = round(self.now + 0.1, 6)
            self.limit.pass_time(self.now)
        return self.slots


def grown(policy: QueuePolicy = STANDARD, seconds: float = 10.0) -> Life:
    life = Life(policy)
    life.passes(seconds)
    return life


# Growth.


@pytest.mark.proves("S8.1.growth")
def test_it_starts_with_five_and_grows_by_three_hundred_a_minute_up_to_the_most() -> None:
    life = Life()
    assert life.slots == 5
    assert life.passes(60.0) == pytest.approx(305, abs=30)
    assert life.passes(600.0) == 1250


@pytest.mark.proves("S8.1.provisioned")
def test_provisioned_pollers_start_with_all_their_slots_and_grow_by_a_thousand_a_minute() -> None:
    many = QueuePolicy(
        concurrency_start=20,
        concurrency_max=20_000,
        concurrency_step=10,
        concurrency_period=0.6,
        pollers_min=2,
    )
    life = Life(many)
    assert (life.slots, life.limit.pollers) == (20, 2)
    assert life.passes(60.0) == pytest.approx(1020, abs=150)
    assert life.limit.pollers == -(-life.slots // 10)


def test_nothing_grows_where_slots_are_free_or_the_function_refuses() -> None:
    life = Life()
    assert life.passes(30.0, running=4) == 5
    assert life.passes(30.0, refusing=True) == 5


def test_all_slots_need_not_be_taken_throughout() -> None:
    life = Life()
    life.passes(0.1)
    assert life.passes(2.0, running=0) == 10


# Errors.


@pytest.mark.proves("S8.3.errors")
def test_a_round_of_function_errors_halves_it_down_to_the_floor() -> None:
    life = grown(seconds=60.0)
    while life.slots > STANDARD.concurrency_floor:
        before = life.slots
        for _ in range(before):
            life.limit.failed()
        assert life.slots in (max(half, 2) for half in (before // 2, (before + 1) // 2))
    life.limit.failed()
    assert life.slots == STANDARD.concurrency_floor


@pytest.mark.proves("S8.3.errors")
def test_with_reported_failures_it_does_not_fall() -> None:
    life = grown(QueuePolicy(backs_off=False))
    before = life.slots
    life.limit.failed()
    assert life.slots == before
    assert life.passes(2.0) > before


def test_one_error_in_a_hundred_does_not_keep_it_from_growing() -> None:
    life = grown(seconds=20.0)
    before = life.slots
    for _ in range(60):
        life.limit.failed()
        for _ in range(99):
            life.limit.succeeded()
        life.passes(1.1)
    assert life.slots > 2 * before


def test_a_function_that_always_fails_does_not_get_more_slots() -> None:
    life = grown(seconds=20.0)
    for _ in range(life.slots):
        life.limit.failed()
    before = life.slots
    assert life.passes(59.0) == before


def test_errors_are_made_good_by_ten_successes_each_and_all_by_a_round() -> None:
    life = grown(seconds=20.0)
    for _ in range(1000):
        life.limit.failed()
    for _ in range(STANDARD.concurrency_floor):
        assert life.passes(2.0) == STANDARD.concurrency_floor
        life.limit.succeeded()
    assert life.passes(1.2) == STANDARD.concurrency_floor + STANDARD.concurrency_step

    life = grown(seconds=30.0)
    before = life.slots
    life.limit.failed()
    for _ in range(SUCCESSES_OWED):
        assert life.passes(2.0) < before
        life.limit.succeeded()
    assert life.passes(1.2) > before


# Refusals.


def test_a_refusal_leaves_what_the_function_takes_and_the_next_step_is_one() -> None:
    life = grown(seconds=60.0)
    life.limit.refused(beside=30)
    assert life.slots == 30
    for _ in range(30):
        assert life.passes(1.2) == 30
        life.limit.succeeded()
    assert life.passes(1.2) == 31
    assert life.passes(1.2) == 36


def test_a_probe_that_is_refused_is_not_repeated_soon() -> None:
    life = grown(seconds=60.0)
    waits = []
    for _ in range(6):
        life.limit.refused(beside=10)
        life.limit.refused(beside=10)
        waits.append(0)
        while life.slots == 10:
            life.limit.succeeded()
            life.passes(1.2)
            waits[-1] += 1
        assert life.slots == 11
    assert waits == [10, 20, 40, 80, 160, 160]


def test_a_function_that_cannot_be_reached_leaves_the_floor() -> None:
    for policy in POLICIES:
        life = grown(policy)
        life.limit.refused(beside=0)
        assert life.slots == min(policy.concurrency_floor, policy.concurrency_start)


# Idleness.


def test_what_was_not_used_for_a_minute_is_let_go() -> None:
    life = grown(seconds=120.0)
    before = life.slots
    assert before > 500
    life.passes(60.0, running=100)
    assert life.passes(60.0, running=100) in range(100, 111)
    assert life.passes(120.0, running=80) in range(80, 91)
    assert life.passes(120.0, running=1) == 5


def test_without_messages_it_returns_to_its_start_and_then_becomes_quiet() -> None:
    life = grown(seconds=70.0)
    idle = STANDARD.idle_period
    assert life.passes(2 * idle, running=0) == 5
    assert life.passes((QUIET_PERIODS - 2) * idle, running=0) == 5
    assert life.passes(2 * idle, running=0) == 2
    assert life.passes(600.0, running=0) == 2
    assert life.passes(2.5) == 12


def test_a_message_now_and_then_keeps_it_from_becoming_quiet() -> None:
    life = grown()
    for _ in range(4):
        assert life.passes(180.0, running=0) == 5
        assert life.passes(60.0, running=1) == 5


@pytest.mark.parametrize("policy", [CAPPED, FIXED, PROVISIONED])
def test_only_the_standard_mode_becomes_quiet(policy: QueuePolicy) -> None:
    life = grown(policy)
    assert life.passes(3600.0, running=0) == policy.concurrency_start


def test_idleness_forgets_errors() -> None:
    life = grown()
    for _ in range(200):
        life.limit.failed()
    assert life.slots == 2
    assert life.passes(61.0 * 2, running=0) == 5
    assert life.passes(1.2) == 10


def test_a_little_work_does_not_forget_errors() -> None:
    life = grown()
    for _ in range(200):
        life.limit.failed()
    assert life.passes(200.0, running=1) == 2


# What was promised.


def test_what_was_asked_for_keeps_its_slots_until_it_has_run() -> None:
    life = grown(seconds=20.0)
    before = life.slots
    life.limit.observe(running=10, promised=20, refusing=False, now=life.now)
    life.limit.refused(beside=9)
    life.limit.observe(running=10, promised=20, refusing=True, now=life.now)
    assert (life.slots, life.limit.granted) == (9, 30)
    life.limit.observe(running=12, promised=0, refusing=True, now=life.now)
    assert life.limit.granted == 12
    life.limit.observe(running=3, promised=0, refusing=False, now=life.now)
    assert life.limit.granted == 9 < before


# Whatever happens.

Step = Callable[[Life], object]
steps = st.one_of(
    st.floats(0.1, 90.0).map(lambda seconds: lambda life: life.passes(seconds)),
    st.floats(0.1, 90.0).map(lambda seconds: lambda life: life.passes(seconds, running=0)),
    st.integers(1, 300).map(lambda n: lambda life: [life.limit.failed() for _ in range(n)]),
    st.integers(1, 300).map(lambda n: lambda life: [life.limit.succeeded() for _ in range(n)]),
    st.integers(0, 300).map(lambda n: lambda life: life.limit.refused(beside=n)),
)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.sampled_from(POLICIES), st.lists(steps, max_size=12))
def test_it_stays_between_its_floor_and_its_most_and_never_leaps(
    policy: QueuePolicy, happenings: list[Step]
) -> None:
    life = Life(policy)
    low = min(policy.concurrency_floor, policy.concurrency_quiet, policy.concurrency_start)
    for happen in happenings:
        before, began = life.slots, life.now
        happen(life)
        periods = (life.now - began) / policy.concurrency_period + 1
        assert low <= life.slots <= policy.concurrency_max
        assert life.slots <= max(before, policy.concurrency_start) + (
            periods * policy.concurrency_step
        )
        assert life.limit.granted >= life.slots
        if policy.pollers_min is not None:
            assert life.limit.pollers is not None
            assert life.limit.pollers >= policy.pollers_min


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.sampled_from(POLICIES), st.lists(steps, max_size=12))
def test_whatever_happened_it_recovers(policy: QueuePolicy, happenings: list[Step]) -> None:
    life = Life(policy)
    for happen in happenings:
        happen(life)
    for _ in range(ROUNDS_OWED_MAX * policy.concurrency_max):
        life.limit.succeeded()
    life.passes(3.0)
    assert life.passes(300.0) == pytest.approx(min(policy.concurrency_max, 1250), rel=0.05)
