"""Received messages that are not yet in a batch: one shape for standard queues, one for FIFO.

What a batch was split into waits before all else, as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from .batches import Batcher, Taken
from .model import ClosedBy, Instant, Message, MessageBatch
from .policy import QueuePolicy

Groups = Collection[str | None]


class WaitingMessages(Protocol):
    """Messages in the order they were received; the place of each is when it expires."""

    def __len__(self) -> int: ...

    def add(
        self, messages: Sequence[Message], *, size: int, expires_at: Instant, now: Instant
    ) -> None: ...

    def due_at(self) -> Instant | None:
        """When the next batch is due; None if nothing waits."""

    def take(self, now: Instant, *, locked: Groups, flush: bool) -> Taken[Message, Instant] | None:
        """A batch that is due, with no message of the `locked` groups."""

    def forget(self, groups: Groups) -> list[Message]:
        """Drop messages of these groups, and return them."""

    def take_all(self) -> list[Message]: ...


class StandardMessages:
    """Messages without order: count, bytes and window make batches of them."""

    def __init__(self, policy: QueuePolicy) -> None:
        self._batcher = Batcher[Message, Instant](
            policy.batch_size, policy.batch_bytes_max, policy.batch_window
        )

    def __len__(self) -> int:
        return len(self._batcher)

    def add(
        self, messages: Sequence[Message], *, size: int, expires_at: Instant, now: Instant
    ) -> None:
        self._batcher.add(messages, [expires_at] * len(messages), size=size, now=now)

    def due_at(self) -> Instant | None:
        return self._batcher.due_at(0.0)

    def take(self, now: Instant, *, locked: Groups, flush: bool) -> Taken[Message, Instant] | None:
        return self._batcher.take(now, flush=flush)

    def forget(self, groups: Groups) -> list[Message]:
        """None: there are no groups to keep in order."""
        return []

    def take_all(self) -> list[Message]:
        return self._batcher.take_all()


class FifoMessages:
    """Messages with groups: order within a group, and never a group in two batches.

    FIFO queues have no batching window (spec 8.4): what waits is due at once.
    """

    def __init__(self, policy: QueuePolicy) -> None:
        self._count_max = policy.batch_size
        self._bytes_max = policy.batch_bytes_max
        self._waiting: list[tuple[Message, Instant, Instant]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(
        self, messages: Sequence[Message], *, size: int, expires_at: Instant, now: Instant
    ) -> None:
        self._waiting += [(message, expires_at, now) for message in messages]

    def due_at(self) -> Instant | None:
        """None: what could run runs at once, and the rest waits for a batch to end."""
        return None

    def take(self, now: Instant, *, locked: Groups, flush: bool) -> Taken[Message, Instant] | None:
        taken: list[tuple[Message, Instant, Instant]] = []
        left: list[tuple[Message, Instant, Instant]] = []
        size, fits = 0, True
        for entry in self._waiting:
            message = entry[0]
            # Once one does not fit none does, so that nothing overtakes in its group.
            fits = fits and (not taken or size + message.size <= self._bytes_max)
            if not fits or len(taken) == self._count_max or message.group in locked:
                left.append(entry)
            else:
                taken.append(entry)
                size += message.size
        if not taken:
            return None
        self._waiting = left
        full = ClosedBy.COUNT if len(taken) == self._count_max else ClosedBy.WINDOW
        messages, places, times = zip(*taken, strict=True)
        return Taken(messages, places, full if fits else ClosedBy.BYTES, min(times))

    def forget(self, groups: Groups) -> list[Message]:
        forgotten = [entry[0] for entry in self._waiting if entry[0].group in groups]
        self._waiting = [entry for entry in self._waiting if entry[0].group not in groups]
        return forgotten

    def take_all(self) -> list[Message]:
        messages = [entry[0] for entry in self._waiting]
        self._waiting = []
        return messages


class HalvesFirst:
    """Halves of batches that were too large, and behind them what was never in a batch.

    A half goes when none of its groups is locked or waits before it.
    """

    def __init__(self, behind: WaitingMessages) -> None:
        self._halves: list[Taken[Message, Instant]] = []
        self._behind = behind
        self.add = behind.add

    def __len__(self) -> int:
        behind = len(self._behind)
        return behind + sum(len(half.items) for half in self._halves) if self._halves else behind

    def split(self, batch: MessageBatch) -> None:
        """Put both halves of `batch`, which has more than one message, in front."""
        messages, half = batch.messages, len(batch.messages) // 2
        self._halves[:0] = [
            Taken(part, [batch.expires_at] * len(part), ClosedBy.RETRY, batch.since)
            for part in (messages[:half], messages[half:])
        ]

    def due_at(self) -> Instant | None:
        """As of what is behind: a half that could run runs at once."""
        return self._behind.due_at()

    def take(self, now: Instant, *, locked: Groups, flush: bool) -> Taken[Message, Instant] | None:
        if not self._halves:
            return self._behind.take(now, locked=locked, flush=flush)
        locked = set(locked)
        for index, half in enumerate(self._halves):
            groups = _groups(half)
            if locked.isdisjoint(groups):
                del self._halves[index]
                return half
            locked |= groups
        return self._behind.take(now, locked=locked, flush=flush)

    def forget(self, groups: Groups) -> list[Message]:
        forgotten: list[Message] = []
        for index, half in enumerate(self._halves):
            if not _groups(half).isdisjoint(groups):
                forgotten += [message for message in half.items if message.group in groups]
                left = [message for message in half.items if message.group not in groups]
                self._halves[index] = half._replace(items=left, places=half.places[: len(left)])
        self._halves = [half for half in self._halves if half.items]
        return forgotten + self._behind.forget(groups)

    def take_all(self) -> list[Message]:
        messages = [message for half in self._halves for message in half.items]
        self._halves = []
        return messages + self._behind.take_all()


def _groups(half: Taken[Message, Instant]) -> set[str]:
    """What must stay in order; nothing on a standard queue."""
    return {message.group for message in half.items if message.group is not None}


def waiting_messages(policy: QueuePolicy) -> HalvesFirst:
    return HalvesFirst(FifoMessages(policy) if policy.fifo else StandardMessages(policy))
