"""What CloudWatch is told, and that nothing of it is lost or told twice."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.core.model import Discard, DiscardReason, Failed, Fate, PartlyFailed, Refused, Succeeded
from poller.core.steps import (
    Deleted,
    Deliver,
    Delivered,
    Fetched,
    Invoke,
    Invoked,
    InvokeMessages,
    Received,
    Started,
    Ticked,
)
from poller.interfaces import Failure, Unit
from poller.observe.cloudwatch import MAPPINGS_PER_CALL, EventMetrics, Report
from poller.observe.tally import PRUNE_INTERVAL, UNSEEN_MAX, Tally
from tests.observe.values import NOW, QUEUE, SHARD, batch, messages, records, reports

AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
REGION = "us-east-1"
STARTED = (Started(), [])
FETCHED = (Fetched(records(5), 500, NOW, NOW), [])
INVOKE = (Ticked(), [Invoke(batch(1, records(5)))])
DELIVER = (
    Ticked(),
    [Deliver(Discard(DiscardReason.RETRIES_EXHAUSTED, batch(1, records(5)), Failed("boom")))],
)


class Scene:
    """A tally and what is to be told of it; `units` publish from the start."""

    def __init__(self, *units: Unit) -> None:
        self.tally = Tally()
        self.publishing = {unit.mapping: REGION for unit in units}
        self.metrics = EventMetrics(self.tally, self.publishing)
        for unit in units:
            self.saw(unit, STARTED)

    def saw(self, unit: Unit, *steps: tuple[Any, list[Any]], now: float = NOW) -> None:
        for fact, commands in steps:
            self.tally.saw(unit, fact, commands, now)
            self.metrics.saw(unit, fact, commands, now)

    def told(self) -> dict[str, Any]:
        """The values of one take, by metric; there is one mapping at most."""
        return {
            datum["MetricName"]: datum.get("Value", datum.get("StatisticValues"))
            for report in reports(self.metrics)
            for datum in report.metric_data(AT)
        }


@pytest.mark.parametrize(
    ("unit", "steps", "told"),
    [
        (SHARD, [FETCHED], {"PolledEventCount": 5, "FilteredOutEventCount": 0}),
        (
            SHARD,  # an empty poll
            [(Fetched([], 0, NOW, NOW), [])],
            {"PolledEventCount": 0, "FilteredOutEventCount": 0},
        ),
        (
            QUEUE,
            [(Received([], 0, 10, NOW), [])],
            {"PolledEventCount": 0, "FilteredOutEventCount": 0},
        ),
        (QUEUE, [(Ticked(), [InvokeMessages(messages(1, 5))])], {"InvokedEventCount": 5}),
        (
            QUEUE,
            [(Ticked(), [InvokeMessages(messages(1, 5))]), (Invoked(1, Succeeded()), [])],
            {"InvokedEventCount": 5, "FailedInvokeEventCount": 0},
        ),
        (
            QUEUE,  # all messages of a batch that reports failures
            [
                (Ticked(), [InvokeMessages(messages(1, 5))]),
                (Invoked(1, PartlyFailed(frozenset({2}))), []),
            ],
            {"InvokedEventCount": 5, "FailedInvokeEventCount": 5},
        ),
        (
            QUEUE,
            [(Ticked(), [InvokeMessages(messages(1, 5))]), (Invoked(1, Refused("429")), [])] * 2,
            {"InvokedEventCount": 10, "FailedInvokeEventCount": 10},
        ),
        (QUEUE, [(Deleted(4, 1), [])], {"DeletedEventCount": 4}),
        (QUEUE, [(Deleted(0, 5), [])], {"DeletedEventCount": 0}),
        (
            SHARD,
            [DELIVER, (Delivered(1, Fate.SENT), [])],
            {"OnFailureDestinationDeliveredEventCount": 5},
        ),
        (SHARD, [DELIVER, (Delivered(1, Fate.DROPPED), [])], {"DroppedEventCount": 5}),
        (SHARD, [DELIVER, (Delivered(1, Fate.KEPT), [])], {"DroppedEventCount": 5}),
        (SHARD, [(Ticked(), [])], {}),
    ],
)
def test_a_metric_has_a_value_where_aws_emits_one(
    unit: Unit, steps: list[tuple[Any, list[Any]]], told: dict[str, float]
) -> None:
    scene = Scene(unit)
    scene.saw(unit, *steps)
    assert scene.told() == told


def test_failed_deliveries_count_for_their_mapping() -> None:
    scene = Scene(SHARD)
    failure = Failure(SHARD.mapping, SHARD.function, "shardId-gone", "arn", "{}", "{}", "key", 1)
    scene.tally.destination_failed(failure, NOW)
    assert scene.told() == {"DestinationDeliveryFailures": 1}


def test_the_iterator_age_is_told_as_statistics_in_milliseconds() -> None:
    scene = Scene(SHARD)
    for age in (3.0, 1.0, 2.0):
        scene.saw(SHARD, INVOKE, now=NOW + age)
    assert scene.told()["IteratorAge"] == {
        "SampleCount": 3,
        "Sum": 6000,
        "Minimum": 1000,
        "Maximum": 3000,
    }
    assert scene.told() == {}


def test_a_value_is_as_putmetricdata_takes_it() -> None:
    scene = Scene(SHARD)
    scene.saw(SHARD, FETCHED)
    (report,) = reports(scene.metrics)
    assert report.region == REGION
    assert report.metric_data(AT)[0] == {
        "MetricName": "PolledEventCount",
        "Dimensions": [{"Name": "EventSourceMappingUUID", "Value": SHARD.mapping}],
        "Timestamp": AT,
        "Value": 5.0,
        "Unit": "Count",
    }


def test_only_mappings_that_publish_are_told_and_only_from_then_on() -> None:
    scene = Scene(QUEUE)
    scene.saw(SHARD, FETCHED, INVOKE)
    assert scene.told() == {}
    scene.publishing[SHARD.mapping] = REGION
    scene.saw(SHARD, STARTED, FETCHED)
    assert scene.told() == {"PolledEventCount": 5, "FilteredOutEventCount": 0}


def test_what_a_mapping_counted_before_it_left_is_told() -> None:
    scene = Scene(SHARD)
    scene.saw(SHARD, FETCHED)
    del scene.publishing[SHARD.mapping]
    assert scene.told() == {"PolledEventCount": 5, "FilteredOutEventCount": 0}
    scene.saw(SHARD, FETCHED, INVOKE)
    assert scene.told() == {}


def test_a_mapping_that_stops_to_publish_for_a_moment_is_not_told_of_that_moment() -> None:
    scene = Scene(SHARD)
    scene.saw(SHARD, FETCHED)
    del scene.publishing[SHARD.mapping]
    scene.saw(SHARD, STARTED, FETCHED)
    scene.publishing[SHARD.mapping] = REGION
    scene.saw(SHARD, STARTED, FETCHED)
    assert scene.told()["PolledEventCount"] == 10


def test_each_region_is_told_of_its_own_mappings() -> None:
    scene = Scene(SHARD)
    scene.publishing[QUEUE.mapping] = "eu-west-1"
    scene.saw(SHARD, FETCHED)
    scene.saw(QUEUE, STARTED, (Deleted(1), []))
    told = {report.region: set(report.mappings) for report in reports(scene.metrics)}
    assert told == {REGION: {SHARD.mapping}, "eu-west-1": {QUEUE.mapping}}


def test_a_call_has_no_more_than_putmetricdata_takes() -> None:
    units = [Unit(str(number), "f", SHARD.source_arn, "shard") for number in range(120)]
    scene = Scene(*units)
    failures = [Failure(unit.mapping, "f", "shard", "arn", "", "", "", 1) for unit in units]
    for unit, failure in zip(units, failures, strict=True):
        scene.saw(unit, FETCHED, INVOKE, (Invoked(1, Failed("")), []), (Deleted(1), []))
        scene.saw(unit, DELIVER, (Delivered(1, Fate.SENT), []))
        scene.saw(unit, DELIVER, (Delivered(1, Fate.DROPPED), []))
        scene.tally.destination_failed(failure, NOW)
    found = reports(scene.metrics)
    assert [len(report.mappings) for report in found] == [MAPPINGS_PER_CALL] * 2 + [20]
    sizes = [len(report.metric_data(AT)) for report in found]
    assert sizes == [9 * len(report.mappings) for report in found]  # every metric there is
    assert max(sizes) <= 1000


def test_a_shard_that_is_forgotten_takes_nothing_away() -> None:
    scene = Scene(SHARD)
    scene.saw(SHARD, FETCHED)
    scene.tally.prune(NOW + UNSEEN_MAX + PRUNE_INTERVAL)
    assert scene.tally.units == {}
    assert scene.told()["PolledEventCount"] == 5


def test_what_a_deleted_mapping_counted_is_told() -> None:
    scene = Scene(SHARD)
    scene.saw(SHARD, FETCHED)
    del scene.publishing[SHARD.mapping]
    for observer in (scene.tally, scene.metrics):
        observer.forget(SHARD.mapping)
    scene.tally.prune(NOW + UNSEEN_MAX + PRUNE_INTERVAL)
    assert scene.told() == {"PolledEventCount": 5, "FilteredOutEventCount": 0}
    assert scene.told() == {}


FETCHES = st.integers(0, 9).map(lambda count: (Fetched(records(count), 0, NOW, NOW), []))


@given(st.lists(FETCHES | st.just(INVOKE) | st.sampled_from(["arrives", "fails"])))
def test_whatever_fails_every_count_arrives_exactly_once(steps: list[Any]) -> None:
    scene = Scene(SHARD)
    arrived: list[Report] = []
    for step in [*steps, "arrives"]:
        match step:
            case "arrives":
                arrived += reports(scene.metrics)
            case "fails":
                for report in reports(scene.metrics):
                    scene.metrics.give_back(report)
            case _:
                scene.saw(SHARD, step)
    data = [datum for report in arrived for datum in report.metric_data(AT)]
    counts = scene.tally.of_mapping(SHARD.mapping)

    def total(metric: str) -> float:
        return sum(datum["Value"] for datum in data if datum["MetricName"] == metric)

    assert total("PolledEventCount") == counts.polled
    assert total("InvokedEventCount") == counts.invoked
    ages = [datum["StatisticValues"] for datum in data if datum["MetricName"] == "IteratorAge"]
    assert sum(age["SampleCount"] for age in ages) == counts.invoked / 5
