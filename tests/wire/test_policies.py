"""What a request becomes for the core."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from poller.core.policy import PAYLOAD_BYTES_MAX, QueuePolicy, StreamPolicy
from poller.wire.mappings import MappingConfig, parse_mapping
from poller.wire.policies import queue_policy, stream_policy
from poller.wire.windows import FRAME_BYTES_MAX

STREAM = "arn:aws:kinesis:us-east-1:123456789012:stream/orders"
TABLE = "arn:aws:dynamodb:us-east-1:123456789012:table/users/stream/2026-01-31T12:00:00.000"
QUEUE = "arn:aws:sqs:us-east-1:123456789012:jobs"


def config(source: str, **settings: Any) -> MappingConfig:
    raw = {"EventSourceArn": source, "FunctionName": "f", **settings}
    if ":sqs:" not in source:
        raw.setdefault("StartingPosition", "LATEST")
    parsed = parse_mapping(raw, now=1e9)
    assert isinstance(parsed, MappingConfig), parsed
    return parsed


def test_the_defaults_of_a_stream_have_no_limits() -> None:
    assert stream_policy(config(STREAM)) == StreamPolicy(
        batch_size=100,
        batch_window=0.0,
        lanes=1,
        retries_max=None,
        record_age_max=None,
        bisect=False,
        poll_interval=1.0,
        fetch_max=1_000,
    )


def test_every_setting_of_a_stream_reaches_its_policy() -> None:
    settings = {
        "BatchSize": 7,
        "MaximumBatchingWindowInSeconds": 30,
        "ParallelizationFactor": 4,
        "MaximumRetryAttempts": 0,
        "MaximumRecordAgeInSeconds": 60,
        "BisectBatchOnFunctionError": True,
    }
    assert stream_policy(config(TABLE, **settings)) == StreamPolicy(
        batch_size=7,
        batch_window=30.0,
        lanes=4,
        retries_max=0,
        record_age_max=60,
        bisect=True,
        poll_interval=0.25,
        fetch_max=1_000,
    )


def test_the_batches_of_tumbling_windows_run_one_at_a_time_and_leave_room_for_the_window() -> None:
    mapping = config(STREAM, TumblingWindowInSeconds=900, ParallelizationFactor=10)
    assert stream_policy(mapping) == StreamPolicy(
        batch_bytes_max=PAYLOAD_BYTES_MAX - FRAME_BYTES_MAX,
        lanes=1,
        tumbling_window=900.0,
        fetch_max=1_000,
    )


@pytest.mark.parametrize(
    ("source", "batch_size", "lanes", "fetch_max"),
    [
        (STREAM, 1, 1, 1_000),
        (STREAM, 200, 1, 2_000),
        (STREAM, 100, 1, 1_000),
        (STREAM, 100, 4, 2_000),
        (STREAM, 100, 10, 5_000),
        (STREAM, 10_000, 10, 10_000),
        (TABLE, 1, 1, 1_000),
        (TABLE, 10_000, 10, 1_000),
    ],
)
def test_a_read_asks_for_a_few_batches_of_every_lane(
    source: str, batch_size: int, lanes: int, fetch_max: int
) -> None:
    mapping = config(source, BatchSize=batch_size, ParallelizationFactor=lanes)
    assert stream_policy(mapping).fetch_max == fetch_max


def test_every_setting_of_a_queue_reaches_its_policy() -> None:
    assert queue_policy(config(QUEUE), function_timeout=3.0) == QueuePolicy(
        batch_size=10, batch_window=0.0, fifo=False, run_time_max=3.0
    )
    mapping = config(QUEUE, BatchSize=500, MaximumBatchingWindowInSeconds=5)
    assert queue_policy(mapping, function_timeout=60.0) == QueuePolicy(
        batch_size=500, batch_window=5.0, fifo=False, run_time_max=60.0
    )
    assert queue_policy(config(QUEUE + ".fifo"), function_timeout=3.0).fifo


QUEUES_SCALED = [
    ({"FunctionResponseTypes": ["ReportBatchItemFailures"]}, {"backs_off": False}),
    (
        {"ScalingConfig": {"MaximumConcurrency": 2}},
        {"concurrency_start": 2, "concurrency_max": 2, "concurrency_quiet": 2},
    ),
    (
        {"ScalingConfig": {"MaximumConcurrency": 100}},
        {"concurrency_start": 5, "concurrency_max": 100, "concurrency_quiet": 5},
    ),
    (
        {"ProvisionedPollerConfig": {"MinimumPollers": 3, "MaximumPollers": 50}},
        {
            "concurrency_start": 30,
            "concurrency_max": 500,
            "concurrency_step": 10,
            "concurrency_period": 0.6,
            "concurrency_quiet": 30,
            "pollers_min": 3,
        },
    ),
    (
        {"poller": {"Concurrency": 7}},
        {
            "concurrency_start": 7,
            "concurrency_max": 7,
            "concurrency_quiet": 7,
            "backs_off": False,
        },
    ),
    ({"poller": {"MessagesPerSecond": 50}}, {"messages_per_second": 50.0}),
    ({"poller": {"MessagesPerSecond": 4.5}}, {"messages_per_second": 4.5, "batch_size": 4}),
    ({"poller": {"MessagesPerSecond": 0.5}}, {"messages_per_second": 0.5, "batch_size": 1}),
    ({"poller": {"VisibilityHeartbeat": True}}, {"heartbeat": True}),
]


@pytest.mark.parametrize(("settings", "policy"), QUEUES_SCALED)
def test_the_scaling_of_a_queue_reaches_its_policy(
    settings: dict[str, Any], policy: dict[str, Any]
) -> None:
    plain = queue_policy(config(QUEUE), function_timeout=3.0)
    found = queue_policy(config(QUEUE, **settings), function_timeout=3.0)
    assert found == replace(plain, **policy)


@pytest.mark.parametrize("settings", [settings for settings, _ in QUEUES_SCALED])
def test_no_more_is_received_than_the_function_takes_at_a_time(settings: dict[str, Any]) -> None:
    mapping = config(QUEUE, **settings)
    found = queue_policy(mapping, function_timeout=3.0, function_concurrency=4)
    assert found.concurrency_max == min(
        4, queue_policy(mapping, function_timeout=3.0).concurrency_max
    )
