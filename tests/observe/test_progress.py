"""How progress looks on a terminal and elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from poller.core.model import Discard, DiscardReason, Fate, Succeeded
from poller.core.steps import Deliver, Delivered, Fetched, Invoke, Invoked
from poller.interfaces import Unit
from poller.observe import lines
from poller.observe.board import Board
from poller.observe.counts import Counts
from poller.observe.progress import (
    Row,
    count_text,
    describe,
    duration_text,
    number_text,
    shorten,
)
from poller.observe.tally import Tally
from poller.observe.terminal import SUMMARY_MAX, Progress
from tests.observe.values import NOW, QUEUE, SHARD, Time, batch, records, snapshot
from tests.waiting import soon

LONG = Unit(
    "33333333-0000-5000-8000-000000000000",
    "indexer-of-all-the-customers-of-the-north:live",
    "arn:aws:dynamodb:us-east-1:123456789012:table/customers-of-the-north-production/stream/1",
    "shardId-1",
)


def watched() -> tuple[Board, Tally]:
    """Three mappings: one that works, one that is blocked, one whose source is not there."""
    board, tally = Board(Time().now), Tally()
    for unit, state in ((SHARD, "Enabled"), (LONG, "Enabled"), (QUEUE, "Creating")):
        board.add_mapping(
            unit.mapping,
            function=unit.function,
            source_arn=unit.source_arn,
            of_file=True,
            state=state,
            reason="" if state == "Enabled" else "the queue jobs is not there",
        )
    look = snapshot(unsettled=1, oldest=NOW - 0.3)
    board.register(SHARD, snapshot=lambda: look, deadline=lambda: None)
    blocked = snapshot(unsettled=1, oldest=NOW - 200, blocked="ValueError: no such order")
    board.register(LONG, snapshot=lambda: blocked, deadline=lambda: None)
    many = records(1) * 1_234_567
    tally.saw(SHARD, Fetched(many, 9, NOW, NOW), [Invoke(batch(1, many))], NOW)
    discard = Discard(DiscardReason.RETRIES_EXHAUSTED, batch(2, records(45)), None)
    tally.saw(SHARD, Invoked(1, Succeeded()), [Deliver(discard)], NOW)
    tally.saw(SHARD, Delivered(2, Fate.SENT), [Invoke(batch(3, records(1)))], NOW)
    return board, tally


def shown(width: int) -> tuple[Progress, io.StringIO]:
    stream = io.StringIO()
    console = Console(file=stream, width=width, height=24, force_terminal=True, color_system=None)
    return Progress(*watched(), title="http://127.0.0.1:9310", console=console), stream


@contextlib.asynccontextmanager
async def following(progress: Progress):  # type: ignore[no-untyped-def]
    task = asyncio.create_task(progress.follow())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (
            80,
            [
                "http://127.0.0.1:9310",
                "mapping                 state     polled     ok failed retries running       lag",
                "─" * 80,
                "Kinesis orders → orders Enabled    1.23M  1.23M      0       0       1     0.3 s",
                "DynamoDB cu…on → ind…ve blocked        0      0      0       0       0    3m 20s",
                "SQS jobs → jobs         Creating       0      0      0       0       0         ?",
                "DynamoDB customers-of-the-north-production: ValueError: no such order",
                "SQS jobs: the queue jobs is not there",
            ],
        ),
        (
            120,
            [
                "http://127.0.0.1:9310",
                "mapping                         state         polled         ok   failed  retries"
                "  to dest.  dropped  running        lag",
            ],
        ),
    ],
)
async def test_a_terminal_shows_a_row_for_each_mapping_and_why_some_wait(
    width: int, expected: list[str]
) -> None:
    progress, stream = shown(width)
    async with following(progress):
        await soon(lambda: "not there" in stream.getvalue())
        frame = [line.strip("\r") for line in stream.getvalue().splitlines()]
    lines = [line.replace("\x1b[?25l", "").rstrip() for line in frame]
    assert all(len(line) <= width for line in lines)
    assert lines[: len(expected)] == expected


def test_the_summary_has_totals() -> None:
    progress, stream = shown(80)
    progress.print_summary()
    assert [line.rstrip() for line in stream.getvalue().splitlines()] == [
        "mapping                         polled delivered retries to dest.   kept dropped",
        "─" * 80,
        "Kinesis orders → orders          1.23M 1,234,567       0       45      0       0",
        "DynamoDB cust…tion → index…live      0         0       0        0      0       0",
        "SQS jobs → jobs                      0         0       0        0      0       0",
        "total                            1.23M 1,234,567       0       45      0       0",
    ]


def test_among_lines_of_json_the_summary_is_a_line_for_each_mapping(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="poller.progress")
    lines.log_summary(*watched())
    kinesis, *others = caplog.records
    assert [record.getMessage() for record in caplog.records] == [
        "summary of Kinesis orders -> orders",
        f"summary of DynamoDB customers-of-the-north-production -> {LONG.function}",
        "summary of SQS jobs -> jobs",
    ]
    assert vars(kinesis).items() >= {"polled": 1_234_567, "ok": 1_234_567, "delivered": 45}.items()
    assert all(vars(each).items() >= {"ok": 0, "kept": 0, "dropped": 0}.items() for each in others)


def test_the_summary_of_no_mappings_has_whole_headings() -> None:
    stream = io.StringIO()
    Progress(Board(Time().now), Tally(), console=Console(file=stream, width=80)).print_summary()
    assert stream.getvalue().startswith("mapping ")


def test_of_very_many_mappings_the_summary_shows_those_that_polled() -> None:
    board, tally = watched()
    for number in range(SUMMARY_MAX):
        board.add_mapping(
            f"another-{number}", function="f", source_arn=QUEUE.source_arn, of_file=True
        )
    stream = io.StringIO()
    console = Console(file=stream, width=80)
    Progress(board, tally, console=console).print_summary()
    lines = stream.getvalue().splitlines()
    assert len(lines) == SUMMARY_MAX + 4
    assert lines[2].startswith("Kinesis orders → orders          1.23M 1,234,567")
    assert lines[-2].startswith("total                            1.23M 1,234,567")
    assert lines[-1] == "with 3 more in the total"


def test_more_mappings_than_lines_are_counted() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=80, height=7, force_terminal=True, color_system=None)
    console.print(Progress(*watched(), console=console)._frame())
    assert "and 2 more" in stream.getvalue()


async def test_elsewhere_it_is_a_line_in_the_log_for_each_mapping_that_changed(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LINES_PERIOD", 0.01)
    caplog.set_level(logging.INFO, "poller.progress")
    board, tally = watched()
    progress = Progress(board, tally, console=Console(file=io.StringIO()))
    async with following(progress):
        await soon(lambda: len(caplog.records) == 3)
        tally.saw(SHARD, Invoked(3, Succeeded()), [], NOW)
        await soon(lambda: len(caplog.records) == 4)
    said = [(record.getMessage(), vars(record)["ok"]) for record in caplog.records]
    assert [said[0], said[3]] == [
        ("progress of Kinesis orders -> orders", 1_234_567),
        ("progress of Kinesis orders -> orders", 1_234_568),
    ]


@given(st.text("abc-:", min_size=1, max_size=80), st.text("abc", min_size=1), st.integers(30, 90))
def test_a_mapping_never_needs_more_room_than_it_has(
    source: str, function: str, width: int
) -> None:
    named = Row("", "Kinesis", source, function, "", "", Counts(), 0, None, None)
    text = describe(named, width)
    assert len(text) <= width
    assert text == describe(named) or "…" in text


@pytest.mark.parametrize(
    ("width", "expected"), [(9, "customers"), (8, "cust…ers"), (3, "c…s"), (1, "…"), (0, "")]
)
def test_names_lose_their_middle(width: int, expected: str) -> None:
    assert shorten("customers", width) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0"),
        (9_999, "9999"),
        (10_000, "10.0k"),
        (99_949, "99.9k"),
        (99_950, "100k"),
        (999_499, "999k"),
        (999_500, "1.00M"),
        (1_234_567, "1.23M"),
        (5 * 10**15, "5000T"),
    ],
)
def test_large_counts_are_short(count: int, expected: str) -> None:
    assert count_text(count) == expected


@given(st.integers(0, 10**14), st.integers(5, 12))
def test_a_number_fits_its_column(count: int, width: int) -> None:
    assert len(number_text(count, width)) <= width


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (59.9, "59 s"),
        (60, "1m 00s"),
        (3599, "59m 59s"),
        (7260, "2h 01m"),
        (90_000, "1d 01h"),
    ],
)
def test_durations_read_like_a_clock(seconds: float, expected: str) -> None:
    assert duration_text(seconds) == expected
