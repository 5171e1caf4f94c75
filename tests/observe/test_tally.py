"""What each count means."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.core.model import (
    ClosedBy,
    Discard,
    DiscardReason,
    Failed,
    Fate,
    Instant,
    Outcome,
    PartlyFailed,
    Position,
    Refused,
    Succeeded,
    TooLarge,
    WindowTurn,
)
from poller.core.policy import StreamPolicy
from poller.core.steps import (
    Checkpoint,
    Checkpointed,
    Deleted,
    Deliver,
    Delivered,
    Fetch,
    Fetched,
    FetchFailed,
    Invoke,
    Invoked,
    InvokeMessages,
    Received,
    ReceiveFailed,
    Started,
    Stopping,
    Ticked,
)
from poller.core.streams import StreamMachine
from poller.interfaces import Failure, Unit
from poller.observe.counts import COUNTS, Counts
from poller.observe.tally import DELETED_SHOWN, PRUNE_INTERVAL, UNSEEN_MAX, Tally
from tests.observe.values import (
    NOW,
    QUEUE,
    SHARD,
    QueueMessage,
    StreamRecord,
    batch,
    messages,
    records,
)

Step = tuple[Any, list[Any]]
SENT = {"invoked": 5, "closed_by_count": 1}
SENT_MESSAGES = {"invoked": 5, "closed_by_window": 1}
RECORDS = records(5)
DISCARD = Discard(DiscardReason.RETRIES_EXHAUSTED, batch(1, RECORDS), Failed("boom"))
INVOKE = (Ticked(), [Invoke(batch(1, RECORDS))])
WINDOW = WindowTurn(0.0, 60.0, b"{}", final=True)
FINAL = (Ticked(), [Invoke(batch(1, (), ClosedBy.FLUSH), WINDOW)])
FINAL_AGAIN = Invoke(batch(2, (), ClosedBy.RETRY, attempts=1), WINDOW)
INVOKE_MESSAGES = (Ticked(), [InvokeMessages(messages(1, 5))])


def counted(unit: Unit, *steps: Step, tally: Tally | None = None) -> dict[str, float]:
    """The counts that are not zero after `steps`, one second apart."""
    tally = tally or Tally()
    for second, (fact, commands) in enumerate(steps):
        tally.saw(unit, fact, commands, NOW + second)
    return nonzero(tally.units[unit].counts)


def nonzero(counts: Counts) -> dict[str, float]:
    return {name: value for name in COUNTS if (value := getattr(counts, name))}


@pytest.mark.proves("S11.1.counts")
@pytest.mark.parametrize(
    ("unit", "steps", "expected"),
    [
        (SHARD, [(Fetched(RECORDS, 500, NOW, NOW), [])], {"fetches": 1, "polled": 5}),
        (SHARD, [(Fetched([], 0, NOW, NOW), [])], {"fetches": 1}),
        (SHARD, [(FetchFailed("throttled"), [])], {"fetch_failures": 1}),
        (
            QUEUE,
            [(Received([QueueMessage("1")], 100, 10, NOW), [])],
            {"fetches": 1, "polled": 1},
        ),
        (QUEUE, [(ReceiveFailed("throttled", 10), [])], {"fetch_failures": 1}),
        (SHARD, [(Stopping(NOW), []), (FetchFailed("stopping"), [])], {}),
        (SHARD, [INVOKE], SENT),
        (SHARD, [FINAL], {}),
        (
            SHARD,
            [FINAL, (Invoked(1, Failed("boom")), [FINAL_AGAIN])],
            {"invocations_failed": 1, "invocation_seconds": 1, "retries": 1},
        ),
        (
            SHARD,
            [INVOKE, (Invoked(1, Succeeded()), [])],
            {**SENT, "succeeded": 5, "invocations_succeeded": 1, "invocation_seconds": 1},
        ),
        (
            SHARD,
            [INVOKE, (Invoked(1, PartlyFailed(frozenset({2, 4}))), [])],
            {
                **SENT,
                "succeeded": 2,
                "failed": 5,
                "invocations_partly_failed": 1,
                "invocation_seconds": 1,
            },
        ),
        (
            QUEUE,
            [INVOKE_MESSAGES, (Invoked(1, PartlyFailed(frozenset({2, 4}))), [])],
            {
                **SENT_MESSAGES,
                "succeeded": 3,
                "failed": 5,
                "invocations_partly_failed": 1,
                "invocation_seconds": 1,
            },
        ),
        (
            SHARD,
            [INVOKE, (Invoked(1, Failed("boom")), [])],
            {**SENT, "failed": 5, "invocations_failed": 1, "invocation_seconds": 1},
        ),
        (
            SHARD,
            [INVOKE, (Invoked(1, Refused("429")), [])],
            {**SENT, "failed": 5, "invocations_refused": 1},
        ),
        (
            SHARD,
            [INVOKE, (Invoked(1, TooLarge("413")), [])],
            {**SENT, "failed": 5, "invocations_refused": 1},
        ),
        (
            SHARD,
            [(Ticked(), [Invoke(batch(2, RECORDS, ClosedBy.RETRY, attempts=1))])],
            {"invoked": 5, "retries": 1},
        ),
        (
            SHARD,  # a half of a split batch has no attempts of its own
            [(Ticked(), [Invoke(batch(2, RECORDS, ClosedBy.RETRY))])],
            {"invoked": 5, "retries": 1},
        ),
        (
            QUEUE,  # a refused batch of messages keeps its number and why it closed
            [(Ticked(), [InvokeMessages(messages(1, 5, attempts=1))])],
            {"invoked": 5, "retries": 1},
        ),
        (SHARD, [(Ticked(), [Deliver(DISCARD)]), (Delivered(1, Fate.SENT), [])], {"delivered": 5}),
        (SHARD, [(Ticked(), [Deliver(DISCARD)]), (Delivered(1, Fate.KEPT), [])], {"kept": 5}),
        (SHARD, [(Ticked(), [Deliver(DISCARD)]), (Delivered(1, Fate.DROPPED), [])], {"dropped": 5}),
        (QUEUE, [(Deleted(9, 1), [])], {"deleted": 9, "delete_failures": 1}),
        (SHARD, [(Ticked(), [Checkpoint(Position("1"))])], {}),
        (SHARD, [(Checkpointed(), [Fetch(10)])], {"checkpoints": 1}),
    ],
)
def test_each_step_counts_as_aws_counts_it(
    unit: Unit, steps: Sequence[Step], expected: dict[str, float]
) -> None:
    assert counted(unit, *steps) == expected


@pytest.mark.parametrize(
    "closed_by", [each for each in ClosedBy if each is not ClosedBy.RETRY], ids=str
)
def test_a_batch_counts_by_why_it_closed(closed_by: ClosedBy) -> None:
    steps = (Ticked(), [Invoke(batch(1, RECORDS, closed_by))])
    assert counted(SHARD, steps) == {"invoked": 5, f"closed_by_{closed_by}": 1}


def test_what_a_broken_machine_had_under_way_is_not_counted_by_the_next_one() -> None:
    tally = Tally()
    counted(SHARD, INVOKE, (Ticked(), [Deliver(DISCARD)]), tally=tally)
    assert tally.units[SHARD].in_flight == 1
    after = counted(SHARD, (Started(), []), (Invoked(1, Succeeded()), []), tally=tally)
    assert after == SENT
    assert tally.units[SHARD].in_flight == 0


@pytest.mark.proves("S11.1.age")
def test_the_iterator_age_is_that_of_the_last_record_when_its_batch_was_sent() -> None:
    tally = Tally()
    tally.saw(SHARD, Started(), [], NOW)
    assert tally.units[SHARD].iterator_age is None
    of = [StreamRecord("1", arrived_at=NOW - 90), StreamRecord("2", arrived_at=NOW - 70)]
    tally.saw(SHARD, Ticked(), [Invoke(batch(1, of))], NOW)
    tally.saw(SHARD, Invoked(1, Succeeded()), [], NOW + 50)
    assert tally.units[SHARD].iterator_age == 70
    tally.saw(SHARD, *FINAL, NOW + 60)
    assert tally.units[SHARD].iterator_age == 70


def test_durations_and_sizes_are_of_the_mapping_and_refusals_have_no_duration() -> None:
    tally = Tally()
    other = Unit(SHARD.mapping, SHARD.function, SHARD.source_arn, "shardId-000000000002")
    counted(SHARD, INVOKE, (Invoked(1, Failed("boom")), []), tally=tally)
    counted(other, INVOKE, (Invoked(1, Refused("429")), []), tally=tally)
    (histograms,) = tally.histograms.values()
    assert (sum(histograms.duration.counts), histograms.duration.total) == (1, 1.0)
    assert (sum(histograms.batch_records.counts), histograms.batch_records.total) == (2, 10.0)
    assert histograms.batch_records.counts[histograms.batch_records.bounds.index(5.0)] == 2


def test_a_destination_that_fails_counts_even_for_a_shard_of_an_earlier_run() -> None:
    tally = Tally()
    counted(SHARD, (Started(), []), tally=tally)
    for shard in (SHARD.shard, "shardId-gone"):
        failure = Failure(SHARD.mapping, SHARD.function, shard, "arn", "{}", "{}", "key", 1)
        tally.destination_failed(failure, NOW)
    assert tally.units[SHARD].counts.destination_failures == 1
    assert tally.of_mapping(SHARD.mapping).destination_failures == 2


def test_what_no_filter_matched_counts_apart() -> None:
    tally = Tally()
    counted(SHARD, (Fetched(RECORDS, 500, NOW, NOW, filtered=frozenset({0, 4})), []), tally=tally)
    assert nonzero(tally.of_mapping(SHARD.mapping)) == {"fetches": 1, "polled": 5, "filtered": 2}
    received = Received([QueueMessage("1")], 100, 10, NOW, filtered=frozenset({0}))
    tally.saw(QUEUE, received, [], NOW)
    assert nonzero(tally.of_mapping(QUEUE.mapping)) == {"fetches": 1, "polled": 1, "filtered": 1}


def test_units_leave_a_while_after_they_ended_and_their_sums_stay() -> None:
    tally = Tally()
    counted(SHARD, (Fetched(RECORDS, 500, NOW, NOW), []), tally=tally)
    later = NOW + UNSEEN_MAX + PRUNE_INTERVAL
    tally.saw(QUEUE, Received([QueueMessage("1")], 100, 10, NOW), [], later)
    assert list(tally.units) == [QUEUE]
    assert list(tally.histograms) == [(QUEUE.mapping, QUEUE.function)]
    assert nonzero(tally.of_mapping(SHARD.mapping)) == {"fetches": 1, "polled": 5}


def test_a_deleted_mapping_is_shown_for_a_while_and_then_leaves_nothing() -> None:
    tally = Tally()
    counted(SHARD, (Fetched(RECORDS, 500, NOW, NOW), []), tally=tally)
    tally.forget(SHARD.mapping)
    tally.prune(NOW + DELETED_SHOWN)
    assert nonzero(tally.of_mapping(SHARD.mapping)) == {"fetches": 1, "polled": 5}
    tally.prune(NOW + DELETED_SHOWN + PRUNE_INTERVAL)
    assert (tally.units, tally.histograms) == ({}, {})
    assert nonzero(tally.of_mapping(SHARD.mapping)) == {}


OUTCOMES = st.sampled_from(
    [
        Succeeded(),
        Failed("boom"),
        Failed("bad response", bisectable=False),
        Refused("429"),
        TooLarge("413"),
        PartlyFailed(frozenset({0})),
        PartlyFailed(frozenset({1, 2})),
    ]
)
POLICIES = st.builds(
    StreamPolicy,
    batch_size=st.integers(3, 5),
    lanes=st.integers(1, 3),
    retries_max=st.integers(0, 2),
    bisect=st.booleans(),
    record_age_max=st.sampled_from([None, 60.0]),
)


@given(POLICIES, st.lists(OUTCOMES, max_size=40), st.integers(1, 40), st.sampled_from(list(Fate)))
def test_counts_never_decrease_and_every_record_ends_in_exactly_one(
    policy: StreamPolicy, outcomes: list[Outcome], count: int, fate: Fate
) -> None:
    tally = Tally()
    before = dict.fromkeys(COUNTS, 0.0)
    for fact, commands, now in whole_life(policy, outcomes, count, fate):
        tally.saw(SHARD, fact, commands, now)
        after = {name: getattr(tally.units[SHARD].counts, name) for name in COUNTS}
        assert all(after[name] >= before[name] for name in COUNTS)
        before = after
    counts = tally.units[SHARD].counts
    assert counts.polled == count
    assert count == counts.succeeded + counts.delivered + counts.kept + counts.dropped
    ended = sum(value for name, value in before.items() if name.startswith("invocations_"))
    closed = sum(value for name, value in before.items() if name.startswith("closed_by_"))
    assert ended == closed + counts.retries
    assert counts.failed <= counts.invoked <= counts.failed + counts.succeeded
    assert tally.units[SHARD].in_flight == 0


def whole_life(
    policy: StreamPolicy, outcomes: list[Outcome], count: int, fate: Fate
) -> Iterator[tuple[Any, Sequence[Any], Instant]]:
    """The steps of a real machine for a shard of `count` records; `outcomes`, then successes."""
    machine = StreamMachine(policy)
    of = [StreamRecord(str(i), key=str(i % 7)) for i in range(1, count + 1)]
    left = iter(outcomes)
    facts: deque[Any] = deque([Started()])
    now = NOW
    while not machine.finished:
        if not facts:
            deadline = machine.deadline()
            assert deadline is not None
            now = max(now, deadline)
            facts.append(Ticked())
        fact = facts.popleft()
        commands = machine.handle(fact, now)
        yield fact, commands, now
        now += 0.01
        for command in commands:
            match command:
                case Fetch():
                    facts.append(Fetched(of, 100 * count, now, now, shard_ended=True))
                case Invoke(sent):
                    outcome = fitted(next(left, Succeeded()), len(sent.records))
                    facts.append(Invoked(sent.id, outcome))
                case Deliver(discard):
                    facts.append(Delivered(discard.batch.id, fate))
                case Checkpoint():
                    facts.append(Checkpointed())


def fitted(outcome: Outcome, size: int) -> Outcome:
    """`outcome` as a batch of `size` can have it."""
    if not isinstance(outcome, PartlyFailed):
        return outcome
    failed = frozenset(index for index in outcome.failed if index < size)
    return PartlyFailed(failed) if failed else Succeeded()
