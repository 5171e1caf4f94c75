"""What is counted and said of queued events, from what their machine sees and does."""

from __future__ import annotations

import logging
import random
from dataclasses import replace
from typing import Any, Protocol

import pytest

from poller.core.event_steps import EventCommand, EventFact
from poller.core.model import Failed, Refused, Succeeded
from poller.core.policy import EventPolicy
from poller.event_queue import Backlog
from poller.interfaces import Failure
from poller.observe.board import Board
from poller.observe.event_counts import EventTally
from poller.observe.event_decisions import EventDecisions
from poller.observe.function_counts import FunctionTally
from poller.observe.metrics import Metrics
from poller.observe.tally import Tally
from poller.wire.invocation_records import Notice
from tests.core.event_lives import EventWorld, Outcome
from tests.observe.values import Time

FAILED, RAN, BUSY = Failed("ValueError: no"), Succeeded(), Refused("busy")
LETTER = Failure("", "work", "", "arn", "{}", "", "key", 1, Notice("r", "arn", False, "", True))


class Observer(Protocol):
    def saw_event(self, function: str, fact: Any, commands: Any, now: float) -> None: ...


def lives(outcomes: list[Outcome], policy: EventPolicy, *observers: Observer) -> None:
    """The whole life of one event of function `work`, as the observers see it."""
    left = iter(outcomes)

    def saw(fact: EventFact, commands: list[EventCommand], now: float) -> None:
        for observer in observers:
            observer.saw_event("work", fact, commands, now)

    world = EventWorld(policy, lambda event, rng: next(left), random.Random(0), saw=saw)
    world.accept_at(world.now)
    assert world.live()


@pytest.mark.parametrize("told", [True, False])
def test_events_are_counted_with_lambdas_meanings(told: bool) -> None:
    tally = EventTally()
    policy = EventPolicy(tells_failure=told, tells_success=told)

    lives([FAILED] * 3, policy, tally)
    lives([BUSY, FAILED, RAN], policy, tally)
    lives([FAILED], replace(policy, age_max=60.0), tally)

    counts = tally.of("work")
    assert counts.received == 3
    assert counts.dropped == {"RetriesExhausted": 1, "EventAgeExceeded": 1}
    assert sum(counts.age.counts) == 7
    assert counts.age.total == (60 + 180) + (1 + 61)


def test_failed_deliveries_are_counted_apart_from_dead_letters() -> None:
    tally = EventTally()

    tally.delivery_failed(LETTER)
    tally.delivery_failed(replace(LETTER, notice=Notice("r", "arn", False)))
    tally.delivery_failed(replace(LETTER, notice=Notice("r", "arn", True)))

    counts = tally.of("work")
    assert (counts.dead_letter_errors, counts.delivery_failures) == (1, 2)


def test_functions_that_are_gone_are_forgotten() -> None:
    tally = EventTally()
    tally.of("work")
    tally.of("gone")

    tally.keep({"work", "new"})

    assert tally.functions.keys() == {"work"}


async def test_metrics_have_a_series_for_each_function_with_events() -> None:
    tally = EventTally()
    lives([FAILED] * 3, EventPolicy(), tally)
    tally.delivery_failed(LETTER)
    tally.delivery_failed(replace(LETTER, notice=Notice("r", "arn", False)))
    tally.backlogs = {"work": Backlog(3, 10), "other": Backlog(1, 1)}

    body, _ = await Metrics(Tally(), Board(Time().now), FunctionTally(), tally).expose("")

    for line in (
        'poller_async_events_received_total{function="work"} 1.0',
        'poller_async_events_dropped_total{function="work",reason="RetriesExhausted"} 1.0',
        'poller_async_events_dropped_total{function="work",reason="EventAgeExceeded"} 0.0',
        'poller_async_event_age_seconds_count{function="work"} 3.0',
        'poller_async_event_age_seconds_sum{function="work"} 240.0',
        'poller_dead_letter_errors_total{function="work"} 1.0',
        'poller_destination_failures_total{function="work",mapping="",shard=""} 1.0',
        'poller_async_events_queued{function="work"} 3.0',
        'poller_async_events_queued{function="other"} 1.0',
    ):
        assert line in body.decode().splitlines()
    for name in ("AsyncEventsReceived", "AsyncEventsDropped", "AsyncEventAge", "DeadLetterErrors"):
        assert f"AWS: {name}" in body.decode()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def fields(record: logging.LogRecord, *names: str) -> tuple[object, ...]:
    return tuple(getattr(record, name) for name in names)


@pytest.mark.parametrize(
    ("told", "fate"),
    [(True, "it is sent on"), (False, "there is nowhere to send it, so it is dropped")],
)
def test_an_event_that_is_given_up_is_a_line(
    log: pytest.LogCaptureFixture, told: bool, fate: str
) -> None:
    lives([FAILED] * 3, EventPolicy(tells_failure=told), EventDecisions())

    (given_up,) = [each for each in log.records if "given up" in each.getMessage()]
    assert given_up.levelno == logging.WARNING
    assert given_up.getMessage() == f"a queued event is given up; {fate}"
    assert fields(given_up, "function", "request", "reason", "attempts", "age") == (
        "work",
        "request-1",
        "RetriesExhausted",
        3,
        "180.0s",
    )


def test_a_function_that_fails_says_when_it_is_tried_again_and_when_it_works(
    log: pytest.LogCaptureFixture,
) -> None:
    lives([FAILED, RAN], EventPolicy(), EventDecisions())

    failed, works = log.records
    assert failed.getMessage() == "the function failed"
    assert fields(failed, "function", "request", "error", "attempt", "again_in") == (
        "work",
        "request-1",
        "ValueError: no",
        1,
        "60.0s",
    )
    assert works.getMessage() == "the function works again"


def test_a_function_that_is_not_reached_is_two_lines(log: pytest.LogCaptureFixture) -> None:
    lives([BUSY] * 4 + [RAN], EventPolicy(), EventDecisions())

    assert [each.getMessage() for each in log.records] == [
        "the function is not reached",
        "the function is reached again",
    ]


def test_a_flood_of_events_given_up_is_ten_lines_a_minute(log: pytest.LogCaptureFixture) -> None:
    decisions = EventDecisions()
    for _ in range(50):
        lives([FAILED], EventPolicy(retries_max=0), decisions)

    assert len([each for each in log.records if "given up" in each.getMessage()]) == 10
