"""The metrics of declared functions: `poller_function_...`, labelled with the function's key."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from .counts import cumulative
from .function_counts import FunctionTally

OF_FUNCTION = ("function",)

_COUNTERS = (
    (
        "poller_function_invocations_total",
        "invocations",
        "Invocations that ran, from mappings, the API and queued ones; failed ones too."
        " AWS: Invocations.",
    ),
    (
        "poller_function_errors_total",
        "errors",
        "Invocations that ended with a function error. AWS: Errors.",
    ),
    (
        "poller_function_throttles_total",
        "throttles",
        "Invocations that found no free slot, or that the function itself turned away."
        " AWS: Throttles.",
    ),
    (
        "poller_function_not_reached_total",
        "not_reached",
        "Invocations that did not reach the function for any other reason.",
    ),
)


def function_metrics(tally: FunctionTally) -> Iterator[Metric]:
    """A series for each declared function, from the start."""
    functions = sorted(tally.functions.items())
    for name, field, text in _COUNTERS:
        counter = CounterMetricFamily(name, text, labels=OF_FUNCTION)
        for function, counts in functions:
            counter.add_metric((function,), getattr(counts, field))
        yield counter
    duration = HistogramMetricFamily(
        "poller_function_duration_seconds",
        "How long invocations ran, with the start of a process if need be."
        " AWS: Duration, in milliseconds.",
        labels=OF_FUNCTION,
    )
    running = GaugeMetricFamily(
        "poller_function_concurrent_executions",
        "Invocations of the function under way. AWS: ConcurrentExecutions.",
        labels=OF_FUNCTION,
    )
    for function, counts in functions:
        duration.add_metric((function,), *cumulative(counts.duration))
        running.add_metric((function,), counts.running)
    yield duration
    yield running
    yield GaugeMetricFamily(
        "poller_concurrent_executions",
        "Invocations of all functions under way. AWS: ConcurrentExecutions, of the whole account.",
        value=sum(counts.running for _, counts in functions),
    )
