"""The metrics of asynchronous invocations, labelled with the key of the function."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from poller.event_queue import Backlog

from .counts import cumulative
from .event_counts import EventTally

OF_FUNCTION = ("function",)


def event_metrics(tally: EventTally) -> Iterator[Metric]:
    """A series for each function that had events since this process began, or has some."""
    received = CounterMetricFamily(
        "poller_async_events_received_total",
        "Events accepted for asynchronous invocation. AWS: AsyncEventsReceived.",
        labels=OF_FUNCTION,
    )
    dropped = CounterMetricFamily(
        "poller_async_events_dropped_total",
        "Events given up, also those that a destination or a dead-letter queue was told of."
        " AWS: AsyncEventsDropped.",
        labels=(*OF_FUNCTION, "reason"),
    )
    dead_letter_errors = CounterMetricFamily(
        "poller_dead_letter_errors_total",
        "Attempts to send an event to a dead-letter queue that went wrong. AWS: DeadLetterErrors.",
        labels=OF_FUNCTION,
    )
    age = HistogramMetricFamily(
        "poller_async_event_age_seconds",
        "How long after they were accepted events were sent to the function, each time."
        " AWS: AsyncEventAge, in milliseconds.",
        labels=OF_FUNCTION,
    )
    queued = GaugeMetricFamily(
        "poller_async_events_queued",
        "Events that wait, run, or have a result of which nobody has been told yet.",
        labels=OF_FUNCTION,
    )
    for function, counts in sorted(tally.functions.items()):
        received.add_metric((function,), counts.received)
        for reason, count in sorted(counts.dropped.items()):
            dropped.add_metric((function, reason), count)
        dead_letter_errors.add_metric((function,), counts.dead_letter_errors)
        age.add_metric((function,), *cumulative(counts.age))
    for function in sorted(tally.functions.keys() | tally.backlogs.keys()):
        queued.add_metric((function,), tally.backlogs.get(function, Backlog()).events)
    yield from (received, dropped, dead_letter_errors, age, queued)
