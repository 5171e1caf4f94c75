"""A made-up outside for one machine: records, a function's behaviour, latencies, faults.

Everything is decided by one seeded random source, so one seed is one life.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from poller.core.model import Batch, Instant, Outcome, Seconds


@dataclass(frozen=True, slots=True)
class MadeRecord:
    """A core Record whose `index` is its place in the shard."""

    sequence: str
    key: str | None
    arrived_at: Instant
    size: int
    index: int


@dataclass(frozen=True, slots=True)
class MadeMessage:
    """A core Message; `receipt` changes with every receive."""

    id: str
    receipt: str
    group: str | None
    size: int
    index: int


@dataclass(slots=True)
class StreamWorld:
    """A shard with all the records it will ever have, and the function they go to."""

    records: Sequence[MadeRecord]
    outcome: Callable[[Batch, random.Random], Outcome]
    random: random.Random
    read_failures: float = 0.0  # the share of reads that fail
    read_latency: tuple[Seconds, Seconds] = (0.01, 0.2)
    run_latency: tuple[Seconds, Seconds] = (0.01, 2.0)
    crash_at: Instant | None = None
    stop_at: Instant | None = None
    ends: bool = True  # whether the shard is closed behind its last record

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
) -> list[MadeRecord]:
    """`count` records of `keys` keys that arrive `rate` a second; a share of them has no key.

    `aggregate`: how many of them at most came as one, with one sequence number.
    """
    at, first, records = 0.0, 0, []
    for index in range(count):
        if index - first >= aggregate or random.random() < 0.2 or index == 0:
            at, first = at + random.expovariate(rate), index
        key = None if random.random() < keyless else f"k{random.randrange(keys)}"
        sequence = str(10**20 + first * 7)
        records.append(MadeRecord(sequence, key, at, random.choice(sizes), index))
    return records
