"""What CreateEventSourceMapping says: a request to its validated settings, and back.

The rules are those of spec 1.1 and 1.2.  A setting works, or is refused with a reason: because it
is wrong, or because it does not apply to the source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from poller.core.model import Instant

from .arns import (
    ArnError,
    FailureDestination,
    FunctionReference,
    Source,
    SourceKind,
    parse_destination,
    parse_function,
    parse_source,
)
from .fields import Fields
from .filter_criteria import read_filters
from .problems import Problem, not_yet
from .queue_settings import OWN_BLOCK, Scaling, check_queue_batch, read_batch_size, read_scaling
from .starting import StartingPosition, read_start
from .tags import read_tags

REPORT_BATCH_ITEM_FAILURES = "ReportBatchItemFailures"
EVENT_COUNT = "EventCount"
_METRIC_GROUPS = (EVENT_COUNT, "ErrorCount", "KafkaMetrics")

_STREAMS = frozenset({SourceKind.KINESIS, SourceKind.DYNAMODB})
_QUEUES = frozenset({SourceKind.SQS})
_ALL = _STREAMS | _QUEUES
_OTHERS: frozenset[SourceKind] = frozenset()

# Every parameter of CreateEventSourceMapping, and which of our sources it applies to.
APPLIES_TO: dict[str, frozenset[SourceKind]] = {
    "EventSourceArn": _ALL,
    "FunctionName": _ALL,
    "Enabled": _ALL,
    "BatchSize": _ALL,
    "MaximumBatchingWindowInSeconds": _ALL,
    "FunctionResponseTypes": _ALL,
    "FilterCriteria": _ALL,
    "KMSKeyArn": _ALL,
    "MetricsConfig": _ALL,
    "Tags": _ALL,
    "StartingPosition": _STREAMS,
    "StartingPositionTimestamp": _STREAMS,
    "ParallelizationFactor": _STREAMS,
    "DestinationConfig": _STREAMS,
    "MaximumRecordAgeInSeconds": _STREAMS,
    "MaximumRetryAttempts": _STREAMS,
    "BisectBatchOnFunctionError": _STREAMS,
    "TumblingWindowInSeconds": _STREAMS,
    "ScalingConfig": _QUEUES,
    "ProvisionedPollerConfig": _QUEUES,
    "LoggingConfig": _OTHERS,
    "Topics": _OTHERS,
    "Queues": _OTHERS,
    "SourceAccessConfigurations": _OTHERS,
    "SelfManagedEventSource": _OTHERS,
    "AmazonManagedKafkaEventSourceConfig": _OTHERS,
    "SelfManagedKafkaEventSourceConfig": _OTHERS,
    "DocumentDBEventSourceConfig": _OTHERS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingConfig:
    """The settings of one mapping in AWS's words and values: -1 is "no limit".

    Settings that do not apply to a source have the value that means "off" there.  `filters`: the
    texts of the patterns.  `scaling`: of a queue.
    """

    source: Source
    function: FunctionReference
    enabled: bool = True
    batch_size: int
    maximum_batching_window_in_seconds: int = 0
    report_batch_item_failures: bool = False
    starting_position: StartingPosition | None = None
    starting_position_timestamp: Instant | None = None
    parallelization_factor: int = 1
    failure_destination: FailureDestination | None = None
    maximum_record_age_in_seconds: int = -1
    maximum_retry_attempts: int = -1
    bisect_batch_on_function_error: bool = False
    tumbling_window_in_seconds: int = 0
    filters: tuple[str, ...] = ()
    event_count_metrics: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    scaling: Scaling = field(default_factory=Scaling)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A request that is no mapping, and everything that is wrong with it; never empty."""

    problems: tuple[Problem, ...]


def parse_mapping(raw: Mapping[str, Any], *, now: Instant) -> MappingConfig | Rejected:
    """The settings that a CreateEventSourceMapping request of JSON values asks for.

    Times are epoch seconds or ISO 8601 (UTC where it has no offset), and not later than `now`.
    Whether source and function exist is not looked at here.
    """
    fields = Fields(raw)
    fields.refuse_unknown((*APPLIES_TO, OWN_BLOCK))
    source = _source(fields)
    function = _function(fields)
    if source is not None:
        _refuse_inapplicable(fields, source)
    config = _settings(fields, source, function, now)
    return Rejected(tuple(fields.problems)) if config is None else config


