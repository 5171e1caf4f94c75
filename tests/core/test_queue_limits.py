"""Queues under limits: slots, provisioned pollers, a rate, a heartbeat, a function that refuses.

The simulator judges that no limit is exceeded; here it is shown what they cost, which is never a
receive: a message that was only delayed is received once.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poller.core.model import Failed, MessageBatch, Outcome, Refused, Succeeded
from poller.core.policy import QueuePolicy
from poller.core.queues import QueueMachine
from poller.core.steps import (
    Extend,
    Extended,
    Invoked,
    InvokeMessages,
    QueueCommand,
    Receive,
    Received,
    Started,
    Stopping,
    Ticked,
)
from poller.lab.queue_simulator import QueueSimulation
from poller.lab.world import MadeMessage
from tests.core.queue_lives import CALM, SETTINGS, Shape, shapes, simulation

PROVISIONED = QueuePolicy(
    concurrency_start=20,
    concurrency_max=60,
    concurrency_step=10,
    concurrency_period=0.6,
    concurrency_quiet=20,
    pollers_min=2,
    run_time_max=6.0,
)

modes = st.sampled_from(
    [
        QueuePolicy(run_time_max=6.0),
        QueuePolicy(concurrency_start=2, concurrency_max=2, run_time_max=6.0),
        QueuePolicy(concurrency_start=1, concurrency_max=1, backs_off=False, run_time_max=6.0),
        PROVISIONED,
    ]
)
sizes = st.sampled_from([1, 3, 10])
kinds = st.sampled_from([0, 3])  # message groups; none on a standard queue


def life_of(policy: QueuePolicy, shape: Shape, groups: int = 0, **more: object) -> QueueSimulation:
    life = simulation(replace(policy, fifo=bool(groups)), shape, groups, **more)
    life.run()
    assert life.queue.deleted == set(range(shape["count"]))
    return life


def received_once(life: QueueSimulation) -> bool:
    return set(life.queue.receives.values()) <= {1}


# Receives are not spent.


@pytest.mark.proves("S8.3.receives")
@settings(SETTINGS, max_examples=100)
@given(modes, sizes, kinds, st.integers(0, 200), st.integers(0, 99))
def test_a_function_that_takes_its_time_costs_no_receives(
    policy: QueuePolicy, size: int, groups: int, count: int, seed: int
) -> None:
    """The queue hides for barely longer than the function may take."""
    shape = {**CALM, "count": count, "seed": seed, "visibility": 6.5}
    policy = replace(policy, batch_size=size)
    assert received_once(life_of(policy, shape, groups, run_latency=(4.0, 6.0)))


@pytest.mark.proves("S8.3.receives")
@settings(SETTINGS, max_examples=100)
@given(modes, sizes, kinds, st.integers(1, 12), st.integers(0, 99))
def test_a_function_that_takes_only_so_many_at_a_time_costs_no_receives(
    policy: QueuePolicy, size: int, groups: int, capacity: int, seed: int
) -> None:
    shape = {**CALM, "count": 50 + seed, "seed": seed, "visibility": 200.0}
    policy = replace(policy, batch_size=size)
    life = life_of(policy, shape, groups, capacity=capacity, run_latency=(2.0, 6.0))
    assert received_once(life)


@pytest.mark.proves("S8.3.receives")
@settings(SETTINGS, max_examples=50)
@given(modes, sizes, kinds, st.floats(1.0, 20.0), st.integers(0, 99))
def test_a_function_that_is_away_for_a_while_costs_no_receives(
    policy: QueuePolicy, size: int, groups: int, back_at: float, seed: int
) -> None:
    """And not a message of those that it could not take is given up while there is time left."""
    shape = {**CALM, "count": 100, "seed": seed, "visibility": 90.0}
    life = simulation(replace(policy, fifo=bool(groups), batch_size=size), shape, groups)
    life.outcome = lambda _batch, _rng: Refused("away") if life.now < back_at else Succeeded()
    life.run()
    assert received_once(life)


@settings(SETTINGS, max_examples=50)
@given(sizes, st.integers(0, 99))
def test_a_window_costs_no_receives_where_the_queue_hides_for_two_runs_beyond_it(
    size: int, seed: int
) -> None:
    policy = QueuePolicy(batch_size=size * 3, batch_window=2.0, concurrency_max=2, run_time_max=6.0)
    shape = {**CALM, "count": 150, "seed": seed, "visibility": 16.0}
    assert received_once(life_of(policy, shape, run_latency=(3.0, 6.0)))


def test_a_function_at_its_capacity_is_kept_busy() -> None:
    """Ten at a time, four seconds each; asking for more now and then costs a little of that."""
    policy = QueuePolicy(batch_size=1, run_time_max=6.0)
    shape = {**CALM, "count": 2000, "visibility": 90.0}
    quick = (0.01, 0.05)
    life = life_of(policy, shape, capacity=10, run_latency=(4.0, 4.0), receive_latency=quick)
    assert life.now < 1.1 * 2000 * 4.0 / 10


# FIFO.


def test_groups_of_a_fifo_queue_fill_all_slots_but_never_more_than_there_are_groups() -> None:
    shape = {**CALM, "count": 400, "visibility": 60.0}
    wide = QueuePolicy(batch_size=1, run_time_max=6.0)
    assert life_of(wide, shape, 30, run_latency=(3.0, 4.0)).peak in range(25, 31)
    narrow = replace(wide, concurrency_start=2, concurrency_max=2)
    assert life_of(narrow, shape, 30, run_latency=(0.1, 0.2)).peak == 2


# Provisioned pollers.


@settings(SETTINGS, max_examples=100)
@given(shapes, sizes, st.sampled_from([10, 300_000]))
def test_provisioned_pollers_keep_within_what_they_may(
    shape: Shape, size: int, message_size: int
) -> None:
    policy = replace(PROVISIONED, batch_size=size)
    quick = (0.001, 0.02)
    life_of(
        policy,
        {**shape, "count": 4 * shape["count"]},
        message_size=message_size,
        run_latency=quick,
        receive_latency=quick,
    )


def test_provisioned_pollers_have_all_their_slots_at_once() -> None:
    shape = {**CALM, "count": 400, "visibility": 60.0}
    policy = replace(PROVISIONED, batch_size=1)
    life = simulation(policy, shape, run_latency=(5.0, 6.0))
    at: list[float] = []
    life.outcome = lambda _batch, _rng: (at.append(life.now), Succeeded())[1]
    life.run()
    assert life.peak == policy.concurrency_max
    assert sum(time < 8.0 for time in at) >= 20


def test_provisioned_pollers_are_as_many_as_their_slots_take() -> None:
    machine = QueueMachine(PROVISIONED)
    machine.handle(Started(), 0.0)
    assert (machine.snapshot().slots, machine.snapshot().pollers) == (20, 2)
    assert QueueMachine(QueuePolicy()).snapshot().pollers is None


# Many slots.


def test_a_thousand_slots_are_filled_by_a_bounded_number_of_receives() -> None:
    policy = QueuePolicy(batch_size=1, concurrency_start=1250, receives_max=20, run_time_max=60.0)
    shape = {**CALM, "count": 3000, "visibility": 120.0}
    life = life_of(policy, shape, run_latency=(20.0, 30.0))
    assert life.peak == 1250
    assert life.limits.open_most == policy.receives_max


# A rate.


@settings(SETTINGS, max_examples=150)
@given(shapes, modes, sizes, kinds, st.sampled_from([0.5, 1.0, 7.0, 50.0, 1000.0]))
def test_a_rate_is_never_exceeded_and_everything_is_delivered(
    shape: Shape, policy: QueuePolicy, size: int, groups: int, rate: float
) -> None:
    policy = replace(policy, batch_size=size, messages_per_second=rate)
    life_of(policy, shape, groups)


@settings(SETTINGS, max_examples=50)
@given(sizes, kinds, st.sampled_from([1.0, 7.0, 50.0]), st.integers(0, 99))
def test_a_rate_costs_no_receives(size: int, groups: int, rate: float, seed: int) -> None:
    policy = QueuePolicy(batch_size=size, messages_per_second=rate, run_time_max=3.0)
    shape = {**CALM, "count": 150, "seed": seed, "visibility": 3.5}
    assert received_once(life_of(policy, shape, groups, run_latency=(0.1, 1.0)))


@pytest.mark.parametrize(("size", "rate"), [(1, 2.0), (10, 10.0), (10, 50.0), (3, 20.0)])
def test_a_busy_queue_is_delivered_at_its_rate(size: int, rate: float) -> None:
    count = int(rate * 60)
    policy = QueuePolicy(batch_size=size, messages_per_second=rate)
    life = simulation(policy, {**CALM, "count": count}, run_latency=(0.05, 0.1))
    life.receive_latency = (0.01, 0.05)
    life.run()
    assert life.now == pytest.approx(60.0, rel=0.1)


def test_a_full_batch_goes_as_soon_as_the_rate_allows_and_not_after_its_window() -> None:
    policy = QueuePolicy(batch_size=2, batch_window=300.0, messages_per_second=2.0)
    life = life_of(policy, {**CALM, "count": 20, "visibility": 400.0}, run_latency=(0.1, 0.2))
    assert life.now < 20.0


# A heartbeat.

HEARTBEAT = QueuePolicy(heartbeat=True, run_time_max=100.0)


@settings(SETTINGS, max_examples=100)
@given(shapes, sizes, kinds)
def test_a_heartbeat_keeps_messages_hidden_for_as_long_as_they_run(
    shape: Shape, size: int, groups: int
) -> None:
    """The simulator asserts it at the end of every run."""
    policy = replace(HEARTBEAT, batch_size=size)
    life_of(policy, {**shape, "flaky": shape["flaky"] / 2}, groups, run_latency=(1.0, 100.0))


@settings(SETTINGS, max_examples=30)
@given(modes, sizes, kinds, st.sampled_from([2.0, 5.0, 30.0]), st.integers(0, 99))
def test_with_a_heartbeat_a_long_run_costs_no_receives(
    policy: QueuePolicy, size: int, groups: int, visibility: float, seed: int
) -> None:
    policy = replace(policy, batch_size=size, heartbeat=True, run_time_max=60.0)
    shape = {**CALM, "count": 60, "seed": seed, "visibility": visibility}
    assert received_once(life_of(policy, shape, groups, run_latency=(10.0, 60.0)))


@settings(SETTINGS, max_examples=30)
@given(shapes, st.booleans())
def test_a_heartbeat_that_fails_or_is_not_permitted_loses_nothing(
    shape: Shape, permitted: bool
) -> None:
    policy = replace(HEARTBEAT, run_time_max=20.0)
    shape = {**shape, "visibility": 30.0}
    life_of(
        policy,
        shape,
        run_latency=(1.0, 20.0),
        extend_failures=0.3,
        extend_permitted=permitted,
    )


@settings(SETTINGS, max_examples=50)
@given(shapes, st.floats(0.0, 60.0))
def test_stopping_answers_every_heartbeat(shape: Shape, at: float) -> None:
    simulation(
        replace(HEARTBEAT, run_time_max=20.0), shape, stop_at=at, run_latency=(1.0, 20.0)
    ).run()


def started(policy: QueuePolicy, *, visibility: float = 30.0) -> tuple[QueueMachine, MessageBatch]:
    """A machine that runs a batch of one message since 0.0."""
    machine = QueueMachine(policy)
    machine.handle(Started(), 0.0)
    message = MadeMessage("m", "m@1", None, 10, 0)
    commands = machine.handle(Received((message,), 10, 10, visibility), 0.0)
    (batch,) = [each.batch for each in commands if isinstance(each, InvokeMessages)]
    return machine, batch


def extensions(machine: QueueMachine, until: float) -> list[tuple[float, int]]:
    """When it asks to hide for how long, each time with success."""
    found: list[tuple[float, int]] = []
    while (now := machine.deadline()) is not None and now <= until:
        for command in machine.handle(Ticked(), now):
            if isinstance(command, Extend):
                found.append((now, command.seconds))
                machine.handle(Extended(command.batch.id, now + command.seconds), now)
    return found


def test_messages_are_hidden_for_longer_halfway_to_the_end_of_their_timeout() -> None:
    machine, _ = started(HEARTBEAT)
    assert extensions(machine, 60.0) == [(15.0, 30), (30.0, 30), (45.0, 30), (60.0, 30)]


def test_without_a_heartbeat_nothing_is_hidden_for_longer() -> None:
    machine, _ = started(replace(HEARTBEAT, heartbeat=False))
    assert extensions(machine, 60.0) == []


def test_a_heartbeat_ends_with_the_twelve_hours_of_sqs() -> None:
    machine, _ = started(HEARTBEAT, visibility=3600.0)
    asked = extensions(machine, 1e6)
    assert len(asked) > 20
    ends = [at + seconds for at, seconds in asked]
    assert ends == sorted(set(ends)), "each hides for longer than the one before"
    assert ends[-1] == 12 * 3600 - 60


def test_a_failed_extension_is_tried_again_halfway_through_what_is_left() -> None:
    machine, batch = started(HEARTBEAT)
    asked: list[float] = []
    while (now := machine.deadline()) is not None:
        commands = machine.handle(Ticked(), now)
        asked += [now for command in commands if isinstance(command, Extend)]
        machine.handle(Extended(batch.id, None), now)
    assert asked[:3] == [15.0, 22.5, 26.25]
    assert len(asked) < 9
    assert max(asked) < 30.0


def test_what_is_not_permitted_is_not_tried_again() -> None:
    """Not for this batch, nor for others that run, nor for later ones."""
    machine, batch = started(HEARTBEAT)
    receives(machine, "other", 5.0)
    assert machine.deadline() == 15.0
    machine.handle(Ticked(), 15.0)
    machine.handle(Extended(batch.id, None, permitted=False), 15.1)
    receives(machine, "later", 16.0)
    assert extensions(machine, 100.0) == []


def receives(machine: QueueMachine, name: str, now: float) -> None:
    message = MadeMessage(name, f"{name}@1", None, 10, 0)
    machine.handle(Received((message,), 10, 10, now + 30.0), now)


@pytest.mark.parametrize("outcome", [Succeeded(), Failed("x"), Refused("busy", 10.0)])
def test_a_heartbeat_ends_with_the_invocation(outcome: Outcome) -> None:
    machine, batch = started(HEARTBEAT)
    machine.handle(Ticked(), 15.0)
    machine.handle(Invoked(batch.id, outcome), 16.0)
    machine.handle(Extended(batch.id, None), 16.1)
    found: list[QueueCommand] = []
    for now in range(17, 40):
        commands = machine.handle(Ticked(), float(now))
        found += [each for each in commands if isinstance(each, Extend)]
        if any(isinstance(each, InvokeMessages) for each in commands):
            break
    assert found == []


def test_a_refused_batch_is_tried_again_as_long_as_it_is_hidden() -> None:
    """The heartbeat goes on with the next try, so a whole run need not fit."""
    machine, batch = started(replace(HEARTBEAT, run_time_max=900.0))
    machine.handle(Invoked(batch.id, Refused("busy", 20.0)), 1.0)
    (again,) = machine.handle(Ticked(), 21.0)
    assert isinstance(again, InvokeMessages)
    assert machine.deadline() == pytest.approx(25.5)


def test_stopping_waits_for_an_extension_that_is_under_way() -> None:
    machine, batch = started(HEARTBEAT)
    machine.handle(Ticked(), 15.0)
    machine.handle(Invoked(batch.id, Failed("x")), 16.0)
    machine.handle(Stopping(60.0), 17.0)
    for _ in range(2):  # the receives that are open
        machine.handle(Received((), 0, 10, 60.0), 18.0)
    assert not machine.finished
    machine.handle(Extended(batch.id, 45.0), 19.0)
    assert machine.finished


class Five:
    """A machine, one message a batch, all five slots of which are taken at 0.0."""

    def __init__(self) -> None:
        self.machine = QueueMachine(QueuePolicy(batch_size=1))
        self.machine.handle(Started(), 0.0)
        self.batches = self.receives(5, 0.0)

    @property
    def slots(self) -> int | None:
        return self.machine.snapshot().slots

    def receives(self, count: int, now: float) -> list[MessageBatch]:
        """The batches that so many messages become."""
        messages = [MadeMessage(f"{now}-{i}", "", None, 10, 0) for i in range(count)]
        commands = self.machine.handle(Received(messages, 10 * count, 5, now + 900.0), now)
        return [each.batch for each in commands if isinstance(each, InvokeMessages)]

    def invoked(self, batches: list[MessageBatch], outcome: Outcome, now: float) -> None:
        for batch in batches:
            self.machine.handle(Invoked(batch.id, outcome), now)


@pytest.mark.proves("S8.3.errors")
def test_function_errors_take_slots_which_successes_win_back() -> None:
    five = Five()
    five.invoked(five.batches, Failed("x"), 0.5)
    assert five.slots == 2
    batches = five.receives(2, 1.0)
    five.machine.handle(Ticked(), 2.5)
    assert five.slots == 2
    five.invoked(batches, Succeeded(), 2.6)
    five.receives(2, 3.0)
    five.machine.handle(Ticked(), 4.5)
    assert five.slots == 7


def test_a_refusal_leaves_as_many_slots_as_ran_beside_it() -> None:
    five = Five()
    five.invoked(five.batches[:1], Refused("busy"), 0.5)
    assert five.slots == 4
    five.invoked(five.batches[1:2], Refused("busy"), 0.5)
    assert five.slots == 3


@pytest.mark.parametrize(("asked", "tried"), [(None, True), (20.0, False)])
def test_a_refused_batch_is_tried_again_when_another_ends_unless_it_was_said_when(
    asked: float | None, tried: bool
) -> None:
    five = Five()
    five.invoked(five.batches[:1], Refused("busy", asked), 0.5)
    commands = five.machine.handle(Invoked(five.batches[1].id, Succeeded()), 0.6)
    again = [each.batch.id for each in commands if isinstance(each, InvokeMessages)]
    assert again == ([five.batches[0].id] if tried else [])


@pytest.mark.proves("S8.3.receives")
def test_nothing_is_received_before_a_function_wants_to_be_asked_again() -> None:
    """Also where that is later than the refused batch may wait, which is then given up."""
    machine = QueueMachine(QueuePolicy(batch_size=1, concurrency_start=1, concurrency_max=1))
    assert machine.handle(Started(), 0.0) == [Receive(1)]
    message = MadeMessage("m", "m@1", None, 10, 0)
    commands = machine.handle(Received((message,), 10, 1, 30.0), 0.0)
    (batch,) = (each.batch for each in commands if isinstance(each, InvokeMessages))
    assert machine.handle(Invoked(batch.id, Refused("busy", 60.0)), 0.5) == []
    assert machine.snapshot().in_flight == 0
    assert machine.deadline() == pytest.approx(60.5)
    assert machine.handle(Ticked(), 60.5) == [Receive(1)]


def test_receives_are_opened_when_the_rate_allows_it() -> None:
    machine = QueueMachine(QueuePolicy(batch_size=1, messages_per_second=1.0))
    assert machine.handle(Started(), 0.0) == [Receive(1)]
    message = MadeMessage("m", "m@1", None, 10, 0)
    commands = machine.handle(Received((message,), 10, 1, 30.0), 0.0)
    assert not any(isinstance(command, Receive) for command in commands)
    deadline = machine.deadline()
    assert deadline == pytest.approx(0.5)
    assert deadline is not None
    assert machine.handle(Ticked(), deadline) == [Receive(1)]
