"""Which lines a person gets to read, and which not."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import pytest

from poller.core.model import (
    ClosedBy,
    Discard,
    DiscardReason,
    Failed,
    Fate,
    PartlyFailed,
    Refused,
    Succeeded,
    TooLarge,
    WindowTurn,
)
from poller.core.steps import (
    Deleted,
    Deliver,
    Delivered,
    Fetched,
    FetchFailed,
    Finish,
    Invoke,
    Invoked,
    InvokeMessages,
    Received,
    ReceiveFailed,
    Stopping,
    Ticked,
)
from poller.interfaces import Unit
from poller.observe.decisions import DISCARD_LINES_MAX, Decisions
from poller.observe.logs import TextFormatter
from tests.observe.values import NOW, QUEUE, SHARD, batch, messages, records

RECORDS = records(3)
PLACE = f"mapping={SHARD.mapping} function=orders shard={SHARD.shard}"
QUEUE_PLACE = f"mapping={QUEUE.mapping} function=jobs"
DISCARD = Discard(DiscardReason.RETRIES_EXHAUSTED, batch(1, RECORDS), Failed("E: boom"))
Lines = list[str]


class Log:
    """A log and what was written to it, without the times."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        self._decisions = Decisions()

    def after(
        self, at: float, fact: Any, commands: Sequence[Any] = (), unit: Unit = SHARD
    ) -> Lines:
        """The lines of one step, `at` seconds from the start."""
        self._caplog.clear()
        self._decisions.saw(unit, fact, commands, NOW + at)
        texts = (TextFormatter().format(record) for record in self._caplog.records)
        return [text.split(" ", 1)[1] for text in texts]

    def invoked(self, at: float, outcome: Any, attempts: int = 0) -> Lines:
        self.after(at, Ticked(), [Invoke(batch(1, RECORDS, ClosedBy.COUNT, attempts))])
        return self.after(at, Invoked(1, outcome))


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Log:
    caplog.set_level(logging.INFO, "poller")
    return Log(caplog)


def test_a_failing_function_is_said_first_once_a_minute_and_at_the_end(log: Log) -> None:
    boom = Failed("ValueError: no such order")
    described = f'{PLACE} error="ValueError: no such order" batch=1 records=3 first=1 last=3'
    assert log.invoked(0, boom) == [f"WARNING the function failed {described} attempt=1 failures=1"]
    assert log.invoked(1, boom, attempts=1) == []
    assert log.invoked(59, boom, attempts=2) == []
    assert log.invoked(61, boom, attempts=3) == [
        f"WARNING the function failed {described} attempt=4 failures=4"
    ]
    assert log.invoked(62, Succeeded()) == [
        f"INFO the function works again {PLACE} failures=4 after=62.0s"
    ]
    assert log.invoked(63, Succeeded()) == []


def test_a_function_that_flaps_is_said_to_once_a_minute(log: Log) -> None:
    lines = [
        line
        for second in range(120)
        for line in log.invoked(second, Failed("boom") if second % 2 else Succeeded())
    ]
    assert [line.split(" mapping")[0] for line in lines] == [
        "WARNING the function failed",
        "INFO the function works again",
    ] * 2


def test_a_final_invocation_that_fails_says_that_its_shard_waits(log: Log) -> None:
    window = WindowTurn(0.0, 60.0, b"{}", final=True)
    assert log.after(0, Ticked(), [Invoke(batch(7, (), attempts=2), window)]) == []
    assert log.after(1, Invoked(7, Failed("E: boom"))) == [
        "WARNING the final invocation of a window failed, and its shard waits until it succeeds"
        f' {PLACE} error="E: boom" batch=7 attempt=3 failures=1'
    ]


def test_windows_that_are_cut_short_are_said_to_be_so_once_a_minute(log: Log) -> None:
    window = WindowTurn(0.0, 60.0, b"x" * 99, final=True, early=True)
    text = (
        "WARNING a tumbling window is cut short: its state is too large, or windows are turned off"
        f" {PLACE} window_ends=1970-01-01T00:01:00Z state_bytes=99"
    )
    invoke = Invoke(batch(7, (), ClosedBy.FLUSH), window)
    assert log.after(0, Ticked(), [invoke]) == [text]
    assert log.after(1, Ticked(), [invoke]) == []
    assert log.after(61, Ticked(), [invoke]) == [f"{text} not_logged=1"]
    assert log.after(200, Ticked(), [Invoke(batch(8, (), attempts=1), window)]) == []


