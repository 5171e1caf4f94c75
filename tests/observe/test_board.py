"""Health, readiness and lag, as read from running machines."""

from __future__ import annotations

from typing import Any

import pytest

from poller.core.model import BEGINNING, EVERYTHING, Instant, Seconds, Snapshot
from poller.core.steps import Fetched, FetchFailed, Received, Started
from poller.interfaces import Unit
from poller.observe.board import Board, Stuck
from poller.observe.lag import seconds_behind
from tests.observe.values import NOW, QUEUE, SHARD, Time, answer, snapshot

SINCE = NOW - 40


@pytest.mark.parametrize(
    ("unit", "look", "expected"),
    [
        (SHARD, snapshot(caught_up=True, read_up_to=NOW - 1), 0.0),
        (SHARD, snapshot(unsettled=3, oldest=NOW - 12, caught_up=True), 12.0),
        (SHARD, snapshot(unsettled=3, oldest=NOW + 1), 0.0),
        (SHARD, snapshot(read_up_to=NOW - 300), 300.0),
        (SHARD, snapshot(read_up_to=None), 40.0),
        (SHARD, snapshot(read_up_to=BEGINNING), 40.0),
        (SHARD, snapshot(read_up_to=EVERYTHING), 0.0),
        (QUEUE, snapshot(caught_up=True, read_up_to=None), 0.0),
        (QUEUE, snapshot(unsettled=3, read_up_to=None), None),
        (QUEUE, snapshot(read_up_to=None), None),
    ],
)
def test_a_shard_is_behind_by_its_oldest_work_known_or_possible(
    unit: Unit, look: Snapshot, expected: Seconds | None
) -> None:
    assert seconds_behind(unit, look, NOW, since=SINCE) == expected


class Machine:
    """What a machine shows."""

    def __init__(self, look: Snapshot, deadline: Instant | None = None) -> None:
        self.look = look
        self.at = deadline

    def snapshot(self) -> Snapshot:
        return self.look

    def deadline(self) -> Instant | None:
        return self.at


def board_with(time: Time, *machines: tuple[Unit, Machine]) -> Board:
    board = Board(time.now)
    for unit, machine in machines:
        add(board, unit)
        board.register(unit, snapshot=machine.snapshot, deadline=machine.deadline)
    return board


def add(board: Board, unit: Unit, **settings: Any) -> None:
    settings = {"of_file": True, "state": "Enabled", **settings}
    board.add_mapping(unit.mapping, function=unit.function, source_arn=unit.source_arn, **settings)


def test_mappings_that_publish_are_known_with_their_region() -> None:
    board = board_with(Time())
    add(board, SHARD, publishes=True)
    add(board, QUEUE)
    assert board.publishing == {SHARD.mapping: "us-east-1"}
    add(board, SHARD)
    add(board, QUEUE, publishes=True)
    assert board.publishing == {QUEUE.mapping: "us-east-1"}
    board.remove_mapping(QUEUE.mapping)
    assert board.publishing == {}


async def test_lag_is_the_worst_shard_of_a_mapping_and_messages_for_queues() -> None:
    other = Unit(SHARD.mapping, SHARD.function, SHARD.source_arn, "shardId-000000000002")
    board = board_with(
        Time(),
        (SHARD, Machine(snapshot(unsettled=1, oldest=NOW - 12.3456))),
        (other, Machine(snapshot(caught_up=True))),
        (QUEUE, Machine(snapshot(unsettled=5, read_up_to=None))),
    )
    add(board, QUEUE, backlog=answer(100))
    await board.ask_backlogs()
    assert board.lag() == {
        "mappings": {
            SHARD.mapping: {
                "function": "orders",
                "source": SHARD.source_arn,
                "seconds": 12.346,
                "records": None,
            },
            QUEUE.mapping: {
                "function": "jobs",
                "source": QUEUE.source_arn,
                "seconds": None,
                "records": 105,
            },
        },
        "total": {"seconds": 12.346, "records": 105},
    }


async def test_the_total_of_nothing_known_is_zero_so_that_a_scaler_gets_numbers() -> None:
    board = Board(Time().now)
    add(board, SHARD, state="Creating")
    add(board, QUEUE, backlog=answer(None))
    await board.ask_backlogs()
    lag = board.lag()
    assert [each["seconds"] for each in lag["mappings"].values()] == [None, None]
    assert [each["records"] for each in lag["mappings"].values()] == [None, None]
    assert lag["total"] == {"seconds": 0.0, "records": 0}


@pytest.mark.parametrize(
    ("passed", "deadline", "in_flight", "overdue"),
    [
        (61, NOW, 0, 61),
        (59, NOW, 0, None),
        (61, NOW, 1, None),
        (61, None, 0, None),
        (61, NOW + 30, 0, None),
        (100, NOW + 30, 0, 70),
        (61, 0.0, 0, 61),  # long due by right, since the machine was last seen
    ],
)
def test_a_machine_is_stuck_when_its_deadline_passes_unseen(
    passed: Seconds, deadline: Instant | None, in_flight: int, overdue: Seconds | None
) -> None:
    time = Time()
    board = board_with(time, (SHARD, Machine(snapshot(in_flight=in_flight), deadline)))
    time.at += passed
    assert board.stuck() == (() if overdue is None else (Stuck(SHARD, overdue),))
    board.saw(SHARD, FetchFailed("the source is away"), [], time.at)
    assert board.stuck() == ()


def test_ready_once_every_enabled_mapping_of_the_file_has_polled_and_until_shutdown() -> None:
    board = Board(Time().now)
    disabled = Unit("3", "f", SHARD.source_arn, "")
    of_the_api = Unit("4", "f", SHARD.source_arn, "")
    add(board, SHARD, state="Creating", reason="the stream is not there")
    add(board, QUEUE)
    add(board, disabled, state="Disabled")
    add(board, of_the_api, of_file=False)
    board.begin()
    board.saw(SHARD, Started(), [], NOW)
    board.saw(SHARD, FetchFailed("the source is away"), [], NOW)
    board.saw(QUEUE, Received([], 0, 10, NOW), [], NOW)
    assert not board.ready()
    assert [(each.uuid, each.reason) for each in board.awaited()] == [
        (SHARD.mapping, "the stream is not there")
    ]
    board.saw(SHARD, Fetched([], 0, NOW, NOW), [], NOW)
    assert board.ready()
    add(board, Unit("5", "new", SHARD.source_arn, ""))
    assert board.ready()
    board.end()
    assert not board.ready()


@pytest.mark.parametrize("leaves", ["polled", "disabled", "removed"])
def test_a_mapping_that_has_nothing_to_poll_does_not_hold_readiness_up(leaves: str) -> None:
    board = Board(Time().now)
    add(board, SHARD)
    board.begin()
    assert not board.ready()
    match leaves:
        case "polled":
            board.mark_polled(SHARD.mapping)
        case "disabled":
            board.set_state(SHARD.mapping, "Disabled")
        case "removed":
            board.remove_mapping(SHARD.mapping)
    assert board.ready()


def test_nothing_is_ready_before_the_mappings_of_the_file_are_known() -> None:
    board = Board(Time().now)
    assert not board.ready()
    board.begin()
    assert board.ready()


def test_a_machine_that_ended_is_looked_into_no_more() -> None:
    board = board_with(Time(), (SHARD, Machine(snapshot())))
    assert [each.unit for each in board.running()] == [SHARD]
    board.unregister(SHARD)
    board.saw(SHARD, Started(), [], NOW)
    assert board.running() == ()
