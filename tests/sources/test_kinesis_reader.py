"""What a reader makes of replies: where it begins, how far it has read, when it seeks anew."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.core.model import BEGINNING, EVERYTHING, Position
from poller.core.steps import FetchFailed
from poller.sources.kinesis import AtTimestamp, Latest, TrimHorizon
from poller.sources.kinesis_places import reach
from poller.wire.kinesis import KinesisRecord
from tests.aws.canned import Answer, Says, error
from tests.sources.kinesis_scripts import (
    EXPIRED,
    NOT_FOUND,
    NOW,
    SHARD,
    Clock,
    Script,
    page,
    record,
    shard,
    sought,
    source_on,
)
from tests.sources.kinesis_streams import fetch

AFTER_7 = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": "7"}
AT_NOW = {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": NOW}
OLDEST = {"ShardIteratorType": "TRIM_HORIZON"}


@pytest.mark.parametrize(
    ("resume", "start", "seek"),
    [
        (Position("7"), TrimHorizon(), AFTER_7),
        (Position("7", since=1.0), Latest(), AFTER_7),
        (Position(since=NOW), TrimHorizon(), AT_NOW),
        (Position(since=NOW), Latest(), AT_NOW),
        (Position(), Latest(), OLDEST),
        (Position(), AtTimestamp(NOW), AT_NOW),
        (None, TrimHorizon(), OLDEST),
        (None, AtTimestamp(NOW), AT_NOW),
        (None, Latest(), OLDEST),
    ],
)
async def test_reading_begins_where_the_position_or_the_mapping_says(
    resume: Position | None, start: Any, seek: dict[str, Any]
) -> None:
    async with source_on(Script([page(8)]), start) as (source, server):
        await fetch(source.reader(SHARD, resume))

    assert sought(server) == [seek]


async def test_a_read_hands_on_iterators_and_the_limit() -> None:
    replies: list[Answer] = [page(1, then="second"), page(2, then="third"), page()]
    async with source_on(Script(replies)) as (source, server):
        reader = source.reader(SHARD, None)
        for limit in (5, 20_000, 0):
            await fetch(reader, limit)

    assert [call.json for call in server.calls if call.operation == "GetRecords"] == [
        {"ShardIterator": "TRIM_HORIZON", "Limit": 5},
        {"ShardIterator": "second", "Limit": 10_000},
        {"ShardIterator": "third", "Limit": 1},
    ]


# How far a reader has read.


@pytest.mark.parametrize(
    ("arrivals", "behind", "limit", "expected"),
    [
        ([], 0, 10, NOW),
        ([], 1500, 10, NOW - 1.5),
        ([NOW - 9], 0, 10, NOW),
        ([NOW - 9], 3000, 10, NOW - 3),
        ([NOW - 1], 3000, 10, NOW - 1),
        ([NOW - 9, NOW - 8], 0, 2, NOW - 8),
        ([NOW - 9, NOW + 5], 1000, 10, pytest.approx(NOW)),
    ],
)
async def test_how_far_it_has_read_follows_from_the_lag_and_the_last_arrival(
    arrivals: list[float], behind: int, limit: int, expected: float
) -> None:
    found = [record(number, at) for number, at in enumerate(arrivals)]
    reply = {"Records": found, "NextShardIterator": "x", "MillisBehindLatest": behind}
    async with source_on(Script([reply])) as (source, _):
        fetched = await fetch(source.reader(SHARD, None), limit)

    assert fetched.asked_at == NOW
    assert fetched.read_up_to == expected
    is_at_the_tip = behind == 0 and len(arrivals) < limit
    assert (fetched.read_up_to >= fetched.asked_at) is is_at_the_tip


millis = st.none() | st.just(0.0) | st.floats(1, 1e12)
lags = st.tuples(st.lists(st.floats(0, 2 * NOW), max_size=3), millis)


@given(st.lists(lags, min_size=1, max_size=6), st.integers(1, 4))
def test_how_far_it_has_read_is_never_beyond_the_question(
    replies: list[tuple[list[float], float | None]], limit: int
) -> None:
    for arrivals, behind in replies:
        records = [KinesisRecord("1", at, "") for at in arrivals]
        read_up_to = reach(records, behind, NOW, at_tip=len(records) < limit)

        assert BEGINNING <= read_up_to <= NOW
        assert not behind or read_up_to < NOW


async def test_how_far_it_has_read_never_goes_back() -> None:
    clock = Clock()
    replies: list[Answer] = [page(), page(behind=60_000), page(behind=1000)]
    async with source_on(Script(replies), now=clock) as (source, _):
        reader = source.reader(SHARD, None)
        reaches = []
        for _ in range(3):
            reaches.append((await fetch(reader)).read_up_to)
            clock.now += 10

    assert reaches == [NOW, NOW, NOW + 19]


# The end.


async def test_a_shard_without_a_next_iterator_has_ended_with_its_last_records() -> None:
    async with source_on(Script([page(1, then=None)])) as (source, server):
        reader = source.reader(SHARD, None)
        last, again = await fetch(reader), await fetch(reader)

    assert [(len(end.records), end.read_up_to, end.shard_ended) for end in (last, again)] == [
        (1, EVERYTHING, True),
        (0, EVERYTHING, True),
    ]
    assert server.operations == ["GetShardIterator", "GetRecords"]


# Seeking anew.


@pytest.mark.parametrize("refusal", [EXPIRED, error("InvalidArgumentException")])
async def test_an_expired_iterator_is_replaced_unseen_after_the_last_record_read(
    refusal: Says, caplog: pytest.LogCaptureFixture
) -> None:
    async with source_on(Script([page(6, 7), refusal, page(8)])) as (source, server):
        reader = source.reader(SHARD, Position("5"))
        first, second = await fetch(reader), await fetch(reader)

    assert [found.sequence for found in [*first.records, *second.records]] == ["6", "7", "8"]
    assert sought(server)[1:] == [AFTER_7]
    assert caplog.records == []


async def test_an_iterator_that_expires_before_the_first_record_is_sought_where_it_was() -> None:
    async with source_on(Script([page(), EXPIRED, page(8)])) as (source, server):
        reader = source.reader(SHARD, Position("7"))
        await fetch(reader)
        await fetch(reader)

    assert sought(server) == [AFTER_7, AFTER_7]


async def test_an_iterator_that_expires_again_at_once_fails_the_read_only() -> None:
    async with source_on(Script([EXPIRED, EXPIRED, page(8)])) as (source, _):
        reader = source.reader(SHARD, Position("7"))
        failed = await reader.read(10)
        found = await fetch(reader)

    assert isinstance(failed, FetchFailed)
    assert "ExpiredIteratorException" in failed.error
    assert [one.sequence for one in found.records] == ["8"]


@pytest.mark.parametrize("refusal", [error("InvalidArgumentException"), NOT_FOUND])
async def test_a_position_that_is_trimmed_goes_on_at_the_oldest_with_one_warning(
    refusal: Says, caplog: pytest.LogCaptureFixture
) -> None:
    script = Script([page(8, 9), EXPIRED, page(10)], iterators=[refusal])
    with caplog.at_level(logging.WARNING, "poller.sources"):
        async with source_on(script) as (source, server):
            reader = source.reader(SHARD, Position("7"))
            first, second = await fetch(reader), await fetch(reader)

    after_9 = {**AFTER_7, "StartingSequenceNumber": "9"}
    assert sought(server) == [AFTER_7, OLDEST, after_9]
    assert [found.sequence for found in [*first.records, *second.records]] == ["8", "9", "10"]
    [warning] = caplog.records
    assert "record 7" in warning.getMessage()
    assert "lost" in warning.getMessage()


@pytest.mark.parametrize("resume", [None, Position("7"), Position(since=NOW)])
@pytest.mark.parametrize("at", ["GetShardIterator", "GetRecords"])
async def test_a_shard_that_is_no_longer_listed_ends_with_a_warning(
    resume: Position | None, at: str, caplog: pytest.LogCaptureFixture
) -> None:
    script = Script([NOT_FOUND], {"Shards": [shard("shardId-000000000001")]})
    if at == "GetShardIterator":
        script.iterators = [NOT_FOUND]
    with caplog.at_level(logging.WARNING, "poller.sources"):
        async with source_on(script) as (source, _):
            end = await fetch(source.reader(SHARD, resume))

    assert (end.records, end.read_up_to, end.shard_ended) == ((), EVERYTHING, True)
    [warning] = caplog.records
    assert "lost" in warning.getMessage()


async def test_a_stream_that_is_gone_is_a_failure_that_names_it() -> None:
    async with source_on(Script([NOT_FOUND], NOT_FOUND)) as (source, _):
        failed = await source.reader(SHARD, None).read(10)

    assert isinstance(failed, FetchFailed)
    assert "Stream not found: " in failed.error
    assert "\n" not in failed.error