def test_what_is_too_large_is_said_once_a_minute_and_what_becomes_of_it(log: Log) -> None:
    text = f"WARNING a batch is too large for the function and is split {PLACE} error=413 batch=1"
    assert log.invoked(0, TooLarge("413")) == [f"{text} records=3 first=1 last=3"]
    assert log.invoked(1, TooLarge("413")) == []
    log.after(70, Ticked(), [Invoke(batch(1, RECORDS[:1]))])
    assert log.after(70, Invoked(1, TooLarge("413"))) == [
        f"WARNING a record is too large for the function by itself {PLACE} error=413 batch=1"
        " records=1 first=1 last=1 not_logged=1"
    ]
    log.after(140, Ticked(), [Invoke(batch(2, ()))])
    assert log.after(140, Invoked(2, TooLarge("413"))) == [
        "WARNING the final invocation of a window is too large for the function"
        f" {PLACE} error=413 batch=2"
    ]


def test_reported_failures_are_counted_in_the_line(log: Log) -> None:
    (line,) = log.invoked(0, PartlyFailed(frozenset({0, 2})))
    assert line.startswith("WARNING the function reported 2 records as failed mapping=")


def test_throttling_is_said_when_it_starts_and_ends_whatever_the_function_does_then(
    log: Log,
) -> None:
    assert log.invoked(0, Refused("429 from the function")) == [
        f'WARNING the function is not reached {PLACE} error="429 from the function" times=1'
    ]
    assert log.invoked(5, Refused("429 from the function")) == []
    assert [line.split(" mapping")[0] for line in log.invoked(10, Failed("boom"))] == [
        "INFO the function is reached again",
        "WARNING the function failed",
    ]


@pytest.mark.parametrize(
    ("unit", "failed", "answered", "place"),
    [
        (SHARD, FetchFailed("cut off"), Fetched([], 0, NOW, NOW), PLACE),
        (QUEUE, ReceiveFailed("cut off", 10), Received([], 0, 10, NOW), QUEUE_PLACE),
    ],
)
def test_a_source_that_cannot_be_read_is_two_lines(
    log: Log, unit: Unit, failed: Any, answered: Any, place: str
) -> None:
    assert log.after(0, failed, unit=unit) == [
        f'WARNING reading the source fails; trying again until it works {place} error="cut off"'
    ]
    for minute in range(1, 10):
        assert log.after(60 * minute, failed, unit=unit) == []
    assert log.after(600, answered, unit=unit) == [
        f"INFO the source is read again {place} failures=10 after=600.0s"
    ]


def test_a_poll_that_stopping_cuts_off_is_no_failure(log: Log) -> None:
    assert log.after(0, Stopping(NOW)) == []
    assert log.after(0, FetchFailed("stopping")) == []


@pytest.mark.parametrize(
    ("fate", "what"),
    [
        (Fate.SENT, "their destination has the failure document"),
        (Fate.KEPT, "the failure document is kept until its destination works"),
        (Fate.DROPPED, "there is no destination, so they are dropped"),
    ],
)
def test_records_given_up_are_said_with_reason_range_and_fate(
    log: Log, fate: Fate, what: str
) -> None:
    assert log.after(0, Ticked(), [Deliver(DISCARD)]) == []
    assert log.after(0, Delivered(1, fate)) == [
        f"WARNING records are given up; {what} {PLACE} reason=RetryAttemptsExhausted"
        ' batch=1 records=3 first=1 last=3 error="E: boom"'
    ]


def test_a_flood_of_discards_is_ten_lines_a_minute_and_says_what_it_left_out(log: Log) -> None:
    lines: Lines = []
    for number in range(50):
        log.after(number / 10, Ticked(), [Deliver(DISCARD)])
        lines += log.after(number / 10, Delivered(1, Fate.DROPPED))
    assert len(lines) == DISCARD_LINES_MAX
    assert lines[-1].endswith("next_line_in=60.0s")
    log.after(61, Ticked(), [Deliver(DISCARD)])
    (line,) = log.after(61, Delivered(1, Fate.DROPPED))
    assert line.endswith("discards_not_logged=40")


def test_messages_that_stay_in_the_queue_are_said_when_that_begins_and_ends(log: Log) -> None:
    assert log.after(0, Deleted(8, 2), unit=QUEUE) == [
        "WARNING messages could not be deleted and will come again"
        f" {QUEUE_PLACE} messages=2 times=1"
    ]
    assert log.after(1, Deleted(8, 2), unit=QUEUE) == []
    assert log.after(2, Deleted(10), unit=QUEUE) == [
        f"INFO messages are deleted again {QUEUE_PLACE} failures=2 after=2.0s"
    ]


def test_the_end_of_a_shard_is_said_and_that_of_stopping_is_not(log: Log) -> None:
    assert log.after(0, Ticked(), [Finish(shard_ended=True)]) == [
        f"INFO the shard is read to its end {PLACE}"
    ]
    assert log.after(0, Ticked(), [Finish()]) == []


def test_no_line_has_a_receipt_or_is_longer_than_an_error_may_be(log: Log) -> None:
    log.after(0, Ticked(), [InvokeMessages(messages(1, 3))], unit=QUEUE)
    (line,) = log.after(0, Invoked(1, Failed("E: " + 1000 * "x")), unit=QUEUE)
    assert "the-receipt" not in line
    assert "messages=3" in line
    assert len(line) < 600
