"""A made-up outside for one machine: records, a function's behaviour, latencies, faults.

Everything is decided by one seeded random source, so one seed is one life.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from poller.core.model import (
    Batch,
    Instant,
    Outcome,
    PartlyFailed,
    Seconds,
    Succeeded,
    TooLarge,
    WindowTurn,
)


@dataclass(frozen=True, slots=True)
class MadeRecord:
    """A core Record whose `index` is its place in the shard.

    `delay`: how long after `arrived_at`, which a clock of its own may have stamped, it can be read.
    """

    sequence: str
    key: str | None
    arrived_at: Instant
    size: int
    index: int
    delay: Seconds = 0.0

    @property
    def readable_at(self) -> Instant:
        return self.arrived_at + self.delay


@dataclass(frozen=True, slots=True)
class MadeMessage:
    """A core Message; `receipt` changes with every receive."""

    id: str
    receipt: str
    group: str | None
    size: int
    index: int


@dataclass(slots=True)
class MadeQueue:
    """Messages with visibility; a FIFO group is locked while a message of it is hidden."""

    groups: list[str | None]
    visibility: Seconds
    receives: dict[int, int] = field(default_factory=dict)
    received_at: dict[int, Instant] = field(default_factory=dict)
    deleted: set[int] = field(default_factory=set)
    hidden_until: dict[int, Instant] = field(default_factory=dict)

    def receive(self, limit: int, now: Instant, size: int) -> list[MadeMessage]:
        hidden = {
            self.groups[index]
            for index, until in self.hidden_until.items()
            if until > now and index not in self.deleted and self.groups[index] is not None
        }
        taken: list[MadeMessage] = []
        for index, group in enumerate(self.groups):
            free = index not in self.deleted and self.hidden_until.get(index, 0.0) <= now
            if not free or group in hidden or len(taken) == limit:
                continue
            self.received_at[index] = now
            self.hidden_until[index] = now + self.visibility
            self.receives[index] = self.receives.get(index, 0) + 1
            receipt = f"{index}@{self.receives[index]}"
            taken.append(MadeMessage(str(index), receipt, group, size, index))
        return taken

    def older(self, message: MadeMessage) -> set[int]:
        """What is still in the queue of those before it in its group."""
        before = range(message.index)
        return {i for i in before if self.groups[i] == message.group} - self.deleted

    def extend(self, message: MadeMessage, until: Instant, now: Instant) -> bool:
        """As ChangeMessageVisibility: only of a message that is still hidden by this receipt."""
        hidden = self.hides(message, now)
        if hidden:
            self.hidden_until[message.index] = until
        return hidden

    def hides(self, message: MadeMessage, now: Instant) -> bool:
        return self.is_mine(message) and self.hidden_until[message.index] > now

    def is_mine(self, message: MadeMessage) -> bool:
        return message.receipt == f"{message.index}@{self.receives[message.index]}"


@dataclass(slots=True)
class StreamWorld:
    """A shard with all the records it will ever have, and the function they go to."""

    records: Sequence[MadeRecord]
    outcome: Callable[[Batch, random.Random], Outcome]
    random: random.Random
    read_failures: float = 0.0  # the share of reads that fail
    outage: tuple[Instant, Instant] | None = None  # while all of them fail
    tells_reach: bool = True  # whether a read that has caught up says so
    read_latency: tuple[Seconds, Seconds] = (0.01, 0.2)
    run_latency: tuple[Seconds, Seconds] = (0.01, 2.0)
    crash_at: Instant | None = None
    stop_at: Instant | None = None
    ends: bool = True  # whether the shard is closed behind its last record
    takes_bytes: int | None = None  # of records and state, most that the function is given

    def answer(self, batch: Batch, window: WindowTurn | None) -> Outcome:
        """What the function answers; in a window its state is the records that it has counted."""
        if self.takes_bytes is not None and batch.records:
            state = b"" if window is None else window.state
            if len(state) + sum(record.size for record in batch.records) > self.takes_bytes:
                return TooLarge("413")
        outcome = self.outcome(batch, self.random)
        return outcome if window is None else _with_state(outcome, batch, window)

    def is_out(self, now: Instant) -> bool:
        return self.outage is not None and self.outage[0] <= now < self.outage[1]

    def between(self, bounds: tuple[Seconds, Seconds]) -> Seconds:
        return self.random.uniform(*bounds)


def make_records(
    count: int,
    *,
    keys: int,
    random: random.Random,
    rate: float = 50.0,
    sizes: Sequence[int] = (100,),
    keyless: float = 0.0,
    aggregate: int = 1,
    skew: Seconds = 0.0,
) -> list[MadeRecord]:
    """`count` records of `keys` keys that arrive `rate` a second; a share of them has no key.

    `aggregate`: how many of them at most came as one, with one sequence number.  They are stamped
    up to `skew` seconds early, so that stamps do not rise everywhere.
    """
    at, first, delay, records = 0.0, 0, 0.0, []
    for index in range(count):
        if index - first >= aggregate or random.random() < 0.2 or index == 0:
            at, first = at + random.expovariate(rate), index
            delay = random.uniform(0.0, skew) if skew else 0.0
        key = None if random.random() < keyless else f"k{random.randrange(keys)}"
        sequence = str(10**20 + first * 7)
        size = random.choice(sizes)
        records.append(MadeRecord(sequence, key, at - delay, size, index, delay))
    return records


def counted(state: bytes) -> list[int]:
    """The indexes of the records in the state of a window."""
    return list(json.loads(state))


def _with_state(outcome: Outcome, batch: Batch, window: WindowTurn) -> Outcome:
    """The state that counts what is done; a failure of the first record counts all the same."""
    before = counted(window.state)
    indexes = [record.index for record in batch.records]  # type: ignore[attr-defined]
    match outcome:
        case Succeeded():
            return Succeeded(_state([*before, *indexes]))
        case PartlyFailed(failed):
            done = indexes[: min(failed)] or indexes
            return PartlyFailed(failed, state=_state([*before, *done]))
        case _:
            return outcome


def _state(indexes: list[int]) -> bytes:
    return json.dumps(indexes).encode()
