"""What Prometheus scrapes: the counts of the tally, and gauges read from the board when asked.

Every name begins with `poller_`.  Series have the labels mapping (UUID), function and shard (empty
for a queue); histograms and gauges of a whole mapping have no shard.  Nothing is stored here.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from poller import __version__
from poller.errors import StateError

from .board import Board, Running, waiting_records
from .counts import Counts, Histogram
from .tally import Tally

OF_MAPPING = ("mapping", "function")
OF_SHARD = ("mapping", "function", "shard")


@dataclass(frozen=True, slots=True)
class CounterRow:
    """One counter: `fields` are names of `Counts`, by value of `label` if there is one."""

    name: str
    help: str
    fields: tuple[tuple[str, str], ...]
    label: str | None = None


def _plain(name: str, field: str, text: str) -> CounterRow:
    return CounterRow(name, text, (("", field),))


COUNTER_ROWS = (
    _plain("poller_fetches_total", "fetches", "Polls that were answered, also by nothing."),
    _plain("poller_fetch_failures_total", "fetch_failures", "Polls that brought an error."),
    _plain("poller_records_polled_total", "polled", "Records or messages read."),
    _plain("poller_records_filtered_total", "filtered", "Records that matched no filter."),
    _plain("poller_records_invoked_total", "invoked", "Records sent, again with each retry."),
    _plain("poller_records_succeeded_total", "succeeded", "Records that the function finished."),
    _plain(
        "poller_records_failed_total",
        "failed",
        "Records of invocations that did not wholly succeed.",
    ),
    _plain(
        "poller_records_dropped_total", "dropped", "Records given up that no destination records."
    ),
    _plain(
        "poller_records_delivered_total", "delivered", "Records given up that a destination has."
    ),
    _plain(
        "poller_records_kept_total",
        "kept",
        "Records given up whose failure document is kept, since its destination failed.",
    ),
    _plain("poller_records_deleted_total", "deleted", "Messages deleted from their queue."),
    _plain("poller_delete_failures_total", "delete_failures", "Messages that were not deleted."),
    CounterRow(
        "poller_invocations_total",
        "Invocations that ended; refused ones never reached the function.",
        (
            ("succeeded", "invocations_succeeded"),
            ("partly_failed", "invocations_partly_failed"),
            ("failed", "invocations_failed"),
            ("refused", "invocations_refused"),
        ),
        "outcome",
    ),
    _plain(
        "poller_invocation_seconds_total",
        "invocation_seconds",
        "Seconds that invocations took which reached the function.",
    ),
    CounterRow(
        "poller_batches_closed_total",
        "Batches sent for the first time, by why they closed.",
        (
            ("count", "closed_by_count"),
            ("bytes", "closed_by_bytes"),
            ("window", "closed_by_window"),
            ("flush", "closed_by_flush"),
        ),
        "reason",
    ),
    _plain("poller_retries_total", "retries", "Invocations of records that had been sent before."),
    _plain("poller_checkpoints_total", "checkpoints", "Positions stored."),
    _plain(
        "poller_destination_failures_total",
        "destination_failures",
        "Attempts to deliver to a failure destination that went wrong.",
    ),
)


class Metrics(Collector):
    """Reads `tally` and `board` when scraped.

    `count_kept` tells how many failure documents the state store keeps (`Store.count_kept`).
    """

    def __init__(
        self, tally: Tally, board: Board, *, count_kept: Callable[[], Awaitable[int]] | None = None
    ) -> None:
        self.registry = CollectorRegistry()
        self._tally = tally
        self._board = board
        self._count_kept = count_kept
        self._kept: int | None = None
        self.registry.register(self)
        ProcessCollector(namespace="poller", registry=self.registry)

    async def expose(self, accept: str) -> tuple[bytes, str]:
        """The exposition and its content type, in the format that `accept` asks for."""
        await self._board.ask_backlogs()
        if self._count_kept is not None:
            try:
                self._kept = await self._count_kept()
            except StateError:  # all the other numbers are still worth having
                self._kept = None
        encode, content_type = choose_encoder(accept)
        # Machines may be looked into only here; writing megabytes of text is for another thread.
        found = _Collected(tuple(self.registry.collect()))
        return await asyncio.to_thread(encode, found), content_type

    def collect(self) -> Iterator[Metric]:
        self._tally.prune(self._board.now())
        running = self._board.running()
        yield _build_info()
        yield from self._counters()
        yield from self._histograms()
        yield from _shard_gauges(running)
        yield from self._tallied_gauges(running)
        yield from self._mapping_gauges(running)
        if self._kept is not None:
            yield GaugeMetricFamily(
                "poller_kept_failures",
                "Failure documents that wait in the state store for their destination.",
                value=self._kept,
            )

    def _counters(self) -> Iterator[Metric]:
        units = [
            ((unit.mapping, unit.function, unit.shard), tally.counts)
            for unit, tally in self._tally.units.items()
        ]
        for row in COUNTER_ROWS:
            yield _counter(row, units)

    def _histograms(self) -> Iterator[Metric]:
        duration = HistogramMetricFamily(
            "poller_invocation_duration_seconds",
            "How long invocations took which reached the function.",
            labels=OF_MAPPING,
        )
        sizes = HistogramMetricFamily(
            "poller_batch_records",
            "How many records each batch had as it closed.",
            labels=OF_MAPPING,
        )
        for labels, histograms in self._tally.histograms.items():
            duration.add_metric(labels, *_cumulative(histograms.duration))
            sizes.add_metric(labels, *_cumulative(histograms.batch_records))
        yield duration
        yield sizes

    def _tallied_gauges(self, running: Sequence[Running]) -> Iterator[Metric]:
        """The iterator age is 0 where a shard is caught up, so that an alert on it ends.

        AWS emits nothing while idle; but a gauge without a value looks like one that was lost.
        """
        units = self._tally.units
        seen = [(each, units[each.unit]) for each in running if each.unit in units]
        ages = (
            (each, 0.0 if each.behind == 0.0 else tally.iterator_age)
            for each, tally in seen
            if each.unit.shard
        )
        yield _gauge(
            "poller_iterator_age_seconds",
            "Age of the last record of the latest batch when it was sent; 0 while caught up.",
            ages,
        )
        yield _gauge(
            "poller_in_flight",
            "Invocations under way.",
            ((each, tally.in_flight) for each, tally in seen),
        )

    def _mapping_gauges(self, running: Sequence[Running]) -> Iterator[Metric]:
        states = GaugeMetricFamily(
            "poller_mapping_state",
            "1 for the state that a mapping is in.",
            labels=("mapping", "function", "source", "state"),
        )
        backlog = GaugeMetricFamily(
            "poller_backlog_records",
            "Messages that wait in the queue or here, as far as is known.",
            labels=OF_MAPPING,
        )
        for status in self._board.mappings():
            labels = (status.uuid, status.function)
            states.add_metric((*labels, status.source_arn, status.state), 1)
            mine = (each for each in running if each.unit.mapping == status.uuid)
            waiting = waiting_records(status, mine)
            if waiting is not None:
                backlog.add_metric(labels, waiting)
        yield states
        yield backlog


class _Collected:
    """Families that were collected already, as an encoder wants them."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Sequence[Metric]:
        return self._families


