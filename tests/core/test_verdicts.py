"""What an outcome means for its batch, and how long a batch waits before it is tried again."""

from __future__ import annotations

import pytest

from poller.core.model import (
    Batch,
    ClosedBy,
    DiscardReason,
    Failed,
    Outcome,
    PartlyFailed,
    Refused,
    Succeeded,
    TooLarge,
)
from poller.core.policy import QueuePolicy, StreamPolicy
from poller.core.verdicts import Verdict, backoff, judge
from poller.lab.world import MadeRecord

RECORDS = [MadeRecord(str(100 + i), "k", 0.0, 10, i) for i in range(5)]
BISECT = StreamPolicy(bisect=True, retries_max=2)
WHOLE = StreamPolicy(retries_max=2)
SPENT = DiscardReason.RETRIES_EXHAUSTED


def batch(start: int, end: int, attempts: int = 0, invocations: int = 0) -> Batch:
    """The records [start:end] of a batch that was closed by their count, or is tried again."""
    closed_by = ClosedBy.RETRY if attempts or (start, end) != (0, 5) else ClosedBy.COUNT
    places = range(start, end)
    return Batch(1, 0, RECORDS[start:end], places, closed_by, attempts, invocations)


# Each line of the table in the module's docstring, in its order; each batch was tried once before.
ROWS: list[tuple[Outcome, StreamPolicy, Batch, Verdict]] = [
    (Succeeded(b"7"), WHOLE, batch(0, 5, 1, 1), Verdict(5, state=b"7")),
    (Refused("429", 3.0), WHOLE, batch(0, 5, 1, 1),
     Verdict(0, (batch(0, 5, 2, 1),), retry_after=3.0)),
    (TooLarge("413"), WHOLE, batch(0, 5, 1, 1), Verdict(0, (batch(0, 2), batch(2, 5)))),
    (TooLarge("413"), WHOLE, batch(4, 5, 1, 1),
     Verdict(0, (batch(4, 5, 2, 1),), DiscardReason.RECORD_TOO_LARGE)),
    (TooLarge("413"), WHOLE, batch(5, 5, 1, 1), Verdict(0, (batch(5, 5, 2, 1),))),
    (PartlyFailed(frozenset({4, 2}), state=b"7"), WHOLE, batch(0, 5, 1, 1),
     Verdict(2, (batch(2, 5),), state=b"7")),
    (Failed("x"), BISECT, batch(0, 5, 1, 1), Verdict(0, (batch(0, 2), batch(2, 5)))),
    (Failed("x"), WHOLE, batch(0, 5, 1, 1), Verdict(0, (batch(0, 5, 2, 2),))),
    (Failed("x"), WHOLE, batch(0, 5, 2, 2), Verdict(0, (batch(0, 5, 3, 3),), SPENT)),
    (Failed("x", bisectable=False), BISECT, batch(0, 5, 2, 2),
     Verdict(0, (batch(0, 5, 3, 3),), SPENT)),
    (PartlyFailed(frozenset({0})), BISECT, batch(0, 5, 2, 2),
     Verdict(0, (batch(0, 5, 3, 3),), SPENT)),
    (Failed("x"), BISECT, batch(4, 5, 2, 2), Verdict(0, (batch(4, 5, 3, 3),), SPENT)),
    (Failed("x"), BISECT, batch(5, 5, 9, 9), Verdict(0, (batch(5, 5, 10, 10),))),
]  # fmt: skip


@pytest.mark.parametrize(("outcome", "policy", "tried", "verdict"), ROWS)
def test_an_outcome_means_for_its_batch_what_the_table_says(
    outcome: Outcome, policy: StreamPolicy, tried: Batch, verdict: Verdict
) -> None:
    assert judge(tried, outcome, policy) == verdict


@pytest.mark.proves("S6.1.backoff")
@pytest.mark.parametrize("policy", [StreamPolicy(), QueuePolicy()])
@pytest.mark.parametrize(
    ("attempts", "least", "most"),
    [(1, 0.25, 0.5), (2, 0.5, 1.0), (3, 1.0, 2.0), (6, 8.0, 16.0), (7, 15.0, 30.0)]
    + [(attempts, 15.0, 30.0) for attempts in (8, 40, 10_000)],
)
def test_the_wait_doubles_from_half_a_second_to_half_a_minute_and_half_of_it_is_random(
    policy: StreamPolicy | QueuePolicy, attempts: int, least: float, most: float
) -> None:
    assert (backoff(attempts, policy, 0.0), backoff(attempts, policy, 1.0)) == (least, most)
