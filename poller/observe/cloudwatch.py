"""What CloudWatch is to be told: the metrics of mappings whose MetricsConfig asks for EventCount.

AWS's names, meanings and dimension (spec 11.1), but another namespace: PutMetricData keeps those
that begin with AWS/ for AWS.  Each value is what came since the last one; what could not be sent is
added to the next, so nothing is lost while this process lives.  A period without anything gives no
values, so none come from a mapping that is disabled:

metric                     has a value, perhaps 0, after
PolledEventCount           a poll that was answered
FilteredOutEventCount      the same
InvokedEventCount          an invocation
FailedInvokeEventCount     the end of an invocation
DeletedEventCount          a deletion, also one that failed
IteratorAge                an invocation, on streams: statistics over the records sent last
any other                  something to count
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from poller.core.model import Instant
from poller.core.steps import Invoke
from poller.interfaces import Unit

from .counters import aws_fields
from .counts import Counts
from .tally import Tally

NAMESPACE = "Poller/Lambda"
DIMENSION = "EventSourceMappingUUID"
# Each mapping has nine values at most, and PutMetricData takes 1,000 of them, and 1 MB.
MAPPINGS_PER_CALL = 50
UNTOLD_MAX = 100_000  # mappings of a region that are remembered while CloudWatch is away

_FIELDS = aws_fields()
_ENDED = ("invocations_succeeded", "invocations_partly_failed", "invocations_failed")
# The counts that give a metric a value when they rise, where these are not its own.
_OCCASIONS = {
    "PolledEventCount": ("fetches",),
    "FilteredOutEventCount": ("fetches",),
    "FailedInvokeEventCount": (*_ENDED, "invocations_refused"),
    "DeletedEventCount": ("deleted", "delete_failures"),
}


@dataclass(slots=True)
class Ages:
    """The iterator ages of a period, in milliseconds."""

    count: int = 0
    total: float = 0.0
    lowest: float = float("inf")
    highest: float = 0.0

    def add(self, other: Ages) -> None:
        self.count += other.count
        self.total += other.total
        self.lowest = min(self.lowest, other.lowest)
        self.highest = max(self.highest, other.highest)


@dataclass(slots=True)
class Values:
    """What one mapping has to tell: sums by AWS's name, and its ages."""

    sums: dict[str, float] = field(default_factory=dict)
    ages: Ages = field(default_factory=Ages)

    def add(self, other: Values) -> None:
        for name, value in other.sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.ages.add(other.ages)


@dataclass(frozen=True, slots=True)
class Report:
    """The content of one call: what mappings of one region have to tell."""

    region: str
    mappings: Mapping[str, Values]

    def metric_data(self, at: datetime) -> list[dict[str, Any]]:
        """MetricData as PutMetricData takes it."""
        return [
            {
                "MetricName": name,
                "Dimensions": [{"Name": DIMENSION, "Value": uuid}],
                "Timestamp": at,
                **value,
            }
            for uuid, values in self.mappings.items()
            for name, value in _described(values)
        ]


class EventMetrics:
    """The Observer that keeps what CloudWatch was not told yet; counts are read from `tally`.

    `publishing`: the region of each mapping that publishes now, see `Board`.
    """

    def __init__(self, tally: Tally, publishing: Mapping[str, str]) -> None:
        self._tally = tally
        self._publishing = publishing
        self._regions: dict[str, str] = {}  # of what publishes or did so a moment ago
        self._seen: dict[str, Counts] = {}  # what the tally said when it was looked at last
        self._ages: dict[str, Ages] = {}  # since then
        self._untold: dict[str, dict[str, Values]] = {}  # by region and mapping

    def saw(self, unit: Unit, fact: Any, commands: Sequence[Any], now: Instant) -> None:
        uuid = unit.mapping
        if uuid not in self._publishing:
            if uuid in self._regions:  # until now it did
                self._collect()
            return
        if uuid not in self._regions:  # what it counted before is not told
            self._regions[uuid] = self._publishing[uuid]
            self._seen[uuid] = self._tally.of_mapping(uuid)
        for command in commands:
            if type(command) is Invoke and command.batch.records:
                age = max(0.0, now - command.batch.records[-1].arrived_at) * 1000
                self._ages.setdefault(uuid, Ages()).add(Ages(1, age, age, age))

    def forget(self, mapping: str) -> None:
        """What it counted is still told; the tally will not have it for much longer."""
        if mapping in self._regions:
            self._collect()

    def regions(self) -> Sequence[str]:
        """Where there is something to be told, as of now."""
        self._collect()
        return tuple(self._untold)

    def take(self, region: str) -> Report | None:
        """A part of what `regions` found, handed out once; None if there is no more."""
        untold = self._untold.pop(region, {})
        report = {uuid: untold.pop(uuid) for uuid in list(untold)[:MAPPINGS_PER_CALL]}
        if untold:
            self._untold[region] = untold
        return Report(region, report) if report else None

    def give_back(self, report: Report) -> None:
        """This report could not be sent: it goes with the next ones."""
        untold = self._untold.setdefault(report.region, {})
        for uuid, values in report.mappings.items():
            untold.setdefault(uuid, Values()).add(values)
        while len(untold) > UNTOLD_MAX:
            del untold[next(iter(untold))]

    def _collect(self) -> None:
        """Take over what the tally counted since it was looked at last."""
        for uuid, counts in self._tally.sums(self._regions).items():
            sums = _sums(self._seen[uuid], counts)
            if sums:
                untold = self._untold.setdefault(self._regions[uuid], {})
                untold.setdefault(uuid, Values()).add(Values(sums, self._ages.pop(uuid, Ages())))
            self._seen[uuid] = counts
        for uuid in self._regions.keys() - self._publishing.keys():
            del self._regions[uuid], self._seen[uuid]


def _sums(before: Counts, after: Counts) -> dict[str, float]:
    """The metrics that have a value, by the occasions of the table above."""

    def rise(fields: Sequence[str]) -> float:
        return float(sum(getattr(after, name) - getattr(before, name) for name in fields))

    return {
        name: rise(fields) for name, fields in _FIELDS.items() if rise(_OCCASIONS.get(name, fields))
    }


def _described(values: Values) -> list[tuple[str, dict[str, Any]]]:
    described = [(name, {"Value": value, "Unit": "Count"}) for name, value in values.sums.items()]
    ages = values.ages
    if ages.count:
        statistics = {
            "SampleCount": float(ages.count),
            "Sum": ages.total,
            "Minimum": ages.lowest,
            "Maximum": ages.highest,
        }
        described.append(("IteratorAge", {"StatisticValues": statistics, "Unit": "Milliseconds"}))
    return described