def _settings(
    fields: Fields, source: Source | None, function: FunctionReference | None, now: Instant
) -> MappingConfig | None:
    """Read everything, so that everything wrong is noted; None if anything was."""
    batch_size = read_batch_size(fields, source)
    window = fields.whole("MaximumBatchingWindowInSeconds", 0, 300, default=0)
    if source is not None and source.kind is SourceKind.SQS:
        check_queue_batch(fields, source, batch_size, window)
    position, timestamp = read_start(fields, source, now)
    values: dict[str, Any] = {
        "enabled": fields.flag("Enabled", default=True),
        "batch_size": batch_size,
        "maximum_batching_window_in_seconds": window,
        "report_batch_item_failures": _reporting(fields),
        "starting_position": position,
        "starting_position_timestamp": timestamp,
        "parallelization_factor": fields.whole("ParallelizationFactor", 1, 10, default=1),
        "failure_destination": _failure_destination(fields),
        "maximum_record_age_in_seconds": fields.whole(
            "MaximumRecordAgeInSeconds", 60, 604_800, default=-1, unlimited=True
        ),
        "maximum_retry_attempts": fields.whole(
            "MaximumRetryAttempts", 0, 10_000, default=-1, unlimited=True
        ),
        "bisect_batch_on_function_error": fields.flag("BisectBatchOnFunctionError", default=False),
        "tumbling_window_in_seconds": fields.whole("TumblingWindowInSeconds", 0, 900, default=0),
        "filters": read_filters(fields, source),
        "event_count_metrics": _event_count(fields),
        "tags": read_tags(fields),
        "scaling": read_scaling(fields, source),
    }
    _refuse_key(fields)
    if fields.problems or source is None or function is None:
        return None
    return MappingConfig(source=source, function=function, **values)


def _source(fields: Fields) -> Source | None:
    if fields.has("SelfManagedEventSource"):
        fields.problems.append(
            not_yet(("SelfManagedEventSource",), "self-managed Kafka as an event source")
        )
        return None
    arn = fields.text("EventSourceArn")
    if arn is None:
        if fields.sound("EventSourceArn"):
            remedy = "write the ARN of a Kinesis stream, a DynamoDB stream or an SQS queue"
            fields.note("EventSourceArn", "Unrecognized event source.", remedy)
        return None
    try:
        return parse_source(arn)
    except ArnError as error:
        fields.note("EventSourceArn", error.message, error.remedy)
        return None


def _function(fields: Fields) -> FunctionReference | None:
    text = fields.text("FunctionName")
    if text is None:
        if fields.sound("FunctionName"):
            remedy = "name the function that gets the records"
            fields.note_constraint("FunctionName", "is missing", "not be null", remedy)
        return None
    try:
        return parse_function(text)
    except ArnError as error:
        fields.note("FunctionName", error.message, error.remedy)
        return None


def _refuse_inapplicable(fields: Fields, source: Source) -> None:
    """Recorded for DestinationConfig on a queue; the same words serve for every parameter."""
    for name, kinds in APPLIES_TO.items():
        if fields.has(name) and source.kind not in kinds:
            where = "streams" if kinds == _STREAMS else "queues" if kinds else "other sources"
            fields.refuse(
                name,
                f"Unsupported {name} parameter for given event source mapping type.",
                f"it is for {where} only: remove it",
            )


def _refuse_key(fields: Fields) -> None:
    if fields.get("KMSKeyArn"):
        fields.note(
            "KMSKeyArn",
            "KMSKeyArn is not supported: filter criteria are kept as they are in the state store",
            "remove it",
        )


def _event_count(fields: Fields) -> bool:
    """Whether MetricsConfig asks for the metrics of spec 11.1; its other groups are Kafka's."""
    config = fields.block("MetricsConfig", {"Metrics"})
    metrics = config.items("Metrics")
    others = [metric for metric in metrics if metric != EVENT_COUNT]
    if any(metric not in _METRIC_GROUPS for metric in others):
        config.note_constraint(
            "Metrics", f"must be [] or [{EVENT_COUNT}]", _of_enum(*_METRIC_GROUPS)
        )
    elif len(metrics) > len(_METRIC_GROUPS):
        rule = f"have length less than or equal to {len(_METRIC_GROUPS)}"
        config.note_constraint("Metrics", f"must be [] or [{EVENT_COUNT}]", rule)
    elif others:
        message = f"Unsupported metric {others[0]} for given event source mapping type."
        config.note("Metrics", message, "it is for Kafka only: remove it")
    elif len(metrics) > 1:
        config.note("Metrics", f"must name {EVENT_COUNT} once")
    return bool(metrics)


def _of_enum(*values: str) -> str:
    """The rule for each member of a list."""
    return f"satisfy constraint: [Member must satisfy enum value set: [{', '.join(values)}]]"


def _reporting(fields: Fields) -> bool:
    name, types = "FunctionResponseTypes", fields.items("FunctionResponseTypes")
    message = f"must be [] or [{REPORT_BATCH_ITEM_FAILURES}], nothing else"
    if any(item != REPORT_BATCH_ITEM_FAILURES for item in types):
        fields.note_constraint(name, message, _of_enum(REPORT_BATCH_ITEM_FAILURES))
    elif len(types) > 1:
        fields.note_constraint(name, message, "have length less than or equal to 1")
    return bool(types)


def _failure_destination(fields: Fields) -> FailureDestination | None:
    config = fields.block("DestinationConfig", {"OnFailure", "OnSuccess"})
    if config.block("OnSuccess", {"Destination"}).get("Destination"):
        config.note(
            "OnSuccess", "is not for event source mappings", "OnFailure is: remove OnSuccess"
        )
    on_failure = config.block("OnFailure", {"Destination"})
    arn = on_failure.text("Destination")
    if not arn:
        return None
    try:
        return parse_destination(arn)
    except ArnError as error:
        on_failure.note("Destination", error.message, error.remedy)
        return None
