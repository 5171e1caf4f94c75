"""LastProcessingResult, as AWS words it."""

from __future__ import annotations

import pytest

from poller.core.model import Failed, Outcome, PartlyFailed, Refused, Succeeded, TooLarge
from poller.core.steps import Fetched, Invoke, Invoked, Ticked
from poller.interfaces import Unit
from poller.observe.results import Results
from tests.observe.values import NOW, QUEUE, SHARD, batch, records

OTHER_SHARD = Unit(SHARD.mapping, SHARD.function, SHARD.source_arn, "shardId-000000000002")
PROBLEM = "PROBLEM: Function call failed"


def ended(results: Results, outcome: Outcome, unit: Unit = SHARD) -> str:
    results.saw(unit, Invoked(1, outcome), [], NOW)
    return results.of(unit.mapping)


def test_until_an_invocation_has_ended_there_is_no_result() -> None:
    results = Results()
    results.saw(SHARD, Fetched(records(1), 100, NOW, NOW), [], NOW)
    results.saw(SHARD, Ticked(), [Invoke(batch(1, records(1)))], NOW)
    assert results.of(SHARD.mapping) == "No records processed"
    assert results.take_changed() == {}


@pytest.mark.parametrize(
    ("outcome", "result"),
    [
        (Succeeded(), "OK"),
        (PartlyFailed(frozenset({0})), "OK"),
        (Failed("boom"), PROBLEM),
        (Failed("bad response", bisectable=False), PROBLEM),
        (Refused("429"), PROBLEM),
        (TooLarge("413"), PROBLEM),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_the_result_is_that_of_the_last_invocation(outcome: Outcome, result: str) -> None:
    results = Results()
    assert ended(results, outcome) == result
    assert ended(results, Failed("boom"), OTHER_SHARD) == PROBLEM
    assert ended(results, Succeeded(), OTHER_SHARD) == "OK"
    assert results.of(QUEUE.mapping) == "No records processed"


def test_what_changed_is_taken_once() -> None:
    results = Results()
    ended(results, Failed("boom"))
    ended(results, Succeeded())
    ended(results, Succeeded(), QUEUE)
    assert results.take_changed() == {SHARD.mapping: "OK", QUEUE.mapping: "OK"}
    ended(results, Succeeded())
    assert results.take_changed() == {}


def test_a_result_of_an_earlier_run_stands_until_there_is_a_newer_one() -> None:
    results = Results()
    results.restore(SHARD.mapping, PROBLEM)
    assert results.of(SHARD.mapping) == PROBLEM
    assert results.take_changed() == {}
    ended(results, Succeeded())
    results.restore(SHARD.mapping, PROBLEM)
    assert results.of(SHARD.mapping) == "OK"


def test_a_forgotten_mapping_leaves_nothing() -> None:
    results = Results()
    ended(results, Succeeded())
    results.forget(SHARD.mapping)
    results.forget(SHARD.mapping)
    assert results.of(SHARD.mapping) == "No records processed"
    assert results.take_changed() == {}
