"""Alerts and dashboard ask for metrics, labels and values that poller has."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping

import pytest

from poller.core.event_steps import EventResult
from poller.core.lifecycle import State
from poller.observe.board import Board
from poller.observe.counters import COUNTERS
from poller.observe.event_counts import EventTally
from poller.observe.function_counts import FunctionTally
from poller.observe.metrics import Metrics
from poller.observe.tally import Tally
from tests.deploy.queries import (
    TESTS,
    Query,
    of_alert_tests,
    of_alerts,
    of_dashboard,
    panels,
    rules,
)

OF_PROMETHEUS = {"instance", "job", "le"}
SAMPLES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "info": ("_info",)}
QUERIES = of_alerts() + of_alert_tests() + of_dashboard()
VALUES = {
    "outcome": {value for each in COUNTERS if each.label == "outcome" for value, _ in each.fields},
    "reason": {
        *(value for each in COUNTERS if each.label == "reason" for value, _ in each.fields),
        *(str(reason) for reason in EventResult),
    },
    "state": {str(state) for state in State},
}


@functools.cache
def exposed() -> Mapping[str, frozenset[str]]:
    """The labels of each series that poller may have, by its name."""

    async def none_kept() -> int:
        return 0

    metrics = Metrics(
        Tally(), Board(lambda: 0.0), FunctionTally(), EventTally(), count_kept=none_kept
    )
    asyncio.run(metrics.expose(""))
    return {
        family.name + suffix: frozenset(getattr(family, "_labelnames", ()))
        for family in metrics.registry.collect()
        for suffix in SAMPLES.get(family.type, ("",))
    }


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.place)
def test_a_query_asks_for_what_there_is(query: Query) -> None:
    known = exposed()
    for series in query.series():
        assert series.metric in known, f"{query.place}: {series.metric} does not exist"
        labels = known[series.metric] | OF_PROMETHEUS
        assert series.labels.keys() | query.labels <= labels, f"{query.place}: {series.metric}"
        for label, values in series.labels.items():
            assert set(values) <= VALUES.get(label, set(values)), f"{query.place}: {label}"


def test_every_query_asks_for_something_of_poller() -> None:
    silent = {query.place for query in QUERIES if not list(query.series())}

    assert silent == {"PollerDown", *(q.place for q in QUERIES if q.text.startswith("up{"))}


def test_every_alert_is_shown_to_fire() -> None:
    fired = {
        sample["labels"]
        for test in TESTS["tests"]
        for expected in test.get("promql_expr_test", ())
        for sample in expected["exp_samples"]
    }

    assert {f'{{alertname="{rule["alert"]}"}}' for rule in rules()} == fired


def test_the_panels_of_the_dashboard_do_not_overlap() -> None:
    places = [
        (x, y)
        for panel in panels()
        for grid in [panel["gridPos"]]
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]

    assert len(places) == len(set(places))
    assert all(x < 24 for x, _ in places)
    identities = [panel["id"] for panel in panels()]
    assert len(identities) == len(set(identities))
