"""The steps of the machines: facts in, commands out.

Facts are things that happened, named in the past tense.  Commands are things to do, named in the
imperative.  The machines turn facts into commands; the engine turns commands into facts, exactly
one fact for each command but `Finish`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .model import (
    Batch,
    Discard,
    Fate,
    Instant,
    Message,
    MessageBatch,
    Outcome,
    Position,
    Record,
    Seconds,
    WindowTurn,
)

NONE_FILTERED: frozenset[int] = frozenset()

# Facts.


@dataclass(frozen=True, slots=True)
class Started: ...


@dataclass(frozen=True, slots=True)
class Fetched:
    """A read that was answered; records that share a sequence number come with one read.

    `size`: at least the sum of the records' sizes.  `asked_at`: when the read was sent.
    `read_up_to`: every record that arrived before this instant has been read; the reader has
    caught up when it is not before `asked_at`.  `filtered`: the indexes of records that match no
    filter.
    """

    records: Sequence[Record]
    size: int
    asked_at: Instant
    read_up_to: Instant
    shard_ended: bool = False
    filtered: frozenset[int] = NONE_FILTERED


@dataclass(frozen=True, slots=True)
class FetchFailed:
    """A read that brought nothing: throttled, refused, cut off."""

    error: str
    retry_after: Seconds | None = None


@dataclass(frozen=True, slots=True)
class Invoked:
    batch_id: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Delivered:
    batch_id: int
    fate: Fate


@dataclass(frozen=True, slots=True)
class Checkpointed: ...


@dataclass(frozen=True, slots=True)
class Ticked: ...


@dataclass(frozen=True, slots=True)
class Stopping:
    """Start nothing that cannot end before `until`."""

    until: Instant


Fact = Started | Fetched | FetchFailed | Invoked | Delivered | Checkpointed | Ticked | Stopping


@dataclass(frozen=True, slots=True)
class Received:
    """A receive that was answered.

    `limit` is what was asked for, `size` at least the sum of the messages' sizes, `expires_at`
    when these messages become visible to others again, `filtered` the indexes of messages that
    match no filter.
    """

    messages: Sequence[Message]
    size: int
    limit: int
    expires_at: Instant
    filtered: frozenset[int] = NONE_FILTERED


@dataclass(frozen=True, slots=True)
class ReceiveFailed:
    """A receive that brought nothing: throttled, refused, cut off."""

    error: str
    limit: int
    retry_after: Seconds | None = None


@dataclass(frozen=True, slots=True)
class Deleted:
    """A deletion was answered; `failed` of its messages are still in the queue."""

    count: int
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Released: ...


@dataclass(frozen=True, slots=True)
class Extended:
    """A batch is hidden until `expires_at`; None: that failed.  `permitted`: trying may help."""

    batch_id: int
    expires_at: Instant | None
    permitted: bool = True


QueueFact = (
    Started | Received | ReceiveFailed | Invoked | Deleted | Released | Extended | Ticked | Stopping
)


# Commands.  Each but Finish is answered by exactly one fact.


@dataclass(frozen=True, slots=True)
class Fetch:
    """Answered by Fetched or FetchFailed."""

    limit: int


@dataclass(frozen=True, slots=True)
class Invoke:
    """Answered by Invoked."""

    batch: Batch
    window: WindowTurn | None = None


@dataclass(frozen=True, slots=True)
class Deliver:
    """Answered by Delivered."""

    discard: Discard


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Answered by Checkpointed, once `position` is durable."""

    position: Position


@dataclass(frozen=True, slots=True)
class Finish:
    """The machine's last command: the shard is read to its end, or stopping is complete."""

    shard_ended: bool = False


Command = Fetch | Invoke | Deliver | Checkpoint | Finish


@dataclass(frozen=True, slots=True)
class Receive:
    """Answered by Received or ReceiveFailed."""

    limit: int


@dataclass(frozen=True, slots=True)
class InvokeMessages:
    """Answered by Invoked."""

    batch: MessageBatch


@dataclass(frozen=True, slots=True)
class Delete:
    """Answered by Deleted."""

    messages: Sequence[Message]


@dataclass(frozen=True, slots=True)
class Release:
    """Make these messages visible to others at once; answered by Released."""

    messages: Sequence[Message]


@dataclass(frozen=True, slots=True)
class Extend:
    """Hide the messages of this batch for `seconds` from now on; answered by Extended."""

    batch: MessageBatch
    seconds: int


QueueCommand = Receive | InvokeMessages | Delete | Release | Extend | Finish