def _build_info() -> Metric:
    versions = {"version": __version__, "python": platform.python_version()}
    return InfoMetricFamily("poller_build", "Which poller this is.", value=versions)


def _counter(row: CounterRow, units: Sequence[tuple[tuple[str, ...], Counts]]) -> Metric:
    labels = OF_SHARD if row.label is None else (*OF_SHARD, row.label)
    family = CounterMetricFamily(row.name, row.help, labels=labels)
    for of_shard, counts in units:
        for value, field in row.fields:
            family.add_metric((*of_shard, value)[: len(labels)], getattr(counts, field))
    return family


def _cumulative(histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
    """Buckets as Prometheus counts them, each with all that lie below it, and the sum."""
    buckets: list[tuple[str, float]] = []
    seen = 0
    for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
        seen += count
        buckets.append(("+Inf" if bound == float("inf") else str(bound), seen))
    return buckets, histogram.total


def _shard_gauges(running: Sequence[Running]) -> Iterator[Metric]:
    shots = [(each, each.snapshot) for each in running]
    yield _gauge(
        "poller_lag_seconds",
        "How far behind: the same number as in /lag.",
        ((each, each.behind) for each in running),
    )
    yield _gauge(
        "poller_unsettled_records",
        "Records read that are not settled yet.",
        ((each, shot.unsettled) for each, shot in shots),
    )
    yield _gauge(
        "poller_unsettled_bytes",
        "Bytes of the records of streams that are not settled yet.",
        ((each, shot.unsettled_bytes) for each, shot in shots if each.unit.shard),
    )
    yield _gauge(
        "poller_blocked",
        "1 while a batch waits to be tried again.",
        ((each, int(shot.blocked is not None)) for each, shot in shots),
    )


def _gauge(name: str, text: str, values: Iterable[tuple[Running, float | None]]) -> Metric:
    """One series for each value that is not None."""
    family = GaugeMetricFamily(name, text, labels=OF_SHARD)
    for each, value in values:
        unit = each.unit
        if value is not None:
            family.add_metric((unit.mapping, unit.function, unit.shard), value)
    return family
