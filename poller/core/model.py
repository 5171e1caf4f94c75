"""The nouns of the core: plain values, no IO, no clock, no behaviour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

Instant = float  # seconds since the epoch; always handed in, never read from a clock
Seconds = float  # a length of time

BEGINNING: Instant = float("-inf")  # `read_up_to` of a shard of which nothing was read yet
EVERYTHING: Instant = float("inf")  # `read_up_to` of a shard that has ended


class Record(Protocol):
    """One stream record, as far as decisions need to know it."""

    @property
    def sequence(self) -> str:
        """The sequence number: a decimal string that is compared as an integer.

        Records that came out of one aggregate share theirs.
        """

    @property
    def key(self) -> str | None:
        """What order is kept by: a partition key, an item's keys; None where there is none."""

    @property
    def arrived_at(self) -> Instant: ...

    @property
    def size(self) -> int:
        """The bytes of its JSON in an event, separator included; never less than the truth."""


class Message(Protocol):
    """One queue message, as far as decisions need to know it."""

    @property
    def id(self) -> str: ...

    @property
    def receipt(self) -> str: ...

    @property
    def group(self) -> str | None:
        """The FIFO message group; None on a standard queue."""

    @property
    def size(self) -> int:
        """The bytes of its JSON in an event, separator included; never less than the truth."""


class ClosedBy(StrEnum):
    """Why a batch closed."""

    COUNT = "count"  # BatchSize is reached
    BYTES = "bytes"  # the payload limit is reached
    WINDOW = "window"  # the batching window is over; with no window: all there was
    FLUSH = "flush"  # nothing more can join: the shard or its tumbling window ended, bounds are met
    RETRY = "retry"  # what is left of an earlier batch


@dataclass(frozen=True, slots=True)
class Batch:
    """Stream records that go to the function together.

    `ordinals[i]` is the place of `records[i]` in the shard, counted from where this run began.
    `attempts` counts every try and sets the backoff; `invocations` counts the tries that reached
    the function, which is what MaximumRetryAttempts limits.  They differ because a refused
    invocation spends no retry.  Both start anew after progress and after a split.  A batch without
    records is the final invocation of a tumbling window.  `since`: when its first record was read;
    that decides nothing, and is for whoever looks on.
    """

    id: int
    lane: int
    records: Sequence[Record]
    ordinals: Sequence[int]
    closed_by: ClosedBy
    attempts: int = 0
    invocations: int = 0
    since: Instant = field(default=BEGINNING, compare=False)


@dataclass(frozen=True, slots=True)
class MessageBatch:
    """Queue messages that go to the function together, before `expires_at` if possible.

    `since`: when the first of them was received, from when on they are hidden.
    """

    id: int
    messages: Sequence[Message]
    expires_at: Instant
    closed_by: ClosedBy
    attempts: int = 0
    since: Instant = field(default=BEGINNING, compare=False)


@dataclass(frozen=True, slots=True)
class TumblingWindow:
    """The latest tumbling window of a shard, which ends before `end`.

    `state`: JSON, what the function has made of the window so far; None once it is closed.
    """

    start: Instant
    end: Instant
    state: bytes | None


@dataclass(frozen=True, slots=True)
class WindowTurn:
    """What an invocation is told of its tumbling window (spec 4.2).

    `state` is the JSON that the invocation before it returned.  `final`: nothing more will come for
    that state; then `early` tells whether the window itself goes on, with a fresh one.
    """

    start: Instant
    end: Instant
    state: bytes
    final: bool = False
    early: bool = False


class DiscardReason(StrEnum):
    """The `condition` of a failure document (spec 7.1)."""

    RETRIES_EXHAUSTED = "RetryAttemptsExhausted"
    RECORD_AGE_EXCEEDED = "RecordAgeExceeded"
    RECORD_TOO_LARGE = "RecordTooLarge"  # ours: no function takes its event (spec 4.1, 12.1)


@dataclass(frozen=True, slots=True)
class Discard:
    """Records given up, and how the last invocation of them went (None: there was none)."""

    reason: DiscardReason
    batch: Batch
    outcome: Outcome | None
    window: WindowTurn | None = None


class Fate(StrEnum):
    """What became of a discard."""

    SENT = "sent"  # the destination has it
    KEPT = "kept"  # the destination failed; the state store holds the document
    DROPPED = "dropped"  # there is no destination


@dataclass(frozen=True, slots=True)
class LaneMarks:
    """How far each lane has settled, by the routing that `count` lanes give.

    None: this lane has settled nothing beyond the position's own sequence number.
    """

    count: int
    settled: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Begun:
    """An aggregate of which the first `settled` records, but not all, are settled."""

    sequence: str
    settled: int


@dataclass(frozen=True, slots=True)
class Position:
    """Where to resume a shard.

    Everything up to and with `sequence` is settled (None: nothing yet; then reading begins with
    the records that arrived at or after `since`, or at the oldest record if that is None too).
    `ahead`: what lanes had settled beyond it, newest routing first.  `ended`: the whole shard is.
    `begun`: what is settled of the records that share the next sequence number.
    `window`: where windows tumble, the latest one; its state holds exactly what is settled.
    """

    sequence: str | None = None
    since: Instant | None = None
    ahead: tuple[LaneMarks, ...] = ()
    ended: bool = False
    begun: Begun | None = None
    window: TumblingWindow | None = None


# Outcomes: how one invocation went.  `report` is for the failure document, `findings` (what is odd
# about the response) for the log; the core only hands them on.  `state` is what the function
# returned for its tumbling window, None without one.


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The function ran and everything in the batch is done."""

    state: bytes | None = None
    findings: Sequence[Any] = field(default=(), compare=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class PartlyFailed:
    """The function ran and reported these indexes of its batch as failed; never empty."""

    failed: frozenset[int]
    report: Any = None
    state: bytes | None = None
    findings: Sequence[Any] = field(default=(), compare=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Failed:
    """The function failed (`bisectable`), or it ran and its response condemns the whole batch."""

    error: str
    bisectable: bool = True
    report: Any = None
    findings: Sequence[Any] = field(default=(), compare=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Refused:
    """The function was never reached: throttled, unreachable, still starting."""

    error: str
    retry_after: Seconds | None = None


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The function was never reached: who runs it takes no event of this size."""

    error: str


Outcome = Succeeded | PartlyFailed | Failed | Refused | TooLarge


# Looking in.


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One machine, now.  `oldest`: arrival of the oldest unsettled record, if known.

    Of queues only: `slots`, how many invocations may run at once, and `pollers`, how many
    provisioned pollers that takes (None: they are not provisioned).
    """

    unsettled: int
    unsettled_bytes: int
    in_flight: int
    read_up_to: Instant | None
    oldest: Instant | None
    blocked: str | None  # why it waits to retry, None if it does not
    caught_up: bool
    slots: int | None = None
    pollers: int | None = None
