"""FIFO queues in front of a function: order in each group, groups side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.functions import Answer, Call, errored, failed_items
from tests.outside.sqs_lanes import Lane, Lanes, Wanted, drained, lanes, left_in
from tests.waiting import eventually

GROUPS = "abcde"
PER_GROUP = 6
REPORTING = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}


def message(body: str) -> Mapping[str, Any]:
    """In the group that its first letter says."""
    return {"MessageBody": body, "MessageGroupId": body[0], "MessageDeduplicationId": f"id-{body}"}


# a0 b0 c0 d0 e0 a1 ...
MIXED = [message(f"{group}{number}") for number in range(PER_GROUP) for group in GROUPS]


def group_of(record: Any) -> str:
    return str(record["attributes"]["MessageGroupId"])


def is_first(record: Any) -> bool:
    return bool(record["attributes"]["ApproximateReceiveCount"] == "1")


def slow(_call: Call) -> Answer:
    return Answer(delay=0.1)


def failing_a1_once(call: Call) -> Answer:
    return errored() if any(_is(each, "a1") for each in call.records) else Answer(delay=0.05)


def _is(record: Any, body: str) -> bool:
    return bool(record["body"] == body) and is_first(record)


def failing_all_but_the_first(call: Call) -> Answer:
    """As recorded on AWS: 2, 3, 4 are reported, then 4 alone, which has had its receives then."""
    reported = call.records[1:] if call.number == 0 else call.records[-1:]
    return failed_items(*(record["messageId"] for record in reported))


class ThrottlingGroupA:
    """429 for the first three calls with a message of group a."""

    def __init__(self) -> None:
        self._seen = 0

    def __call__(self, call: Call) -> Answer:
        if all(group_of(record) != "a" for record in call.records):
            return Answer()
        self._seen += 1
        return Answer(status=429 if self._seen <= 3 else 200)


def wanted() -> dict[str, Wanted]:
    return {
        "shape": Wanted([message("a0")], fifo=True),
        "one group": Wanted(
            [message(f"a{number}") for number in range(PER_GROUP)],
            slow,
            {"BatchSize": 1},
            fifo=True,
        ),
        "slow": Wanted(MIXED, slow, {"BatchSize": 1}, fifo=True),
        "slow in batches": Wanted(MIXED, slow, {"BatchSize": 3}, fifo=True),
        "failing": Wanted(
            [message(body) for body in ("a0", "b0", "a1", "b1", "a2", "b2", "a3", "b3")],
            failing_a1_once,
            {"BatchSize": 1},
            visibility=3,
            fifo=True,
        ),
        "partial": Wanted(
            [message(f"a{number}") for number in range(1, 5)],
            failing_all_but_the_first,
            REPORTING,
            visibility=2,
            fifo=True,
            receives_max=2,
        ),
        "throttled": Wanted(MIXED, ThrottlingGroupA(), {"BatchSize": 1}, fifo=True),
    }


@pytest.fixture(scope="module")
def at_work(ministack_url: str) -> Iterator[Lanes]:
    with lanes(ministack_url, wanted()) as running:
        yield running


def in_order(lane: Lane, *, of: list[Any] | None = None) -> bool:
    """Each message once, and in each group in the order of sending."""
    records = lane.records if of is None else of
    return all(
        [record["body"] for record in records if group_of(record) == group]
        == [f"{group}{number}" for number in range(PER_GROUP)]
        for group in GROUPS
    )


def overlaps(lane: Lane) -> list[tuple[str, str]]:
    """The bodies of calls that ran at one time and have a group in common."""
    calls = sorted(lane.function.calls, key=lambda call: call.started)
    return [
        (one.records[0]["body"], other.records[0]["body"])
        for index, one in enumerate(calls)
        for other in calls[index + 1 :]
        if one.ended is None or other.started < one.ended
        if {group_of(each) for each in one.records} & {group_of(each) for each in other.records}
    ]


@pytest.mark.proves("R1.3.fifo")
def test_a_message_says_its_group_its_number_and_its_deduplication_id(at_work: Lanes) -> None:
    lane = at_work["shape"]
    lane.empties()
    (record,) = lane.records
    attributes = record["attributes"]
    assert attributes["MessageGroupId"] == "a"
    assert attributes["MessageDeduplicationId"] == "id-a0"
    assert attributes["SequenceNumber"] == lane.sent[0]["SequenceNumber"]
    assert "md5OfMessageAttributes" not in record
    assert record["eventSourceARN"] == lane.queue.arn


@pytest.mark.proves("D57", "BatchSize")
def test_one_group_runs_in_order_and_never_twice_at_once(at_work: Lanes) -> None:
    lane = at_work["one group"]
    lane.empties()
    assert lane.batches() == [[f"a{number}"] for number in range(PER_GROUP)]
    assert lane.function.running_max == 1


@pytest.mark.proves("S8.4.groups")
def test_groups_run_side_by_side_each_in_its_order(at_work: Lanes) -> None:
    lane = at_work["slow"]
    lane.empties()
    assert in_order(lane)
    assert overlaps(lane) == []
    assert lane.function.running_max > 1
    assert lane.function.running_max <= len(GROUPS)


@pytest.mark.proves("S8.4.groups", "BatchSize")
def test_a_batch_keeps_the_order_of_the_groups_in_it(at_work: Lanes) -> None:
    lane = at_work["slow in batches"]
    lane.empties()
    assert in_order(lane)
    assert overlaps(lane) == []
    sizes = list(map(len, lane.batches()))
    assert max(sizes) <= 3
    assert sum(sizes) == len(MIXED)


@pytest.mark.proves("S8.4.failed")
def test_a_failure_holds_back_its_group_and_no_other(at_work: Lanes) -> None:
    lane = at_work["failing"]
    lane.empties()
    bodies = [record["body"] for record in lane.records]
    assert [body for body in bodies if body[0] == "a"] == ["a0", "a1", "a1", "a2", "a3"]
    assert [body for body in bodies if body[0] == "b"] == ["b0", "b1", "b2", "b3"]
    assert lane.counts["a1"] == ["1", "2"]
    again = len(bodies) - 1 - bodies[::-1].index("a1")
    assert set(bodies[again + 1 :]) == {"a2", "a3"}, "the other group is done before that"


@pytest.mark.proves("R1.6.fifo-report", "S8.4.partial", "FunctionResponseTypes")
def test_exactly_the_messages_that_were_not_reported_are_deleted(at_work: Lanes) -> None:
    lane = at_work["partial"]
    lane.function.wait(lambda: len(lane.function.calls) >= 2)
    lane.empties()
    assert lane.batches() == [["a1", "a2", "a3", "a4"], ["a2", "a3", "a4"]]
    assert lane.counts["a4"] == ["1", "2"]
    dead = lane.dead
    assert dead is not None
    eventually(lambda: left_in(lane.url, dead)[0] == 1)
    (moved,) = drained(lane.url, dead)
    assert moved["Body"] == "a4"
    assert moved["MessageId"] == lane.sent[3]["MessageId"]


def test_throttling_of_a_group_keeps_its_order_and_spends_no_receives(at_work: Lanes) -> None:
    lane = at_work["throttled"]
    lane.empties()
    assert in_order(lane, of=lane.function.succeeded)
    assert {count for counts in lane.counts.values() for count in counts} == {"1"}
