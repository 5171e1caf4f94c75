"""Consumers of real servers: what is pushed is what polling would have read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from poller.aws.sessions import AwsSession, AwsSettings
from poller.core.model import EVERYTHING, Position, Record
from poller.core.steps import Fetched, FetchFailed
from poller.errors import SourceMissing
from poller.interfaces import ShardReader
from poller.sources import kinesis_fanout_reader
from poller.sources.kinesis import AtTimestamp, KinesisSource, Latest, Start, TrimHorizon
from poller.sources.kinesis_fanout import KinesisFanoutSource
from poller.sources.paces import Paces
from tests.aggregates import aggregate
from tests.servers import Stream, aws, new_consumer, new_stream
from tests.sources.kinesis_streams import ROLE, endpoint, keys_of, put, read_to_tip

PUSHING = ["kinesis_local", "newer_ministack"]
SHARD = "shardId-000000000000"
READS_MAX = 100

pytestmark = pytest.mark.proves("EventSourceArn")


@contextlib.asynccontextmanager
async def sources_of(
    url: str,
    stream: Stream,
    consumer: str,
    start: Start = TrimHorizon(),  # noqa: B008 - frozen
) -> AsyncIterator[tuple[KinesisFanoutSource, KinesisSource]]:
    """The consumer as a source, and the stream as one that is polled."""
    async with AwsSession(AwsSettings(region="us-east-1", endpoint_url=url)) as session:
        common: dict[str, Any] = {
            "role_arn": ROLE,
            "start": start,
            "now": time.time,
            "paces": Paces(0.0),
        }
        client = session.json_client("kinesis")
        yield (
            KinesisFanoutSource(client, consumer_arn=consumer, **common),
            KinesisSource(client, stream_arn=stream.arn, **common),
        )


async def read(reader: ShardReader, count: int) -> list[Record]:
    """The next `count` records, and no more than that."""
    found: list[Record] = []
    for _ in range(READS_MAX):
        fetched = await reader.read(10_000)
        if isinstance(fetched, FetchFailed):
            assert "ResourceInUse" in fetched.error, fetched.error
            await asyncio.sleep(fetched.retry_after or 0.0)
            continue
        found += fetched.records
        if len(found) >= count:
            break
    assert len(found) == count
    return found


@pytest.mark.proves("S3.3.fan-out", "S3.3.arn")
@pytest.mark.parametrize("server", PUSHING)
async def test_what_is_pushed_makes_the_events_that_polling_makes(
    server: str, request: pytest.FixtureRequest
) -> None:
    url = endpoint(request, server)
    stream = new_stream(url)
    consumer = new_consumer(url, stream)
    put(url, stream, ["a", "b", "ü", 'quote "'])

    async with sources_of(url, stream, consumer) as (fanout, polled):
        assert await fanout.shards() == await polled.shards()
        reader = fanout.reader(SHARD, None)
        pushed = await read(reader, 4)
        put(url, stream, ["c"])
        pushed += await read(reader, 1)
        reader.close()
        records = await read_to_tip(polled.reader(SHARD, None))

    event = fanout.event(SHARD, pushed)
    assert event == polled.event(SHARD, records).replace(stream.arn.encode(), consumer.encode())
    assert {each["eventSourceARN"] for each in json.loads(event)["Records"]} == {consumer}


@pytest.mark.parametrize("server", PUSHING)
async def test_reading_goes_on_after_a_position_and_from_an_instant(
    server: str, request: pytest.FixtureRequest
) -> None:
    url = endpoint(request, server)
    stream = new_stream(url)
    one, two = new_consumer(url, stream, "one"), new_consumer(url, stream, "two")
    put(url, stream, ["a"])
    await asyncio.sleep(0.02)
    put(url, stream, ["b", "c"])

    async with sources_of(url, stream, one) as (fanout, polled):
        first, second, _ = await read_to_tip(polled.reader(SHARD, None))
        reader = fanout.reader(SHARD, Position(first.sequence))
        resumed = await read(reader, 2)
        reader.close()
    async with sources_of(url, stream, two, AtTimestamp(second.arrived_at)) as (fanout, _):
        reader = fanout.reader(SHARD, None)
        timed = await read(reader, 2)
        reader.close()

    assert keys_of(resumed) == keys_of(timed) == ["b", "c"]


@pytest.mark.parametrize("server", PUSHING)
async def test_what_comes_after_a_pin_is_pushed_and_nothing_before_it(
    server: str, request: pytest.FixtureRequest
) -> None:
    url = endpoint(request, server)
    stream = new_stream(url)
    consumer = new_consumer(url, stream)
    put(url, stream, ["a", "b"])

    async with sources_of(url, stream, consumer, Latest()) as (fanout, _):
        [(shard, position)] = (await fanout.pin()).items()
        put(url, stream, ["c", "d"])
        reader = fanout.reader(shard, position)
        records = await read(reader, 2)
        reader.close()

    assert keys_of(records) == ["c", "d"]


async def test_a_pin_outlives_the_process_that_took_it(newer_ministack_url: str) -> None:
    stream = new_stream(newer_ministack_url)
    consumer = new_consumer(newer_ministack_url, stream)
    async with sources_of(newer_ministack_url, stream, consumer, Latest()) as (fanout, _):
        [(shard, position)] = (await fanout.pin()).items()
    put(newer_ministack_url, stream, ["a", "b"])

    async with sources_of(newer_ministack_url, stream, consumer, Latest()) as (fanout, _):
        reader = fanout.reader(shard, position)
        records = await read(reader, 2)
        reader.close()

    assert keys_of(records) == ["a", "b"]


async def test_a_second_reader_takes_over_after_five_seconds(newer_ministack_url: str) -> None:
    stream = new_stream(newer_ministack_url)
    consumer = new_consumer(newer_ministack_url, stream)
    put(newer_ministack_url, stream, ["a", "b"])
    one = sources_of(newer_ministack_url, stream, consumer)
    other = sources_of(newer_ministack_url, stream, consumer)  # with a pace of its own

    async with one as (fanout, _), other as (another, _):
        first, second = fanout.reader(SHARD, None), another.reader(SHARD, None)
        seen = await read(first, 2)
        refused = await second.read(10)
        again = await read(second, 2)
        while isinstance(taken := await first.read(10), Fetched):
            assert not taken.records
        first.close()
        second.close()

    assert isinstance(refused, FetchFailed)
    assert "ResourceInUse" in refused.error
    assert refused.retry_after == kinesis_fanout_reader.TAKEOVER_AFTER
    assert "a consumer of its own" in taken.error
    assert keys_of(seen) == keys_of(again) == ["a", "b"]


@pytest.mark.proves("S3.4.fan-out")
@pytest.mark.parametrize("server", PUSHING)
async def test_aggregates_come_apart(server: str, request: pytest.FixtureRequest) -> None:
    url = endpoint(request, server)
    stream = new_stream(url)
    consumer = new_consumer(url, stream)
    data = aggregate([("a", None, b"1"), ("b", 7, b"2"), ("a", None, b"3")])
    aws("kinesis", url).put_record(StreamName=stream.name, Data=data, PartitionKey="a")
    put(url, stream, ["c"])

    async with sources_of(url, stream, consumer) as (fanout, polled):
        reader = fanout.reader(SHARD, None)
        records = await read(reader, 4)
        reader.close()
        whole, after = await read_to_tip(polled.reader(SHARD, None))

    assert keys_of(records) == ["a", "b", "a", "c"]
    assert [record.sequence for record in records] == [whole.sequence] * 3 + [after.sequence]


# kinesis-local pushes to consumers of a closed shard for ever.
async def test_a_shard_that_is_split_ends_with_its_children(newer_ministack_url: str) -> None:
    stream = new_stream(newer_ministack_url)
    consumer = new_consumer(newer_ministack_url, stream)
    async with sources_of(newer_ministack_url, stream, consumer) as (fanout, _):
        reader = fanout.reader(SHARD, None)
        put(newer_ministack_url, stream, ["a"])
        found = await read(reader, 1)
        aws("kinesis", newer_ministack_url).split_shard(
            StreamName=stream.name, ShardToSplit=SHARD, NewStartingHashKey=str(2**127)
        )
        while isinstance(fetched := await reader.read(10), Fetched) and not fetched.shard_ended:
            found += fetched.records
        children = [shard.id for shard in await fanout.shards()]
        hash_keys = [await fanout.hash_keys(child) for child in children]

    assert isinstance(fetched, Fetched), fetched
    assert fetched.read_up_to == EVERYTHING
    assert keys_of(found) == ["a"]
    assert hash_keys == [range(2**127), range(2**127, 2**128)]


@pytest.mark.parametrize("server", PUSHING)
async def test_a_consumer_that_is_not_there_is_told_in_the_words_of_aws(
    server: str, request: pytest.FixtureRequest
) -> None:
    url = endpoint(request, server)
    stream = new_stream(url)
    consumer = f"{stream.arn}/consumer/slow:1700000000"

    async with sources_of(url, stream, consumer) as (fanout, _):
        for ask in (fanout.shards, fanout.pin):
            with pytest.raises(SourceMissing) as missing:
                await ask()
            assert str(missing.value) == f"Stream not found: {consumer}"
        failed = await fanout.reader(SHARD, Position("7")).read(10)

    assert isinstance(failed, FetchFailed)
    assert "Stream not found" in failed.error


async def test_a_consumer_that_goes_away_fails_reads(
    newer_ministack_url: str,
) -> None:
    kinesis = aws("kinesis", newer_ministack_url)
    stream = new_stream(newer_ministack_url)
    consumer = new_consumer(newer_ministack_url, stream)
    async with sources_of(newer_ministack_url, stream, consumer) as (fanout, _):
        reader = fanout.reader(SHARD, None)
        put(newer_ministack_url, stream, ["a"])
        await read(reader, 1)
        kinesis.deregister_stream_consumer(ConsumerARN=consumer)

        async def fails() -> str | None:
            fetched = await reader.read(10)
            return fetched.error if isinstance(fetched, FetchFailed) else None

        failures = [await fails() for _ in range(3)]
        reader.close()

    assert any(failure and "Stream not found" in failure for failure in failures)


async def test_a_consumer_that_is_still_made_is_missing_until_it_is_there(
    kinesis_local_url: str,
) -> None:
    stream = new_stream(kinesis_local_url)
    kinesis: Any = aws("kinesis", kinesis_local_url)
    made = kinesis.register_stream_consumer(StreamARN=stream.arn, ConsumerName="fast")
    consumer = made["Consumer"]["ConsumerARN"]
    told: set[str] = set()

    async with sources_of(kinesis_local_url, stream, consumer) as (fanout, _):
        for _ in range(READS_MAX):
            try:
                await fanout.shards()
                break
            except SourceMissing as error:
                told.add(str(error))
            await asyncio.sleep(0.05)
        assert [shard.id for shard in await fanout.shards()] == [SHARD]

    assert told <= {f"consumer {consumer} is CREATING, not ACTIVE"}
