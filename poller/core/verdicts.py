"""What an invocation's outcome means for its batch (spec 6.1, 6.3, 6.4, 16.1).

outcome                batch        settled   left over     counters    then
Succeeded              any          all       -             -           next batch
Refused                any          none      whole batch   attempts+1  back off
TooLarge               > 1 record   none      two halves    anew        back off
TooLarge               1 record     none      whole batch   attempts+1  give up
TooLarge               no records   none      whole batch   attempts+1  back off
PartlyFailed, i > 0    any          [:i]      [i:]          anew        back off
Failed, bisectable     bisect, > 1  none      two halves    anew        back off
any other failure      retries left none      whole batch   both+1      back off
any other failure      none left    none      whole batch   both+1      give up
any other failure      no records   none      whole batch   both+1      back off

i is the lowest index reported as failed.  Counters: `attempts` sets the backoff, `invocations` is
what MaximumRetryAttempts limits: N allows N+1 of them.  A split spends no retry, and progress
starts the count anew.  What is too large is split whether or not the mapping bisects.  A batch
without records, which is the final invocation of a window, has nothing that could be given up.

What settles records settles the state that came with them, too: with the records before the first
failure, the state that the function returned beside its failures.  Nothing else changes a state.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from .model import (
    Batch,
    ClosedBy,
    DiscardReason,
    Failed,
    Outcome,
    PartlyFailed,
    Refused,
    Seconds,
    Succeeded,
    TooLarge,
)
from .policy import QueuePolicy, StreamPolicy


class Verdict(NamedTuple):
    """`settled` leading records are done; `again` are to be tried, or given up as one batch.

    `give_up`: why they are given up, if so.  `state`: the new state of the tumbling window, if it
    has changed.  A tuple, since every batch needs one and a frozen dataclass takes five times as
    long to make.
    """

    settled: int
    again: tuple[Batch, ...] = ()
    give_up: DiscardReason | None = None
    retry_after: Seconds | None = None
    state: bytes | None = None


def judge(batch: Batch, outcome: Outcome, policy: StreamPolicy) -> Verdict:
    match outcome:
        case Succeeded(state):
            return Verdict(len(batch.records), state=state)
        case Refused(retry_after=wait):
            tried = replace(batch, attempts=batch.attempts + 1, closed_by=ClosedBy.RETRY)
            return Verdict(0, (tried,), retry_after=wait)
        case PartlyFailed(failed, state=state) if min(failed) > 0:
            first = min(failed)
            rest = part(batch, first, len(batch.records), anew=True)
            return Verdict(first, (rest,), state=state)
        case Failed(bisectable=True) if policy.bisect and len(batch.records) > 1:
            return Verdict(0, _halves(batch))
        case TooLarge():
            return _judge_size(batch)
    tried = replace(
        batch,
        attempts=batch.attempts + 1,
        invocations=batch.invocations + 1,
        closed_by=ClosedBy.RETRY,
    )
    limit = policy.retries_max if batch.records else None
    spent = limit is not None and tried.invocations > limit
    return Verdict(0, (tried,), DiscardReason.RETRIES_EXHAUSTED if spent else None)


def _judge_size(batch: Batch) -> Verdict:
    if len(batch.records) > 1:
        return Verdict(0, _halves(batch))
    tried = replace(batch, attempts=batch.attempts + 1, closed_by=ClosedBy.RETRY)
    return Verdict(0, (tried,), DiscardReason.RECORD_TOO_LARGE if batch.records else None)


def _halves(batch: Batch) -> tuple[Batch, Batch]:
    half = len(batch.records) // 2
    first_half = part(batch, 0, half, anew=True)
    return first_half, part(batch, half, len(batch.records), anew=True)


def part(batch: Batch, start: int, end: int, *, anew: bool) -> Batch:
    """The records [start:end] of a batch as one of their own; `anew` forgets its tries."""
    return Batch(
        batch.id,
        batch.lane,
        batch.records[start:end],
        batch.ordinals[start:end],
        ClosedBy.RETRY if anew else batch.closed_by,
        0 if anew else batch.attempts,
        0 if anew else batch.invocations,
        batch.since,
    )


def reason(outcome: Outcome) -> str:
    """Why a batch is tried again."""
    match outcome:
        case Failed(error) | Refused(error) | TooLarge(error):
            return error
        case _:
            return "the function reported failed records"


def pause(
    asked: Seconds | None, attempts: int, policy: StreamPolicy | QueuePolicy, jitter: float
) -> Seconds:
    """How long to wait before trying again: as long as was asked for, but never not at all."""
    if asked is not None:
        return max(asked, policy.backoff_min)
    return backoff(attempts, policy, jitter)


def backoff(attempts: int, policy: StreamPolicy | QueuePolicy, jitter: float) -> Seconds:
    """Exponential with jitter: half of it is fixed.  `jitter` is in [0, 1)."""
    doublings = min(max(attempts - 1, 0), 32)
    ceiling = min(policy.backoff_max, policy.backoff_min * 2.0**doublings)
    return float(ceiling * (0.5 + jitter / 2))
