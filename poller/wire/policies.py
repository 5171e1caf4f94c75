"""The numbers that the core runs a mapping by.

AWS's -1 ("without limit") stops here: beyond it stands None.
"""

from __future__ import annotations

from dataclasses import replace

from poller.core.model import Seconds
from poller.core.policy import (
    PAYLOAD_BYTES_MAX,
    POLLER_CONCURRENCY,
    QueuePolicy,
    StreamPolicy,
)

from .arns import SourceKind
from .mappings import MappingConfig
from .queue_settings import Scaling
from .windows import FRAME_BYTES_MAX

# Base rate of polling and most records of one GetRecords call (spec 3.1).
# What is pushed to a consumer is waited for, however long it takes to come.
POLL_INTERVALS: dict[SourceKind, Seconds] = {SourceKind.KINESIS: 1.0, SourceKind.DYNAMODB: 0.25}
FETCH_LIMITS = {SourceKind.KINESIS: 10_000, SourceKind.DYNAMODB: 1_000}

# A read brings some batches, a few for every lane, and not all that the service would give, so that
# a busy shard of small records stays within 2 MB.
FETCH_BATCHES = 10
FETCH_BATCHES_OF_LANE = 5
FETCH_MIN = 1_000

# A poller each, which makes a thousand invocations more in a minute (spec 8.1).
PROVISIONED_PERIOD: Seconds = 0.6


def stream_policy(config: MappingConfig) -> StreamPolicy:
    """What each shard of a mapping's stream is read and retried by."""
    kind = config.source.kind
    assert kind.is_stream, kind
    window = config.tumbling_window_in_seconds
    # The batches of a window share one state, so they run one at a time (spec 4.2).
    lanes = 1 if window else config.parallelization_factor
    batches = max(FETCH_BATCHES, FETCH_BATCHES_OF_LANE * lanes)
    wanted = batches * config.batch_size
    return StreamPolicy(
        batch_size=config.batch_size,
        batch_bytes_max=PAYLOAD_BYTES_MAX - (FRAME_BYTES_MAX if window else 0),
        batch_window=float(config.maximum_batching_window_in_seconds),
        lanes=lanes,
        tumbling_window=float(window) if window else None,
        retries_max=_limit(config.maximum_retry_attempts),
        record_age_max=_limit(config.maximum_record_age_in_seconds),
        bisect=config.bisect_batch_on_function_error,
        poll_interval=0.0 if config.source.is_consumer else POLL_INTERVALS[kind],
        fetch_max=min(FETCH_LIMITS[kind], max(FETCH_MIN, wanted)),
    )


def queue_policy(
    config: MappingConfig, *, function_timeout: Seconds, function_concurrency: int | None = None
) -> QueuePolicy:
    """What a mapping's queue is received and invoked by.

    A run lasts up to `function_timeout`; of more than `function_concurrency` at a time (None:
    without limit) the function would refuse some, and their receives would be spent.
    """
    assert config.source.kind is SourceKind.SQS, config.source.kind
    rate = config.scaling.messages_per_second
    batch_max = config.batch_size if rate is None else max(1, int(rate))
    policy = QueuePolicy(
        batch_size=min(config.batch_size, batch_max),
        batch_window=float(config.maximum_batching_window_in_seconds),
        fifo=config.source.fifo,
        backs_off=not config.report_batch_item_failures,
        messages_per_second=rate,
        heartbeat=config.scaling.visibility_heartbeat,
        run_time_max=function_timeout,
    )
    policy = _scaled(policy, config.scaling)
    if function_concurrency is None:
        return policy
    return replace(policy, concurrency_max=min(policy.concurrency_max, function_concurrency))


def _scaled(policy: QueuePolicy, scaling: Scaling) -> QueuePolicy:
    """As AWS scales (spec 8.1); an exact number is there from the start and stays."""
    if scaling.minimum_pollers is not None and scaling.maximum_pollers is not None:
        start = scaling.minimum_pollers * POLLER_CONCURRENCY
        return replace(
            policy,
            concurrency_start=start,
            concurrency_max=scaling.maximum_pollers * POLLER_CONCURRENCY,
            concurrency_step=POLLER_CONCURRENCY,
            concurrency_period=PROVISIONED_PERIOD,
            concurrency_quiet=start,
            pollers_min=scaling.minimum_pollers,
        )
    if scaling.concurrency is not None:
        exact = scaling.concurrency
        return replace(
            policy,
            concurrency_start=exact,
            concurrency_max=exact,
            concurrency_quiet=exact,
            backs_off=False,
        )
    if scaling.maximum_concurrency is not None:
        most = scaling.maximum_concurrency
        start = min(policy.concurrency_start, most)
        return replace(
            policy, concurrency_start=start, concurrency_max=most, concurrency_quiet=start
        )
    return policy


def _limit(value: int) -> int | None:
    return None if value == -1 else value
