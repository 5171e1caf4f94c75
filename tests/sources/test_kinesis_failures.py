"""What a reader makes of failures: one line each, and no record lost."""

from __future__ import annotations

import asyncio

import pytest

from poller.core.steps import Fetched, FetchFailed
from poller.errors import SourceMissing
from poller.sources.kinesis_reader import FULL_REPLY_BYTES
from tests.aws.canned import Says, error
from tests.sources.kinesis_scripts import SHARD, STREAM, THROTTLED, Script, page, source_on
from tests.sources.kinesis_streams import fetch, source_of
from tests.waiting import soon


@pytest.mark.parametrize(
    ("says", "told", "retry_after"),
    [
        (THROTTLED, "Rate exceeded", 1.0),
        (error("LimitExceededException", Retry_After="3"), "LimitExceeded", 3.0),
        (error("InternalFailure", status=500), "InternalFailure", None),
        (error("AccessDeniedException", "not allowed"), "not allowed", None),
        (Says(b"<html>"), "not what Kinesis answers", None),
        (Says(b'{"Records":[{}]}'), "not what Kinesis answers", None),
        (Says(b"[]"), "not what Kinesis answers", None),
        (Says(b"\xff\xfe", 502), "HTTP 502", None),
    ],
)
async def test_what_goes_wrong_is_one_line_and_loses_no_record(
    says: Says, told: str, retry_after: float | None
) -> None:
    async with source_on(Script([page(6, 7, then="second"), says, page(8)])) as (source, server):
        reader = source.reader(SHARD, None)
        await fetch(reader)
        failed = await reader.read(10)
        if retry_after:
            assert isinstance(failed, FetchFailed)
            reader._pace._next = float("-inf")  # the rest is another test's
        found = await fetch(reader)

    assert isinstance(failed, FetchFailed)
    assert failed.error.startswith(f"reading {SHARD}: ")
    assert told in failed.error
    assert "\n" not in failed.error
    assert failed.retry_after == retry_after
    assert [one.sequence for one in found.records] == ["8"]
    assert server.calls[-1].json["ShardIterator"] == "second"


async def test_a_server_that_is_down_is_a_failure() -> None:
    async with source_on(Script([page(1)])) as (source, server):
        pass
    async with source_of(server.url, STREAM) as source:
        failed = await source.reader(SHARD, None).read(10)
        with pytest.raises(SourceMissing, match=r"stream orders: .*NotConnected"):
            await source.shards()

    assert isinstance(failed, FetchFailed)
    assert server.url in failed.error


async def test_a_read_that_is_cancelled_comes_again_whole() -> None:
    script = Script([page(6, 7), None, page(8, 9)])
    async with source_on(script) as (source, server):
        reader = source.reader(SHARD, None)
        await fetch(reader, 10)
        reading = asyncio.create_task(reader.read(10))
        await soon(lambda: len(script.records) == 1)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        found = await fetch(reader, 10)

    assert [one.sequence for one in found.records] == ["8", "9"]
    gets = [call.json for call in server.calls if call.operation == "GetRecords"]
    assert gets[1] == gets[2]


async def test_throttles_and_full_replies_rest_the_shard() -> None:
    full = page(1)
    full["Records"][0]["Data"] = "A" * FULL_REPLY_BYTES
    rested: list[float] = []
    async with source_on(Script([THROTTLED, full, page(2)])) as (source, _):
        reader = source.reader(SHARD, None)
        reader._pace.rest = rested.append  # type: ignore[method-assign]
        results = [await reader.read(10) for _ in range(3)]

    assert [type(result) for result in results] == [FetchFailed, Fetched, Fetched]
    assert rested == [1.0, 5.0]
