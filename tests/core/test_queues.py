"""Whole queue machines in virtual time, judged by the lab's simulator."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poller.core.model import MessageBatch, Outcome, Refused, Succeeded, TooLarge
from poller.core.policy import QueuePolicy
from poller.core.queues import QueueMachine
from poller.core.steps import (
    Invoked,
    InvokeMessages,
    Receive,
    Received,
    ReceiveFailed,
    Release,
    Started,
    Stopping,
)
from poller.lab.world import MadeMessage
from tests.core.queue_lives import CALM, SETTINGS, Shape, shapes, simulation

policies = st.builds(
    QueuePolicy,
    batch_size=st.integers(1, 15),
    batch_bytes_max=st.sampled_from([25, 10**6]),
    batch_window=st.sampled_from([0.0, 2.0]),
    concurrency_start=st.integers(1, 3),
    concurrency_max=st.integers(3, 8),
    concurrency_step=st.integers(1, 3),
    concurrency_period=st.just(20.0),
    run_time_max=st.just(6.0),
)
fifo_policies = st.builds(
    QueuePolicy,
    batch_size=st.integers(1, 10),
    batch_bytes_max=st.sampled_from([25, 10**6]),
    fifo=st.just(True),
    concurrency_start=st.integers(1, 3),
    concurrency_max=st.integers(3, 8),
    run_time_max=st.just(6.0),
)


@settings(SETTINGS, max_examples=300)
@given(policies, shapes)
def test_every_message_is_deleted_after_it_ran(policy: QueuePolicy, shape: Shape):
    life = simulation(policy, shape)
    life.run()
    assert life.queue.deleted == set(range(shape["count"]))
    assert {message.index for _, message in life.ran} >= life.queue.deleted


@settings(SETTINGS, max_examples=300)
@given(st.one_of(policies, fifo_policies), shapes, st.integers(1, 4), st.integers(1, 5))
def test_what_is_too_large_for_the_function_is_split_until_it_fits(
    policy: QueuePolicy, shape: Shape, takes: int, groups: int
):
    life = simulation(policy, shape, groups if policy.fifo else 0, takes=takes)
    life.run()
    assert life.queue.deleted == set(range(shape["count"]))


@pytest.mark.parametrize("fifo", [False, True])
def test_a_split_spends_no_receive_and_a_message_that_is_too_large_alone_comes_again(fifo: bool):
    def outcome(batch: MessageBatch, rng: random.Random) -> Outcome:
        return TooLarge("413") if "3" in {message.id for message in batch.messages} else Succeeded()

    policy = QueuePolicy(batch_size=10, run_time_max=6.0, fifo=fifo)
    life = simulation(policy, {**CALM, "count": 10}, int(fifo), takes=4, stop_at=100.0)
    life.outcome = outcome
    life.run()
    stuck = range(3, 10) if fifo else [3]  # a group waits for its first message
    assert life.queue.deleted == set(range(10)) - set(stuck)
    assert life.queue.receives == {index: 4 if index in stuck else 1 for index in range(10)}


@settings(SETTINGS, max_examples=300)
@given(fifo_policies, shapes, st.integers(1, 5))
def test_fifo_groups_run_in_order_and_one_batch_at_a_time(
    policy: QueuePolicy, shape: Shape, groups: int
):
    life = simulation(policy, shape, groups)
    life.run()
    assert life.queue.deleted == set(range(shape["count"]))


@settings(SETTINGS, max_examples=300)
@given(st.one_of(policies, fifo_policies), shapes, st.floats(0.0, 30.0))
def test_stopping_runs_or_releases_what_it_holds(policy: QueuePolicy, shape: Shape, at: float):
    life = simulation(policy, shape, 3 if policy.fifo else 0, stop_at=at)
    life.run()
    assert not life.running


@settings(SETTINGS, max_examples=100)
@given(policies, shapes)
def test_messages_that_the_filter_rejects_are_deleted_and_never_run(
    policy: QueuePolicy, shape: Shape
):
    life = simulation(policy, shape, accept=lambda message: message.index % 3 == 0)
    life.run()
    assert life.queue.deleted == set(range(shape["count"]))
    assert all(message.index % 3 == 0 for _, message in life.ran)


def test_a_fast_function_spends_one_receive_on_each_message():
    shape = {"count": 300, "flaky": 0.0, "receive_failures": 0.0, "visibility": 30.0, "seed": 3}
    life = simulation(QueuePolicy(), shape)
    life.run()
    assert set(life.queue.receives.values()) == {1}


@pytest.mark.proves("S8.3.receives")
def test_messages_of_a_slow_function_are_not_received_before_they_can_run():
    """Five slots of ten messages, and a function that takes most of the visibility timeout."""
    shape = {"count": 200, "flaky": 0.0, "receive_failures": 0.0, "visibility": 30.0, "seed": 3}
    policy = QueuePolicy(concurrency_max=5, run_time_max=30.0)
    life = simulation(policy, shape, run_latency=(20.0, 28.0))
    life.run()
    assert set(life.queue.receives.values()) == {1}


@pytest.mark.proves("S8.3.receives")
@settings(SETTINGS, max_examples=100)
@given(policies, shapes, st.integers(1, 5))
def test_no_more_is_received_than_free_slots_can_take(
    policy: QueuePolicy, shape: Shape, slots: int
):
    policy = replace(policy, concurrency_start=slots, concurrency_max=slots)
    life = simulation(policy, {**shape, "visibility": 1e9, "flaky": 0.0})
    life.run()
    assert life.queue.deleted == set(range(shape["count"]))


@pytest.mark.proves("S8.1.growth")
def test_the_limit_grows_while_all_slots_are_taken():
    shape = {"count": 2000, "flaky": 0.0, "receive_failures": 0.0, "visibility": 99.0, "seed": 3}
    life = simulation(QueuePolicy(batch_size=1), shape, run_latency=(9.0, 10.0))
    life.run()
    assert life.peak > 20


@pytest.mark.parametrize("window", [0.0, 5.0])
def test_a_throttled_batch_is_tried_again_inside_its_visibility_timeout(window: float):
    answers = iter([Refused("busy"), Refused("busy")])
    shape = {"count": 3, "flaky": 0.0, "receive_failures": 0.0, "visibility": 30.0, "seed": 3}
    life = simulation(QueuePolicy(batch_window=window), shape)
    life.outcome = lambda batch, rng: next(answers, Succeeded())
    life.run()
    assert set(life.queue.receives.values()) == {1}


def test_receives_that_were_open_together_fail_together():
    """One outage is one failure, however many receives it cuts off."""
    machine = QueueMachine(QueuePolicy(backoff_min=1.0, concurrency_start=100))
    opened = machine.handle(Started(), 0.0)
    for number in range(4):
        received = Received((MadeMessage(str(number), "", None, 1, number),), 1, 10, 30.0)
        opened += machine.handle(received, 1.0)
    still_open = sum(isinstance(command, Receive) for command in opened) - 4
    for _ in range(still_open):
        machine.handle(ReceiveFailed("cut off", 10), 2.0)

    assert still_open == 5
    deadline = machine.deadline()
    assert deadline is not None
    assert 2.5 <= deadline <= 3.0


def test_what_waits_behind_a_released_batch_of_its_group_is_released_with_it():
    machine = QueueMachine(QueuePolicy(batch_size=2, fifo=True))
    messages = tuple(MadeMessage(str(number), "", "a", 1, number) for number in range(3))
    machine.handle(Started(), 0.0)
    commands = machine.handle(Received(messages, 3, 2, 30.0), 0.0)
    (batch,) = (command.batch for command in commands if isinstance(command, InvokeMessages))
    assert batch.messages == messages[:2]
    machine.handle(Stopping(until=60.0), 1.0)

    assert machine.handle(Invoked(batch.id, Refused("busy")), 2.0) == [Release([*messages])]
