"""Records, batches, units and snapshots for the tests of what is seen of a running poller."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from poller.core.model import Batch, ClosedBy, Instant, MessageBatch, Snapshot
from poller.interfaces import Unit
from poller.observe.cloudwatch import EventMetrics, Report

STREAM_ARN = "arn:aws:kinesis:us-east-1:123456789012:stream/orders"
QUEUE_ARN = "arn:aws:sqs:us-east-1:123456789012:jobs"
SHARD = Unit("11111111-0000-5000-8000-000000000000", "orders", STREAM_ARN, "shardId-000000000001")
QUEUE = Unit("22222222-0000-5000-8000-000000000000", "jobs", QUEUE_ARN, "")
NOW: Instant = 1_700_000_000.0


@dataclass(frozen=True, slots=True)
class StreamRecord:
    sequence: str
    key: str | None = "key"
    arrived_at: Instant = NOW
    size: int = 100


@dataclass(frozen=True, slots=True)
class QueueMessage:
    id: str
    receipt: str = "the-receipt"
    group: str | None = None
    size: int = 100


@dataclass
class Time:
    """A clock that goes on when it is told to."""

    at: Instant = NOW

    def now(self) -> Instant:
        return self.at


def records(count: int, *, first: int = 1, arrived_at: Instant = NOW) -> list[StreamRecord]:
    return [StreamRecord(str(first + i), arrived_at=arrived_at) for i in range(count)]


def batch(
    id: int, of: Sequence[StreamRecord], closed_by: ClosedBy = ClosedBy.COUNT, attempts: int = 0
) -> Batch:
    return Batch(id, 0, of, range(len(of)), closed_by, attempts, attempts)


def messages(
    id: int, count: int, closed_by: ClosedBy = ClosedBy.WINDOW, attempts: int = 0
) -> MessageBatch:
    of = [QueueMessage(str(i)) for i in range(count)]
    return MessageBatch(id, of, NOW + 30, closed_by, attempts)


def snapshot(
    *,
    unsettled: int = 0,
    in_flight: int = 0,
    read_up_to: Instant | None = NOW,
    oldest: Instant | None = None,
    blocked: str | None = None,
    caught_up: bool = False,
) -> Snapshot:
    return Snapshot(unsettled, unsettled * 100, in_flight, read_up_to, oldest, blocked, caught_up)


def answer(backlog: int | None) -> Callable[[], Awaitable[int | None]]:
    """What a queue says when it is asked how many messages wait."""

    async def say() -> int | None:
        return backlog

    return say


def reports(metrics: EventMetrics) -> list[Report]:
    """Everything that CloudWatch is to be told now."""
    found = []
    for region in metrics.regions():
        while (report := metrics.take(region)) is not None:
            found.append(report)
    return found
