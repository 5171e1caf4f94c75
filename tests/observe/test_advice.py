"""Warnings about responses, each kind once."""

from __future__ import annotations

import logging

import pytest

from poller.core.model import Failed, PartlyFailed, Refused, Succeeded, TooLarge
from poller.core.steps import Invoked, Ticked
from poller.interfaces import Unit
from poller.observe import advice
from poller.observe.advice import Advice
from poller.wire.findings import Finding, Kind
from tests.observe.values import NOW, QUEUE, SHARD

WRONG_KEY = Finding(Kind.WRONG_KEY, "it has X, so all counted as done; write Y")
NOT_JSON = Finding(Kind.NOT_JSON, "it is not JSON, so the whole batch failed; return nothing")
OTHER_SHARD = Unit(SHARD.mapping, SHARD.function, SHARD.source_arn, "shardId-000000000002")
OTHER_FUNCTION = Unit(SHARD.mapping, "orders:live", SHARD.source_arn, SHARD.shard)


def test_each_kind_is_one_warning_for_a_mapping_and_function(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watching = Advice()
    for unit in (SHARD, OTHER_SHARD, SHARD, QUEUE, OTHER_FUNCTION):
        for outcome in (
            Succeeded(findings=(WRONG_KEY,)),
            Failed("", findings=(NOT_JSON, WRONG_KEY)),
            PartlyFailed(frozenset({0}), findings=(NOT_JSON,)),
        ):
            watching.saw(unit, Invoked(1, outcome), [], NOW)
    given = [(each.mapping, each.function, each.kind) for each in caplog.records]  # type: ignore[attr-defined]
    assert given == [
        (unit.mapping, unit.function, kind)
        for unit in (SHARD, QUEUE, OTHER_FUNCTION)
        for kind in ("wrong-key", "not-json")
    ]
    first = caplog.records[0]
    assert first.levelno == logging.WARNING
    assert first.message == f"the function's response looks like a mistake: {WRONG_KEY.text}"
    assert first.__dict__["shard"] == SHARD.shard
    assert "shard" not in caplog.records[2].__dict__


def test_what_is_in_order_is_not_mentioned(caplog: pytest.LogCaptureFixture) -> None:
    watching = Advice()
    odd_in_nothing = (Succeeded(), Failed("boom"), PartlyFailed(frozenset({0})))
    for outcome in (*odd_in_nothing, Refused("429"), TooLarge("413")):
        watching.saw(SHARD, Invoked(1, outcome), [], NOW)
    watching.saw(SHARD, Ticked(), [], NOW)
    assert caplog.records == []


def test_what_was_said_is_remembered_within_bounds(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(advice, "REMEMBERED_MAX", 2)
    watching = Advice()
    for function in "abca":
        unit = Unit("mapping", function, SHARD.source_arn, SHARD.shard)
        watching.saw(unit, Invoked(1, Succeeded(findings=(WRONG_KEY,))), [], NOW)
    assert [each.__dict__["function"] for each in caplog.records] == list("abca")
