"""The numbers of one mapping, already validated; None means without limit."""

from __future__ import annotations

from dataclasses import dataclass

from .model import Seconds

PAYLOAD_BYTES_MAX = 6 * 1024 * 1024  # spec 4.1
STATE_BYTES_MAX = 1024 * 1024  # spec 4.2


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPolicy:
    """What one shard of a Kinesis or DynamoDB stream is read and retried by (spec 1.1, 3.1).

    `batch_bytes_max`: of records, and of the state of a tumbling window beside them.  Windows share
    one state, so they need one lane.
    """

    batch_size: int = 100
    batch_bytes_max: int = PAYLOAD_BYTES_MAX
    batch_window: Seconds = 0.0
    lanes: int = 1
    retries_max: int | None = None
    record_age_max: Seconds | None = None
    bisect: bool = False
    tumbling_window: Seconds | None = None
    state_bytes_max: int = STATE_BYTES_MAX
    poll_interval: Seconds = 1.0
    fetch_max: int = 10_000
    unsettled_bytes_max: int = 32 * 1024 * 1024
    backoff_min: Seconds = 0.5
    backoff_max: Seconds = 30.0

    @property
    def unsettled_max(self) -> int:
        """How many records of a shard may wait or run at one time."""
        return max(10_000, 10 * self.batch_size * self.lanes)


# What one provisioned poller of a queue may do (spec 8.1).
POLLER_CONCURRENCY = 10
POLLER_RECEIVES_PER_SECOND = 10.0
POLLER_BYTES_PER_SECOND = 1_000_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePolicy:
    """What one SQS queue is received and invoked by (spec 8.1).

    How many invocations may run at once is told in `core/scaling.py`.  `pollers_min`: how many
    pollers are provisioned at least; None where they are not counted.  `messages_per_second`: most
    that the function is handed.  `heartbeat`: hide the messages of a batch for as long as it runs.
    """

    batch_size: int = 10
    batch_bytes_max: int = PAYLOAD_BYTES_MAX
    batch_window: Seconds = 0.0
    fifo: bool = False
    concurrency_start: int = 5
    concurrency_max: int = 1250
    concurrency_step: int = 5
    concurrency_period: Seconds = 1.0
    concurrency_floor: int = 2
    concurrency_quiet: int = 2
    idle_period: Seconds = 60.0
    backs_off: bool = True
    pollers_min: int | None = None
    messages_per_second: float | None = None
    heartbeat: bool = False
    receive_max: int = 10
    receives_max: int = 100
    run_time_max: Seconds = 3.0
    backoff_min: Seconds = 0.5
    backoff_max: Seconds = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPolicy:
    """What the asynchronous invocations of one function are retried by (spec 12.4).

    `age_max`: how long after it was accepted an event may run.  `concurrency_max`: most that run at
    one time.  `tells_success`, `tells_failure`: whether such a result goes anywhere.
    """

    retries_max: int = 2
    age_max: Seconds = 21_600.0
    concurrency_max: int = 100
    tells_success: bool = False
    tells_failure: bool = False
