"""How much at one time: MaximumConcurrency, provisioned pollers, and the block `poller`."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.faults import faulty, refused
from tests.functions import Answer, Call, function
from tests.outside.sqs_lanes import Lane, Lanes, Wanted, lanes, left_in, send
from tests.outside.watched import Mapped, config, lines, watched
from tests.servers import new_queue
from tests.waiting import eventually

PATIENT = 30  # seconds that a function may take where its answer waits for something
GROUPS = "abcde"
PER_GROUP = 4


def slow(_call: Call) -> Answer:
    return Answer(delay=0.2)


class Together:
    """Answers nobody before so many calls have come."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._enough = threading.Event()

    def __call__(self, call: Call) -> Answer:
        if call.number + 1 >= self._count:
            self._enough.set()
        return Answer(after=self._enough)


class Narrow:
    """429 for whoever comes while `width` others run."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._running: list[Call] = []

    def __call__(self, call: Call) -> Answer:
        self._running = [each for each in self._running if each.ended is None]
        if len(self._running) >= self._width:
            return Answer(status=429)
        self._running.append(call)
        return Answer(delay=0.3)


def throttling_six_times(call: Call) -> Answer:
    return Answer(status=429) if call.number < 6 else Answer()


def numbered(count: int) -> list[str]:
    return [f"m{number}" for number in range(count)]


def in_groups() -> list[dict[str, str]]:
    """a0 b0 c0 d0 e0 a1 ..."""
    bodies = [f"{group}{number}" for number in range(PER_GROUP) for group in GROUPS]
    return [
        {"MessageBody": body, "MessageGroupId": body[0], "MessageDeduplicationId": body}
        for body in bodies
    ]


TWO = {"ScalingConfig": {"MaximumConcurrency": 2}}
POLLERS = {"ProvisionedPollerConfig": {"MinimumPollers": 2, "MaximumPollers": 4}}


def wanted() -> dict[str, Wanted]:
    one = {"BatchSize": 1}
    return {
        "two": Wanted(numbered(12), slow, {**one, **TWO}),
        # As recorded, but for a window that a busy machine needs.
        "two batches": Wanted(
            numbered(30), slow, {"BatchSize": 20, "MaximumBatchingWindowInSeconds": 5, **TWO}
        ),
        "provisioned": Wanted(numbered(40), Together(20), {**one, **POLLERS}, timeout=PATIENT),
        "exactly one": Wanted(numbered(8), slow, {**one, "poller": {"Concurrency": 1}}),
        "exactly eight": Wanted(
            numbered(16), Together(8), {**one, "poller": {"Concurrency": 8}}, timeout=PATIENT
        ),
        "throttled, two": Wanted(numbered(6), throttling_six_times, {**one, **TWO}),
        "throttled, provisioned": Wanted(numbered(30), Narrow(3), {**one, **POLLERS}),
        "rate": Wanted(numbered(30), settings={"poller": {"MessagesPerSecond": 10}}),
        "small rate": Wanted(numbered(6), settings={"poller": {"MessagesPerSecond": 2}}),
        "heartbeat": Wanted(
            ["m"],
            lambda _call: Answer(delay=7.0),
            {"poller": {"VisibilityHeartbeat": True}},
            visibility=3,
            timeout=PATIENT,
        ),
        "groups": Wanted(in_groups(), Together(5), one, fifo=True, timeout=PATIENT),
        "groups, two": Wanted(in_groups(), slow, {**one, **TWO}, fifo=True),
    }


@pytest.fixture(scope="module")
def at_work(ministack_url: str) -> Iterator[Lanes]:
    with lanes(ministack_url, wanted()) as running:
        yield running


def each_once(lane: Lane, count: int) -> bool:
    """Every message came in a receive that was its first, and ran once."""
    found = lane.counts
    return len(found) == count and all(receives == ["1"] for receives in found.values())


@pytest.mark.proves("S8.1.maximum", "ScalingConfig")
def test_no_more_than_the_maximum_run_at_one_time(at_work: Lanes) -> None:
    lane = at_work["two"]
    lane.empties()
    assert lane.function.running_max == 2
    assert each_once(lane, 12)


@pytest.mark.proves("R1.6.concurrency", "ScalingConfig")
def test_thirty_messages_are_two_batches_of_twenty_as_recorded(at_work: Lanes) -> None:
    lane = at_work["two batches"]
    lane.empties()
    assert sorted(map(len, lane.batches())) == [10, 20]
    assert each_once(lane, 30)


@pytest.mark.proves("S8.1.provisioned", "ProvisionedPollerConfig")
def test_provisioned_pollers_run_ten_invocations_each_from_the_start(at_work: Lanes) -> None:
    """Nobody is answered before there are twenty."""
    lane = at_work["provisioned"]
    lane.empties()
    assert lane.function.running_max in range(20, 41)
    assert each_once(lane, 40)
    assert at_work.metric("provisioned", "poller_provisioned_pollers") in (2, 3, 4)


@pytest.mark.proves("poller.Concurrency")
def test_a_concurrency_of_one_is_one_at_a_time(at_work: Lanes) -> None:
    lane = at_work["exactly one"]
    lane.empties()
    assert lane.function.running_max == 1
    assert each_once(lane, 8)
    assert at_work.metric("exactly one", "poller_concurrency_limit") == 1


@pytest.mark.proves("poller.Concurrency")
def test_a_concurrency_is_there_from_the_start_and_never_exceeded(at_work: Lanes) -> None:
    lane = at_work["exactly eight"]
    lane.empties()
    assert lane.function.running_max == 8
    assert each_once(lane, 16)


@pytest.mark.proves("S8.3.receives", "S8.3.throttled")
@pytest.mark.parametrize(("name", "count"), [("throttled, two", 6), ("throttled, provisioned", 30)])
def test_throttling_spends_no_receives_however_queues_are_scaled(
    at_work: Lanes, name: str, count: int
) -> None:
    lane = at_work[name]
    lane.empties()
    assert lane.counts.keys() == set(numbered(count))
    assert {receive for receives in lane.counts.values() for receive in receives} == {"1"}
    assert at_work.metric(name, "poller_invocations_total", outcome="refused") > 0


@pytest.mark.proves("poller.MessagesPerSecond")
@pytest.mark.parametrize(
    ("name", "count", "rate", "size"), [("rate", 30, 10, 10), ("small rate", 6, 2, 2)]
)
def test_a_function_is_handed_so_many_messages_a_second(
    at_work: Lanes, name: str, count: int, rate: float, size: int
) -> None:
    lane = at_work[name]
    lane.empties()
    assert each_once(lane, count)
    batches = lane.batches()
    assert max(map(len, batches)) <= size
    calls = lane.function.calls
    paid_for = (count - len(batches[-1])) / rate
    assert calls[-1].started - calls[0].started > paid_for / 2  # which a busy machine may blur


@pytest.mark.proves("poller.VisibilityHeartbeat")
def test_a_heartbeat_delivers_once_what_runs_for_longer_than_the_queue_hides_it(
    at_work: Lanes,
) -> None:
    lane = at_work["heartbeat"]
    lane.function.wait(lambda: len(lane.function.succeeded) == 1)
    lane.empties()
    assert each_once(lane, 1)


@pytest.mark.proves("poller.VisibilityHeartbeat")
def test_a_heartbeat_that_is_not_permitted_is_said_once_and_gone_on_without(
    ministack_url: str,
) -> None:
    queue = new_queue(ministack_url, VisibilityTimeout="3")
    with (
        faulty(ministack_url) as proxy,
        function(lambda call: Answer(delay=5.0 if call.number < 2 else 0.0)) as stub,
    ):
        proxy.inject(
            refused("AccessDeniedException"), on="ChangeMessageVisibilityBatch", times=None
        )
        settings = {"BatchSize": 1, "poller": {"VisibilityHeartbeat": True}}
        with watched(config(proxy.url, Mapped(queue.arn, stub, settings, PATIENT))) as running:
            send(ministack_url, queue, "a", "b")
            stub.wait(lambda: len(stub.calls) > 2)
            eventually(lambda: left_in(ministack_url, queue) == (0, 0))
            assert len(lines(running, "WARNING", "sqs:ChangeMessageVisibility")) == 1


def in_order(lane: Lane) -> bool:
    bodies = [record["body"] for record in lane.records]
    return all(
        [body for body in bodies if body[0] == group]
        == [f"{group}{number}" for number in range(PER_GROUP)]
        for group in GROUPS
    )


@pytest.mark.proves("S8.4.groups")
def test_all_groups_of_a_fifo_queue_run_side_by_side(at_work: Lanes) -> None:
    """Nobody is answered before one of each group is there."""
    lane = at_work["groups"]
    lane.empties()
    assert lane.function.running_max == len(GROUPS)
    assert in_order(lane)
    assert each_once(lane, len(GROUPS) * PER_GROUP)


@pytest.mark.proves("ScalingConfig")
def test_groups_of_a_fifo_queue_keep_within_the_maximum(at_work: Lanes) -> None:
    lane = at_work["groups, two"]
    lane.empties()
    assert lane.function.running_max == 2
    assert in_order(lane)
