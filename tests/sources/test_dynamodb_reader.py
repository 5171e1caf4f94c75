"""Reading one DynamoDB Streams shard on through expiry, trimming, throttling and cancellation."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from poller.aws.sessions import AwsSession, AwsSettings
from poller.core.model import Position
from poller.core.steps import Fetched
from poller.interfaces import ShardSource
from poller.sources.dynamodb_streams import DynamoDBStreamsSource
from tests.sources.fake_dynamodb_streams import ARN, Clock, FakeStream, failure, items


@pytest.fixture
async def stream() -> AsyncIterator[FakeStream]:
    async with FakeStream() as fake:
        yield fake


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def source(stream: FakeStream, clock: Clock) -> AsyncIterator[ShardSource]:
    async with AwsSession(AwsSettings(endpoint_url=stream.url)) as session:
        client = session.json_client("dynamodbstreams")
        yield DynamoDBStreamsSource(client, stream_arn=ARN, now=clock)


async def test_without_a_position_a_shard_is_read_from_its_oldest_record_in_order(
    stream: FakeStream, source: ShardSource
) -> None:
    for number in range(7):
        stream.put("shard-1", f"i{number}")
    reader = source.reader("shard-1", None)

    assert await items(reader, 3) == ["i0", "i1", "i2"]
    assert await items(reader, 3) == ["i3", "i4", "i5"]
    assert await items(reader) == ["i6"]
    assert await items(reader) == []
    stream.put("shard-1", "late")
    assert await items(reader) == ["late"]


async def test_reading_resumes_after_a_position(stream: FakeStream, source: ShardSource) -> None:
    done = [stream.put("shard-1", item) for item in "abc"][1]

    assert await items(source.reader("shard-1", Position(done))) == ["c"]


async def test_an_expired_iterator_is_sought_again_after_the_last_record_read(
    stream: FakeStream, source: ShardSource
) -> None:
    for item in "abcd":
        stream.put("shard-1", item)
    reader = source.reader("shard-1", None)
    assert await items(reader, 2) == ["a", "b"]

    stream.expire_iterators()

    assert await items(reader) == ["c", "d"]


async def test_expiry_before_the_first_record_starts_at_the_position_again(
    stream: FakeStream, source: ShardSource
) -> None:
    done = stream.put("shard-1", "a")
    reader = source.reader("shard-1", Position(done))
    assert await items(reader) == []
    stream.put("shard-1", "b")

    stream.expire_iterators()

    assert await items(reader) == ["b"]


@pytest.mark.parametrize("when", ["seeking", "reading"])
async def test_trimmed_data_is_passed_over_with_one_warning(
    stream: FakeStream, source: ShardSource, caplog: pytest.LogCaptureFixture, when: str
) -> None:
    done, *_ = [stream.put("shard-1", item) for item in "abcd"]
    reader = source.reader("shard-1", Position(done))
    if when == "reading":
        assert await items(reader, 1) == ["b"]

    with caplog.at_level(logging.WARNING, "poller.sources"):
        stream.trim("shard-1", 3)
        assert await items(reader) == ["d"]
        stream.put("shard-1", "e")
        stream.put("shard-1", "f")
        stream.trim("shard-1", 2)
        assert await items(reader) == ["f"]

    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "shard-1" in caplog.text


async def test_iterators_that_are_always_refused_do_not_spin(
    stream: FakeStream, source: ShardSource
) -> None:
    stream.faults["GetRecords"].extend(["ExpiredIteratorException"] * 100)

    assert "shard-1" in (await failure(source.reader("shard-1", None))).error
    assert stream.count("GetRecords") == 3


async def test_caught_up_takes_three_empty_replies_in_a_row(
    stream: FakeStream, source: ShardSource, clock: Clock
) -> None:
    made_at = clock.time - 30
    stream.put("shard-1", "a", at=made_at)
    reader = source.reader("shard-1", None)
    seen = []
    for step in range(7):
        clock.time += 1
        if step == 5:
            stream.put("shard-1", "b", at=clock.time)
        fetched = await reader.read(10)
        assert isinstance(fetched, Fetched)
        assert fetched.asked_at == clock.time
        seen.append(fetched.read_up_to)

    tip = clock.time
    assert seen == [made_at] * 3 + [tip - 3, tip - 2, tip - 1, tip - 1]


async def test_read_up_to_never_goes_back(stream: FakeStream, source: ShardSource) -> None:
    for at in (50.0, 40.0, 60.0):
        stream.put("shard-1", "a", at=at)
    reader = source.reader("shard-1", None)

    seen = [await reader.read(1) for _ in range(3)]

    assert [s.read_up_to for s in seen if isinstance(s, Fetched)] == [50.0, 50.0, 60.0]


@pytest.mark.parametrize(
    ("code", "retry_after"),
    [
        ("ProvisionedThroughputExceededException", 1.0),
        ("LimitExceededException", 1.0),
        ("InternalServerError", None),
        ("AccessDeniedException", None),
    ],
)
@pytest.mark.parametrize("operation", ["GetShardIterator", "GetRecords"])
async def test_what_is_refused_is_a_value_and_comes_with_the_next_read(
    stream: FakeStream,
    source: ShardSource,
    operation: str,
    code: str,
    retry_after: float | None,
) -> None:
    stream.put("shard-1", "a")
    stream.faults[operation].append(code)
    reader = source.reader("shard-1", None)

    failed = await failure(reader)

    assert failed.retry_after == retry_after
    assert "shard-1" in failed.error
    assert code in failed.error
    assert await items(reader) == ["a"]
    assert stream.count("GetShardIterator") == (2 if operation == "GetShardIterator" else 1)


async def test_a_vanished_shard_has_ended(
    stream: FakeStream, source: ShardSource, caplog: pytest.LogCaptureFixture
) -> None:
    stream.put("shard-1", "a")
    reader = source.reader("shard-1", None)
    assert await items(reader) == ["a"]
    stream.open("shard-2")
    del stream.shards["shard-1"]

    fetched = await reader.read(10)

    assert isinstance(fetched, Fetched)
    assert fetched.shard_ended
    assert "shard-1" in caplog.text


async def test_a_vanished_stream_may_come_back(stream: FakeStream, source: ShardSource) -> None:
    stream.put("shard-1", "a")
    reader = source.reader("shard-1", None)
    stream.gone = True

    assert "Stream not found" in (await failure(reader)).error
    stream.gone = False
    assert await items(reader) == ["a"]


async def test_a_cancelled_read_loses_nothing(stream: FakeStream, source: ShardSource) -> None:
    sent = [f"i{number}" for number in range(30)]
    for item in sent:
        stream.put("shard-1", item)
    reader = source.reader("shard-1", None)
    got: list[str] = []
    cancelled = 0
    for yields in range(30):
        reading = asyncio.ensure_future(items(reader, 1))
        for _ in range(yields):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
        if reading.cancelled():
            cancelled += 1
        else:
            got += reading.result()

    assert cancelled > 0
    assert got + await items(reader) == sent
