"""A mapping's settings as the request that is stored, and what a changed request changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .filter_criteria import criteria_of
from .mappings import EVENT_COUNT, REPORT_BATCH_ITEM_FAILURES, MappingConfig
from .queue_settings import OWN_BLOCK, Scaling
from .starting import StartingPosition

# Where a mapping begins matters once: a position in the store outlives the setting.
_WHERE_IT_BEGINS = ("StartingPosition", "StartingPositionTimestamp")
# Who a mapping is; a change of these makes it another mapping.
_IDENTITY = frozenset({"EventSourceArn", "FunctionName"})
# What nothing runs by.
_NOTES = frozenset({"Tags"})


def as_request(config: MappingConfig) -> dict[str, Any]:
    """The CreateEventSourceMapping request of JSON values that `parse_mapping` reads as `config`.

    It has every setting that applies to the source, so that a later default changes nothing.
    """
    request: dict[str, Any] = {
        "EventSourceArn": config.source.arn,
        "FunctionName": config.function.text,
        "Enabled": config.enabled,
        "BatchSize": config.batch_size,
        "MaximumBatchingWindowInSeconds": config.maximum_batching_window_in_seconds,
        "FunctionResponseTypes": (
            [REPORT_BATCH_ITEM_FAILURES] if config.report_batch_item_failures else []
        ),
    }
    if config.event_count_metrics:
        request["MetricsConfig"] = {"Metrics": [EVENT_COUNT]}
    if config.filters:
        request["FilterCriteria"] = criteria_of(config.filters)
    if config.tags:
        request["Tags"] = dict(config.tags)
    is_stream = config.source.kind.is_stream
    return request | (_stream_request(config) if is_stream else _queue_request(config.scaling))


def _queue_request(scaling: Scaling) -> dict[str, Any]:
    """What is given only: AWS's answers have no members for what is not."""
    request: dict[str, Any] = {}
    if scaling.maximum_concurrency is not None:
        request["ScalingConfig"] = {"MaximumConcurrency": scaling.maximum_concurrency}
    if scaling.minimum_pollers is not None:
        request["ProvisionedPollerConfig"] = {
            "MinimumPollers": scaling.minimum_pollers,
            "MaximumPollers": scaling.maximum_pollers,
        }
    own: dict[str, Any] = {}
    if scaling.concurrency is not None:
        own["Concurrency"] = scaling.concurrency
    if scaling.messages_per_second is not None:
        own["MessagesPerSecond"] = scaling.messages_per_second
    if scaling.visibility_heartbeat:
        own["VisibilityHeartbeat"] = True
    return request | ({OWN_BLOCK: own} if own else {})


def _stream_request(config: MappingConfig) -> dict[str, Any]:
    destination = config.failure_destination
    request: dict[str, Any] = {
        "StartingPosition": config.starting_position and config.starting_position.value,
        "ParallelizationFactor": config.parallelization_factor,
        "DestinationConfig": {"OnFailure": {"Destination": destination.arn} if destination else {}},
        "MaximumRecordAgeInSeconds": config.maximum_record_age_in_seconds,
        "MaximumRetryAttempts": config.maximum_retry_attempts,
        "BisectBatchOnFunctionError": config.bisect_batch_on_function_error,
        "TumblingWindowInSeconds": config.tumbling_window_in_seconds,
    }
    if config.starting_position is StartingPosition.AT_TIMESTAMP:
        request["StartingPositionTimestamp"] = config.starting_position_timestamp
    return request


def what_runs(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings that a running mapping must restart for; its function is compared as such."""
    return {name: value for name, value in request.items() if name not in _IDENTITY | _NOTES}


def changed_start(stored: Mapping[str, Any], config: MappingConfig) -> tuple[str, ...]:
    """The settings of where it begins that `config` changes in the stored request of a mapping."""
    request = as_request(config)
    return tuple(name for name in _WHERE_IT_BEGINS if request.get(name) != stored.get(name))
