"""The shards, the pins and the ends of a DynamoDB stream, against a fake that has lineage."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from poller.aws.sessions import AwsSession, AwsSettings
from poller.core.model import EVERYTHING, Position
from poller.core.shards import Shard
from poller.core.steps import Fetched
from poller.errors import SourceMissing
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


async def test_all_pages_of_shards_are_listed_with_their_parents(
    stream: FakeStream, source: ShardSource
) -> None:
    stream.describe_max = 2
    for number in range(1, 5):
        stream.roll(f"shard-{number}", f"shard-{number + 1}")

    assert await source.shards() == [
        Shard("shard-1", (), closed=True),
        Shard("shard-2", ("shard-1",), closed=True),
        Shard("shard-3", ("shard-2",), closed=True),
        Shard("shard-4", ("shard-3",), closed=True),
        Shard("shard-5", ("shard-4",)),
    ]
    assert stream.count("DescribeStream") == 3


async def test_a_throttled_listing_is_tried_again(stream: FakeStream, source: ShardSource) -> None:
    stream.faults["DescribeStream"].extend(["ThrottlingException", "LimitExceededException"])

    assert await source.shards() == [Shard("shard-1")]


@pytest.mark.parametrize("ask", ["shards", "pin"])
async def test_a_missing_stream_is_said_in_aws_words(
    stream: FakeStream, source: ShardSource, ask: str
) -> None:
    stream.gone = True

    with pytest.raises(SourceMissing) as missing:
        await getattr(source, ask)()

    assert str(missing.value) == f"Stream not found: {ARN}"


async def test_a_refused_listing_says_why(stream: FakeStream, source: ShardSource) -> None:
    stream.faults["DescribeStream"].append("AccessDeniedException")

    with pytest.raises(SourceMissing, match=r"orders.*DescribeStream.*AccessDeniedException"):
        await source.shards()


async def test_a_rolled_shard_ends_after_its_last_record(
    stream: FakeStream, source: ShardSource
) -> None:
    stream.put("shard-1", "a")
    stream.put("shard-1", "b")
    child = stream.roll("shard-1")
    stream.put(child, "c")
    reader = source.reader("shard-1", None)

    first = await reader.read(1)
    last = await reader.read(1)
    after = await reader.read(1)

    assert isinstance(first, Fetched)
    assert isinstance(last, Fetched)
    assert isinstance(after, Fetched)
    assert (first.shard_ended, last.shard_ended, after.shard_ended) == (False, True, True)
    assert (len(last.records), last.read_up_to, after.records) == (1, EVERYTHING, ())
    assert await items(source.reader(child, None)) == ["c"]


async def test_a_pin_reads_what_comes_later_and_counts_closed_shards_as_done(
    stream: FakeStream, source: ShardSource
) -> None:
    stream.put("shard-1", "before")
    tip = stream.roll("shard-1")
    stream.put(tip, "before too")

    pins = await source.pin()
    stream.put(tip, "after")
    child = stream.roll(tip)
    stream.put(child, "after too")

    assert pins["shard-1"] == Position(ended=True)
    assert pins[tip].sequence is None
    assert await items(source.reader(tip, pins[tip])) == ["after"]
    assert await items(source.reader(tip, pins[tip])) == ["after"]  # a reader that starts anew
    assert await items(source.reader(child, None)) == ["after too"]


async def test_a_pins_own_iterator_is_trusted_more_than_creation_times(
    stream: FakeStream, source: ShardSource
) -> None:
    pins = await source.pin()
    stream.put("shard-1", "made in the past", at=1.0)
    stream.put("shard-1", "another", at=2.0)
    reader = source.reader("shard-1", pins["shard-1"])

    assert await items(reader, 1) == ["made in the past"]
    stream.expire_iterators()
    assert await items(reader, 1) == ["another"]


async def test_a_pin_is_made_of_the_servers_own_time(source: ShardSource, clock: Clock) -> None:
    pins = await source.pin()

    since = pins["shard-1"].since
    assert since is not None
    assert since > clock.time + 3600  # the clock of this test stands still in 2024
    assert since == since // 1


@pytest.mark.parametrize("lost", ["restart", "expiry"])
async def test_a_pin_whose_iterator_is_lost_skips_what_was_made_before(
    stream: FakeStream, source: ShardSource, lost: str
) -> None:
    pins = await source.pin()
    since = pins["shard-1"].since
    assert since is not None
    for item, at in [("old", since - 1), ("new", since), ("skewed", since - 1), ("newer", since)]:
        stream.put("shard-1", item, at=at)

    if lost == "expiry":
        stream.expire_iterators()
        reader = source.reader("shard-1", pins["shard-1"])
    else:
        reader = source.reader("shard-1", Position(since=since + 0.4))

    assert await items(reader, 1) == []
    assert await items(reader) == ["new", "skewed", "newer"]


async def test_skipping_is_not_catching_up(
    stream: FakeStream, source: ShardSource, clock: Clock
) -> None:
    for number in range(5):
        stream.put("shard-1", f"i{number}", at=clock.time - 50 + number)
    reader = source.reader("shard-1", Position(since=clock.time))

    seen = [await reader.read(1) for _ in range(5)]

    assert [s.read_up_to for s in seen if isinstance(s, Fetched)] == [
        clock.time - 50 + number for number in range(5)
    ]


async def test_a_dead_endpoint_is_a_value() -> None:
    async with FakeStream() as stream:
        url = stream.url
    async with AwsSession(AwsSettings(endpoint_url=url)) as session:
        client = session.json_client("dynamodbstreams")
        source = DynamoDBStreamsSource(client, stream_arn=ARN, now=Clock())

        assert "shard-1" in (await failure(source.reader("shard-1", None))).error
        with pytest.raises(SourceMissing, match=r"orders/stream.*127\.0\.0\.1"):
            await source.pin()
