"""The core alone: a stream machine that is answered at once, without IO or an event loop."""

from __future__ import annotations

from collections import deque

from poller.core.model import Succeeded
from poller.core.policy import StreamPolicy
from poller.core.steps import (
    Checkpoint,
    Checkpointed,
    Fact,
    Fetch,
    Fetched,
    Invoke,
    Invoked,
    Started,
)
from poller.core.streams import StreamMachine
from poller.lab.world import MadeRecord
from tests.bench.sampling import Sample, Spending

RECORDS = [MadeRecord(str(10**55 + i), f"key-{i % 1000}", 0.0, 500, i) for i in range(5000)]
NOW = 1.0


async def one_lane(_url: str, seconds: float) -> Sample:
    return _run(StreamPolicy(fetch_max=1000), seconds)


async def ten_lanes(_url: str, seconds: float) -> Sample:
    return _run(StreamPolicy(lanes=10, fetch_max=5000), seconds)


def _run(policy: StreamPolicy, seconds: float) -> Sample:
    machine = StreamMachine(policy)
    facts: deque[Fact] = deque([Started()])
    done, spending = 0, Spending(seconds)
    while spending.goes_on():
        for command in machine.handle(facts.popleft(), NOW):
            match command:
                case Invoke(batch):
                    done += len(batch.records)
                    facts.append(Invoked(batch.id, Succeeded()))
                case Checkpoint():
                    facts.append(Checkpointed())
                case Fetch(limit):
                    page = RECORDS[:limit]
                    facts.append(Fetched(page, 500 * len(page), NOW, read_up_to=NOW - 0.5))
    return spending.sample(done)
