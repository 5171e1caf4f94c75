"""The settings of queues: batches and windows, how far they scale, and what AWS cannot say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .arns import Source, SourceKind
from .fields import Fields
from .problems import shown

OWN_BLOCK = "poller"  # what AWS cannot say

BATCH_SIZE_MAX = 10_000
FIFO_BATCH_SIZE_MAX = 10
BATCH_SIZE_WITHOUT_WINDOW_MAX = 10  # what one receive brings
CONCURRENCY_MAX = 1_000
POLLERS_MIN = 2
POLLERS_MIN_MAX = 200  # the highest minimum
POLLERS_MAX = 10_000
POLLERS_MAX_DEFAULT = 200
MESSAGES_PER_SECOND_MAX = 1_000_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """How many invocations of a queue may run; None is AWS's own scaling.

    `maximum_concurrency`: ScalingConfig.  `minimum_pollers` and `maximum_pollers`: both or neither,
    ProvisionedPollerConfig.  The others are of the block `poller`: `concurrency` is exact,
    `messages_per_second` limits what the function gets, `visibility_heartbeat` keeps messages
    hidden for as long as the function runs.
    """

    maximum_concurrency: int | None = None
    minimum_pollers: int | None = None
    maximum_pollers: int | None = None
    concurrency: int | None = None
    messages_per_second: float | None = None
    visibility_heartbeat: bool = False


def read_batch_size(fields: Fields, source: Source | None) -> int:
    is_queue = source is not None and source.kind is SourceKind.SQS
    if source is None or not source.fifo:
        return fields.whole("BatchSize", 1, BATCH_SIZE_MAX, default=10 if is_queue else 100)
    size = fields.whole("BatchSize", 1, BATCH_SIZE_MAX, default=10)
    if size > FIFO_BATCH_SIZE_MAX:
        fields.note("BatchSize", f"must be from 1 to {FIFO_BATCH_SIZE_MAX} for a FIFO queue")
    return size


def check_queue_batch(fields: Fields, source: Source, batch_size: int, window: int) -> None:
    """What batch and window have to do with each other on a queue (spec 1.2)."""
    if source.fifo:
        if window:
            fields.note(
                "MaximumBatchingWindowInSeconds",
                "Batching window is not supported for FIFO queues",
                "remove it",
            )
        return
    sound = fields.sound("BatchSize", "MaximumBatchingWindowInSeconds")
    if sound and batch_size > BATCH_SIZE_WITHOUT_WINDOW_MAX and not window:
        fields.note(
            "BatchSize",
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is "
            "greater than 10",
            "set MaximumBatchingWindowInSeconds, or a BatchSize of 10 or less",
        )


def read_scaling(fields: Fields, source: Source | None) -> Scaling:
    """ScalingConfig, ProvisionedPollerConfig and the block `poller`; one of them says how many."""
    concurrency = fields.block("ScalingConfig", {"MaximumConcurrency"})
    provisioned = fields.block(
        "ProvisionedPollerConfig", {"MinimumPollers", "MaximumPollers", "PollerGroupName"}
    )
    own = fields.block(OWN_BLOCK, {"Concurrency", "MessagesPerSecond", "VisibilityHeartbeat"})
    if source is not None and source.kind.is_stream and fields.get(OWN_BLOCK):
        fields.note(OWN_BLOCK, "is for queues only", "remove it")
    least, most = _pollers(provisioned)
    scaling = Scaling(
        maximum_concurrency=_count(concurrency, "MaximumConcurrency", 2),
        minimum_pollers=least,
        maximum_pollers=most,
        concurrency=_count(own, "Concurrency", 1),
        messages_per_second=_rate(own),
        visibility_heartbeat=own.flag("VisibilityHeartbeat", default=False),
    )
    _check_exclusive(fields, scaling)
    return scaling


def _count(fields: Fields, name: str, low: int) -> int | None:
    count = fields.whole(name, low, CONCURRENCY_MAX, default=0)
    return count or None


def _pollers(fields: Fields) -> tuple[int | None, int | None]:
    if fields.get("PollerGroupName"):
        fields.note("PollerGroupName", "is for Kafka sources only", "remove it")
    if not (fields.has("MinimumPollers") or fields.has("MaximumPollers")):
        return None, None
    least = fields.whole("MinimumPollers", 1, POLLERS_MIN_MAX, default=POLLERS_MIN)
    most = fields.whole("MaximumPollers", 1, POLLERS_MAX, default=POLLERS_MAX_DEFAULT)
    for name, value in (("MinimumPollers", least), ("MaximumPollers", most)):
        if value < POLLERS_MIN:  # which Kafka sources may have
            fields.note(name, f"must be {POLLERS_MIN} or more for a queue")
    if least > most and fields.sound("MinimumPollers", "MaximumPollers"):
        fields.note("MinimumPollers", f"is more than MaximumPollers, which is {most}")
    return least, most


def _rate(fields: Fields) -> float | None:
    value: Any = fields.get("MessagesPerSecond")
    match value:
        case None:
            return None
        case bool():
            pass
        case int() | float() if 0 < value <= MESSAGES_PER_SECOND_MAX:
            return float(value)
    fields.note(
        "MessagesPerSecond",
        f"must be a number above 0, {MESSAGES_PER_SECOND_MAX:.0f} at most, not {shown(value)}",
    )
    return None


def _check_exclusive(fields: Fields, scaling: Scaling) -> None:
    given = [
        name
        for name, value in (
            ("ScalingConfig", scaling.maximum_concurrency),
            ("ProvisionedPollerConfig", scaling.minimum_pollers),
            (OWN_BLOCK, scaling.concurrency),
        )
        if value is not None
    ]
    if len(given) > 1:
        names = " and ".join(given).replace(OWN_BLOCK, f"{OWN_BLOCK}.Concurrency")
        fields.note(given[-1], f"{names} cannot be used together", "keep one of them")
