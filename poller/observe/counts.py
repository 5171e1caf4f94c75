"""The numbers that are kept: counts of one unit, histograms of one mapping."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, fields

from poller.core.model import Seconds

DURATION_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 900.0)
SIZE_BOUNDS = (1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 10000.0)


@dataclass(slots=True)
class Counts:
    """What one unit did since this process began; records and messages alike are `records`."""

    fetches: int = 0
    fetch_failures: int = 0
    polled: int = 0
    filtered: int = 0
    invoked: int = 0
    succeeded: int = 0
    failed: int = 0
    delivered: int = 0
    kept: int = 0
    dropped: int = 0
    deleted: int = 0
    delete_failures: int = 0
    retries: int = 0
    closed_by_count: int = 0
    closed_by_bytes: int = 0
    closed_by_window: int = 0
    closed_by_flush: int = 0
    invocations_succeeded: int = 0
    invocations_partly_failed: int = 0
    invocations_failed: int = 0
    invocations_refused: int = 0
    invocation_seconds: Seconds = 0.0
    checkpoints: int = 0
    destination_failures: int = 0

    def add(self, other: Counts) -> None:
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))


COUNTS = tuple(field.name for field in fields(Counts))


class Histogram:
    """How many values fell at or below each bound; the last count is of those above all."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


def cumulative(histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
    """Buckets as Prometheus counts them, each with all that lie below it, and the sum."""
    buckets: list[tuple[str, float]] = []
    seen = 0
    for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
        seen += count
        buckets.append(("+Inf" if bound == float("inf") else str(bound), seen))
    return buckets, histogram.total


class Histograms:
    """Of one mapping with one function: per shard there would be too many series."""

    __slots__ = ("batch_records", "duration")

    def __init__(self) -> None:
        self.duration = Histogram(DURATION_BOUNDS)
        self.batch_records = Histogram(SIZE_BOUNDS)
