"""What Prometheus scrapes: the counts of the tally, and gauges read from the board when asked.

Every name begins with `poller_`.  Series have the labels mapping (UUID), function and shard (empty
for a queue); histograms and gauges of a whole mapping have no shard, those of a declared function
(`poller_function_...`) have its key alone.  Nothing is stored here.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

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

from .board import Board, Running, by_mapping, waiting_records
from .counters import COUNTERS, DESTINATION_FAILURES, Counter
from .counts import Counts, cumulative
from .event_counts import EventTally
from .event_metrics import event_metrics
from .function_counts import FunctionTally
from .function_metrics import function_metrics
from .tally import Tally

OF_MAPPING = ("mapping", "function")
OF_SHARD = ("mapping", "function", "shard")


class Metrics(Collector):
    """Reads `tally`, `board`, `functions` and `events` when scraped.

    `count_kept` tells how many failure documents the state store keeps (`Store.count_kept`).
    """

    def __init__(
        self,
        tally: Tally,
        board: Board,
        functions: FunctionTally,
        events: EventTally,
        *,
        count_kept: Callable[[], Awaitable[int]] | None = None,
    ) -> None:
        self.registry = CollectorRegistry()
        self._tally = tally
        self._board = board
        self._functions = functions
        self._events = events
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
        for name, text, value in _OF_SNAPSHOT:
            yield _gauge(name, text, ((each, value(each)) for each in running))
        yield from self._tallied_gauges(running)
        yield from self._mapping_gauges(running)
        yield from function_metrics(self._functions)
        yield from event_metrics(self._events)
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
        for counter in COUNTERS:
            family = _counter(counter, units)
            if counter.name == DESTINATION_FAILURES:  # of queued events, of no mapping
                for function, counts in self._events.functions.items():
                    family.add_metric(("", function, ""), counts.delivery_failures)
            yield family

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
            duration.add_metric(labels, *cumulative(histograms.duration))
            sizes.add_metric(labels, *cumulative(histograms.batch_records))
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
            "Age of the last record of the latest batch when it was sent; 0 while caught up."
            " AWS: IteratorAge, in milliseconds.",
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
        mine = by_mapping(running)
        for status in self._board.mappings():
            labels = (status.uuid, status.function)
            states.add_metric((*labels, status.source_arn, status.state), 1)
            waiting = waiting_records(status, mine.get(status.uuid, ()))
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


def _counter(
    counter: Counter, units: Sequence[tuple[tuple[str, ...], Counts]]
) -> CounterMetricFamily:
    labels = OF_SHARD if counter.label is None else (*OF_SHARD, counter.label)
    family = CounterMetricFamily(counter.name, counter.help, labels=labels)
    for of_shard, counts in units:
        for value, field in counter.fields:
            family.add_metric((*of_shard, value)[: len(labels)], getattr(counts, field))
    return family


_OF_SNAPSHOT: tuple[tuple[str, str, Callable[[Running], float | None]], ...] = (
    (
        "poller_lag_seconds",
        "How far behind: the same number as in /lag.",
        lambda each: each.behind,
    ),
    (
        "poller_unsettled_records",
        "Records read that are not settled yet.",
        lambda each: each.snapshot.unsettled,
    ),
    (
        "poller_unsettled_bytes",
        "Bytes of the records of streams that are not settled yet.",
        lambda each: each.snapshot.unsettled_bytes if each.unit.shard else None,
    ),
    (
        "poller_blocked",
        "1 while a batch waits to be tried again.",
        lambda each: int(each.snapshot.blocked is not None),
    ),
    (
        "poller_concurrency_limit",
        "How many invocations of a queue may run at one time now.",
        lambda each: each.snapshot.slots,
    ),
    (
        "poller_provisioned_pollers",
        "Provisioned pollers of a queue that receive now.",
        lambda each: each.snapshot.pollers,
    ),
)


def _gauge(name: str, text: str, values: Iterable[tuple[Running, float | None]]) -> Metric:
    """One series for each value that is not None."""
    family = GaugeMetricFamily(name, text, labels=OF_SHARD)
    for each, value in values:
        unit = each.unit
        if value is not None:
            family.add_metric((unit.mapping, unit.function, unit.shard), value)
    return family
