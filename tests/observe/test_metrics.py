"""What Prometheus gets to read."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from poller.core.model import ClosedBy, Failed, Succeeded
from poller.core.steps import Fetched, Invoke, Invoked, InvokeMessages, Ticked
from poller.errors import StateError
from poller.interfaces import Failure
from poller.observe.board import Board
from poller.observe.event_counts import EventTally
from poller.observe.event_metrics import event_metrics
from poller.observe.function_counts import FunctionTally
from poller.observe.function_metrics import function_metrics
from poller.observe.metrics import Metrics
from poller.observe.tally import Tally
from tests.observe.values import NOW, QUEUE, SHARD, Time, answer, batch, messages, records, snapshot

OPENMETRICS = "application/openmetrics-text; version=1.0.0,text/plain;version=0.0.4;q=0.5"
OF_SHARD = {"mapping": SHARD.mapping, "function": "orders", "shard": SHARD.shard}
OF_QUEUE = {"mapping": QUEUE.mapping, "function": "jobs", "shard": ""}
OF_FUNCTIONS = {
    family.name for family in (*function_metrics(FunctionTally()), *event_metrics(EventTally()))
}
OF_STREAM = {"mapping": SHARD.mapping, "function": "orders"}


class Watched:
    """A poller of one shard and one queue, as it is seen."""

    def __init__(self) -> None:
        self.tally, self.functions = Tally(), FunctionTally()
        self.board = Board(Time().now)
        self.events = EventTally()
        self.metrics = Metrics(self.tally, self.board, self.functions, self.events)
        for unit in (SHARD, QUEUE):
            self.board.add_mapping(
                unit.mapping,
                function=unit.function,
                source_arn=unit.source_arn,
                of_file=True,
                state="Enabled",
                backlog=None if unit.shard else answer(40),
            )
        self.look = snapshot(unsettled=2, in_flight=1, oldest=NOW - 30, blocked="boom")
        self.board.register(SHARD, snapshot=lambda: self.look, deadline=lambda: None)
        queue = snapshot(unsettled=3, in_flight=9, read_up_to=None)
        self.board.register(QUEUE, snapshot=lambda: queue, deadline=lambda: None)
        self._work()

    def _work(self) -> None:
        old = records(4, arrived_at=NOW - 30)
        saw = self.tally.saw
        saw(SHARD, Fetched(old, 400, NOW, NOW), [Invoke(batch(1, old))], NOW)
        again = Invoke(batch(2, old, ClosedBy.RETRY, attempts=1))
        saw(SHARD, Invoked(1, Failed("boom")), [again], NOW + 2)
        saw(SHARD, Invoked(2, Succeeded()), [Invoke(batch(3, records(2)))], NOW + 2.5)
        saw(QUEUE, Ticked(), [InvokeMessages(messages(1, 3))], NOW)
        failure = Failure(SHARD.mapping, "orders", SHARD.shard, "arn", "{}", "{}", "key", 4)
        self.tally.destination_failed(failure, NOW)

    async def families(self, accept: str = "") -> dict[str, Metric]:
        body, _ = await self.metrics.expose(accept)
        parse = parse_openmetrics if "openmetrics" in accept else parse_text
        return {family.name: family for family in parse(body.decode())}

    async def values(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in (await self.families()).values()
            for sample in family.samples
        }


@pytest.fixture
def watched() -> Watched:
    return Watched()


def series(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


async def test_every_count_and_every_look_has_its_series(watched: Watched) -> None:
    values = await watched.values()
    expected = {
        series("poller_records_polled_total", **OF_SHARD): 4,
        series("poller_records_filtered_total", **OF_SHARD): 0,
        series("poller_records_invoked_total", **OF_SHARD): 10,
        series("poller_records_failed_total", **OF_SHARD): 4,
        series("poller_records_succeeded_total", **OF_SHARD): 4,
        series("poller_retries_total", **OF_SHARD): 1,
        series("poller_invocations_total", **OF_SHARD, outcome="succeeded"): 1,
        series("poller_invocations_total", **OF_SHARD, outcome="failed"): 1,
        series("poller_invocations_total", **OF_SHARD, outcome="refused"): 0,
        series("poller_batches_closed_total", **OF_SHARD, reason="count"): 2,
        series("poller_batches_closed_total", **OF_QUEUE, reason="window"): 1,
        series("poller_invocation_seconds_total", **OF_SHARD): 2.5,
        series("poller_destination_failures_total", **OF_SHARD): 1,
        series("poller_invocation_duration_seconds_count", **OF_STREAM): 2,
        series("poller_invocation_duration_seconds_sum", **OF_STREAM): 2.5,
        series("poller_invocation_duration_seconds_bucket", **OF_STREAM, le="0.25"): 0,
        series("poller_invocation_duration_seconds_bucket", **OF_STREAM, le="0.5"): 1,
        series("poller_invocation_duration_seconds_bucket", **OF_STREAM, le="2.5"): 2,
        series("poller_invocation_duration_seconds_bucket", **OF_STREAM, le="+Inf"): 2,
        series("poller_batch_records_bucket", **OF_STREAM, le="2.0"): 1,
        series("poller_batch_records_sum", **OF_STREAM): 6,
        series("poller_iterator_age_seconds", **OF_SHARD): 2.5,
        series("poller_lag_seconds", **OF_SHARD): 30,
        series("poller_in_flight", **OF_SHARD): 1,
        series("poller_in_flight", **OF_QUEUE): 1,
        series("poller_unsettled_records", **OF_SHARD): 2,
        series("poller_unsettled_bytes", **OF_SHARD): 200,
        series("poller_blocked", **OF_SHARD): 1,
        series("poller_blocked", **OF_QUEUE): 0,
        series("poller_backlog_records", mapping=QUEUE.mapping, function="jobs"): 43,
        series("poller_mapping_state", **OF_STREAM, source=SHARD.source_arn, state="Enabled"): 1,
    }
    assert {key: values.get(key) for key in expected} == expected
    assert series("poller_iterator_age_seconds", **OF_QUEUE) not in values
    assert series("poller_lag_seconds", **OF_QUEUE) not in values


async def test_help_says_which_metric_of_aws_a_series_of_mappings_is(watched: Watched) -> None:
    families = await watched.families()
    named = {
        family.documentation.partition("AWS: ")[2]: name
        for name, family in families.items()
        if "AWS: " in family.documentation and name not in OF_FUNCTIONS
    }
    assert named == {
        "PolledEventCount.": "poller_records_polled",
        "FilteredOutEventCount.": "poller_records_filtered",
        "InvokedEventCount.": "poller_records_invoked",
        "FailedInvokeEventCount.": "poller_records_failed",
        "DroppedEventCount with poller_records_kept_total.": "poller_records_dropped",
        "DroppedEventCount with poller_records_dropped_total.": "poller_records_kept",
        "OnFailureDestinationDeliveredEventCount.": "poller_records_delivered",
        "DeletedEventCount.": "poller_records_deleted",
        "DestinationDeliveryFailures.": "poller_destination_failures",
        "IteratorAge, in milliseconds.": "poller_iterator_age_seconds",
    }


@pytest.mark.parametrize("accept", ["", "text/plain", OPENMETRICS])
async def test_names_follow_the_rules_of_prometheus(watched: Watched, accept: str) -> None:
    families = await watched.families(accept)
    assert families
    for family in families.values():
        assert family.documentation.endswith(".")
        assert not re.search(r"_(milliseconds|ms|minutes|kilobytes)(_|$)", family.name)
        for sample in family.samples:
            assert re.fullmatch(r"poller_[a-z_]+", sample.name)
            if family.type == "counter":
                assert sample.name.endswith("_total")
                assert sample.value >= 0
            assert not sample.labels.keys() & {"job", "instance"}


async def test_both_formats_say_the_same(watched: Watched) -> None:
    def samples(families: dict[str, Metric]) -> Iterator[tuple[str, frozenset[tuple[str, str]]]]:
        for family in families.values():
            for sample in family.samples:
                if not sample.name.startswith("poller_process_"):
                    yield sample.name, frozenset(sample.labels.items())

    assert set(samples(await watched.families())) == set(
        samples(await watched.families(OPENMETRICS))
    )


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        (OPENMETRICS, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
    ],
)
async def test_the_content_type_says_which_format(
    watched: Watched, accept: str, content_type: str
) -> None:
    _, actual = await watched.metrics.expose(accept)
    assert actual.startswith(content_type)


async def test_the_iterator_age_falls_to_zero_once_caught_up(watched: Watched) -> None:
    watched.look = snapshot(caught_up=True)
    values = await watched.values()
    assert values[series("poller_iterator_age_seconds", **OF_SHARD)] == 0
    assert values[series("poller_lag_seconds", **OF_SHARD)] == 0


async def test_a_shard_that_ended_has_counts_for_a_while_but_nothing_of_now(
    watched: Watched,
) -> None:
    watched.board.unregister(SHARD)
    values = await watched.values()
    assert values[series("poller_records_polled_total", **OF_SHARD)] == 4
    assert series("poller_lag_seconds", **OF_SHARD) not in values
    assert series("poller_iterator_age_seconds", **OF_SHARD) not in values


async def test_kept_documents_are_counted_where_the_store_can_tell() -> None:
    async def seven() -> int:
        return 7

    async def locked() -> int:
        raise StateError("poller.db is locked")

    board = Board(Time().now)
    body, _ = await Metrics(Tally(), board, FunctionTally(), EventTally(), count_kept=seven).expose(
        ""
    )
    assert b"\npoller_kept_failures 7.0\n" in body
    body, _ = await Metrics(
        Tally(), board, FunctionTally(), EventTally(), count_kept=locked
    ).expose("")
    assert b"poller_kept_failures" not in body
    assert b"poller_build_info{" in body
