"""What happens to functions is counted with Lambda's meanings, and shown in /metrics."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from poller.interfaces import Errored, NotReached, Ran, Reply
from poller.observe.board import Board
from poller.observe.event_counts import EventTally
from poller.observe.function_counts import FunctionCounts, FunctionTally
from poller.observe.metrics import Metrics
from poller.observe.tally import Tally
from tests.observe.values import Time

NAMES = ("invocations", "errors", "throttles", "not_reached")


def counted(counts: FunctionCounts) -> dict[str, int]:
    """What is not 0, with how many durations there are."""
    numbers = {name: getattr(counts, name) for name in NAMES}
    numbers["durations"] = sum(counts.duration.counts)
    return {name: number for name, number in numbers.items() if number}


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Ran(b""), {"invocations": 1, "durations": 1}),
        (Errored("E", "no"), {"invocations": 1, "errors": 1, "durations": 1}),
        (NotReached("full", throttled=True), {"throttles": 1}),
        (NotReached("no connection"), {"not_reached": 1}),
        (None, {}),
    ],
)
def test_only_what_ran_is_an_invocation(reply: Reply | None, expected: dict[str, int]) -> None:
    counts = FunctionCounts()
    counts.began()
    running = counts.running
    counts.ended(reply, 1.5)
    assert (counted(counts), running, counts.running) == (expected, 1, 0)


def test_what_found_no_slot_is_a_throttle_and_nothing_else() -> None:
    counts = FunctionCounts()
    counts.throttled()
    assert (counted(counts), counts.running) == ({"throttles": 1}, 0)


def test_a_function_that_left_the_config_is_forgotten_and_the_others_count_on() -> None:
    tally = FunctionTally()
    stays, goes = tally.of("stays"), tally.of("goes")
    stays.throttled()
    goes.throttled()
    tally.keep({"stays"})
    assert (tally.of("stays").throttles, tally.of("goes").throttles) == (1, 0)


async def test_metrics_have_a_series_for_each_function_and_name_those_of_lambda() -> None:
    tally = FunctionTally()
    orders = tally.of("orders")
    for reply in (Ran(b""), Errored("E", "no"), NotReached("full", throttled=True), Ran(b"")):
        orders.began()
        orders.ended(reply, 2.0)
    tally.of("jobs:live").began()
    orders.began()
    body, _ = await Metrics(Tally(), Board(Time().now), tally, EventTally()).expose("")
    families = {family.name: family for family in parse_text(body.decode())}
    mine = [name for name in families if name.startswith("poller_function_")]
    values = {
        (sample.name, sample.labels.get("function")): sample.value
        for name in (*mine, "poller_concurrent_executions")
        for sample in families[name].samples
        if sample.value and "le" not in sample.labels
    }
    aws = {name: families[name].documentation.partition("AWS: ")[2] for name in mine}

    assert values == {
        ("poller_function_invocations_total", "orders"): 3,
        ("poller_function_errors_total", "orders"): 1,
        ("poller_function_throttles_total", "orders"): 1,
        ("poller_function_duration_seconds_count", "orders"): 3,
        ("poller_function_duration_seconds_sum", "orders"): 6,
        ("poller_function_concurrent_executions", "orders"): 1,
        ("poller_function_concurrent_executions", "jobs:live"): 1,
        ("poller_concurrent_executions", None): 2,
    }
    assert aws == {
        "poller_function_invocations": "Invocations.",
        "poller_function_errors": "Errors.",
        "poller_function_throttles": "Throttles.",
        "poller_function_not_reached": "",
        "poller_function_duration_seconds": "Duration, in milliseconds.",
        "poller_function_concurrent_executions": "ConcurrentExecutions.",
    }
