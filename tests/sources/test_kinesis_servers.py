"""One suite over every server that speaks Kinesis; what a server cannot do, it is not asked."""

from __future__ import annotations

import asyncio
import base64
import json
import time

import pytest

from poller.core.model import Position
from poller.core.steps import FetchFailed
from poller.errors import SourceMissing
from poller.sources.kinesis import AtTimestamp, Latest
from tests.servers import Stream, aws, new_stream
from tests.sources.kinesis_streams import endpoint, fetch, keys_of, put, read_to_tip, source_of

EVERY = ["kinesalite", "kinesis_local", "moto", "ministack"]
RESHARDING = ["kinesalite", "kinesis_local"]


@pytest.mark.parametrize("server", EVERY)
async def test_a_listing_of_several_pages_is_read_to_its_end(
    server: str, request: pytest.FixtureRequest
) -> None:
    url = endpoint(request, server)
    stream = new_stream(url, shards=5)

    async with source_of(url, stream, page_shards=2) as source:
        shards = await source.shards()

    assert [shard.id for shard in shards] == [f"shardId-{number:012}" for number in range(5)]
    assert not any(shard.closed or shard.parents for shard in shards)


@pytest.mark.parametrize("server", EVERY)
async def test_the_oldest_records_come_first_and_as_they_were_put(
    server: str, request: pytest.FixtureRequest
) -> None:
    url = endpoint(request, server)
    stream = new_stream(url)
    put(url, stream, ["a", "b", "ü"])

    async with source_of(url, stream) as source:
        [shard] = await source.shards()
        records = await read_to_tip(source.reader(shard.id, None))
        event = json.loads(source.event(shard.id, records))

    assert [record["kinesis"]["partitionKey"] for record in event["Records"]] == ["a", "b", "ü"]
    assert [
        base64.b64decode(record["kinesis"]["data"]).decode() for record in event["Records"]
    ] == ["a", "b", "ü"]
    arrivals = [record["kinesis"]["approximateArrivalTimestamp"] for record in event["Records"]]
    assert arrivals == sorted(arrivals)
    assert all(abs(arrival - time.time()) < 60 for arrival in arrivals)


@pytest.mark.parametrize("server", EVERY)
async def test_a_stored_position_is_resumed_after(
    server: str, request: pytest.FixtureRequest
) -> None:
    url = endpoint(request, server)
    stream = new_stream(url)
    put(url, stream, ["a", "b", "c"])

    async with source_of(url, stream) as source:
        [shard] = await source.shards()
        first = (await fetch(source.reader(shard.id, None), 1)).records[0]
        rest = await read_to_tip(source.reader(shard.id, Position(first.sequence)), limit=1)

    assert keys_of([first, *rest]) == ["a", "b", "c"]


# ministack's arrival times are whole seconds.
@pytest.mark.parametrize("server", ["kinesalite", "kinesis_local", "moto"])
async def test_a_start_at_an_instant_leaves_out_what_is_older(
    server: str, request: pytest.FixtureRequest
) -> None:
    url = endpoint(request, server)
    stream = new_stream(url)
    put(url, stream, ["a"])
    await asyncio.sleep(0.02)
    put(url, stream, ["b", "c"])

    async with source_of(url, stream) as source:
        [shard] = await source.shards()
        middle = (await read_to_tip(source.reader(shard.id, None)))[1].arrived_at
    async with source_of(url, stream, AtTimestamp(middle)) as source:
        records = await read_to_tip(source.reader(shard.id, None))

    assert keys_of(records) == ["b", "c"]


@pytest.mark.parametrize("server", EVERY)
async def test_what_comes_after_a_pin_is_read_and_nothing_before_it(
    server: str, request: pytest.FixtureRequest
) -> None:
    url = endpoint(request, server)
    stream = new_stream(url)
    put(url, stream, ["a", "b"])

    async with source_of(url, stream, Latest()) as source:
        pinned = await source.pin()
        put(url, stream, ["c", "d"])
        [(shard, position)] = pinned.items()
        records = await read_to_tip(source.reader(shard, position))

    assert keys_of(records) == ["c", "d"]


@pytest.mark.parametrize("server", EVERY)
async def test_a_pin_outlives_the_process_that_took_it(
    server: str, request: pytest.FixtureRequest
) -> None:
    url = endpoint(request, server)
    stream = new_stream(url)
    async with source_of(url, stream, Latest()) as source:
        [(shard, position)] = (await source.pin()).items()
    put(url, stream, ["a", "b"])

    async with source_of(url, stream, Latest()) as source:
        records = await read_to_tip(source.reader(shard, position))

    assert keys_of(records) == ["a", "b"]


@pytest.mark.parametrize(
    ("server", "count"),
    [("kinesalite", 10_000), ("ministack", 10_000), ("kinesis_local", 2000), ("moto", 2000)],
)
async def test_thousands_of_records_come_in_order(
    server: str, count: int, request: pytest.FixtureRequest
) -> None:
    url = endpoint(request, server)
    stream = new_stream(url)
    keys = [f"key-{number}" for number in range(count)]
    await asyncio.to_thread(put, url, stream, keys)

    async with source_of(url, stream) as source:
        [shard] = await source.shards()
        records = await read_to_tip(source.reader(shard.id, None), limit=700)

    assert keys_of(records) == keys


@pytest.mark.parametrize("server", EVERY)
async def test_records_put_while_the_tip_is_read_all_come(
    server: str, request: pytest.FixtureRequest
) -> None:
    url = endpoint(request, server)
    stream = new_stream(url)
    keys = [f"key-{number}" for number in range(60)]

    async with source_of(url, stream) as source:
        [shard] = await source.shards()
        reader = source.reader(shard.id, None)
        found = await read_to_tip(reader)
        for first in range(0, 60, 20):
            put(url, stream, keys[first : first + 20])
            found += await read_to_tip(reader, limit=7)

    assert keys_of(found) == keys


# What is not there.


@pytest.mark.parametrize("server", EVERY)
async def test_a_stream_that_is_not_there_is_named(
    server: str, request: pytest.FixtureRequest
) -> None:
    nowhere = Stream("nowhere", "arn:aws:kinesis:us-east-1:000000000000:stream/nowhere")

    async with source_of(endpoint(request, server), nowhere) as source:
        for ask in (source.shards, source.pin):
            with pytest.raises(
                SourceMissing, match=f"^Stream not found: {nowhere.arn}$"
            ) as missing:
                await ask()
            assert "\n" not in str(missing.value)


# The others may number the records of two streams of one name alike.
@pytest.mark.parametrize("server", ["kinesis_local", "ministack"])
async def test_a_stream_that_goes_away_fails_reads_until_it_is_back(
    server: str, request: pytest.FixtureRequest
) -> None:
    url = endpoint(request, server)
    stream = new_stream(url)
    put(url, stream, ["a"])
    async with source_of(url, stream) as source:
        reader = source.reader("shardId-000000000000", None)
        await read_to_tip(reader)
        aws("kinesis", url).delete_stream(StreamName=stream.name)
        aws("kinesis", url).get_waiter("stream_not_exists").wait(
            StreamName=stream.name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 200}
        )
        gone = await reader.read(10)
        new_stream(url, name=stream.name)
        put(url, stream, ["b"])
        back = await read_to_tip(reader)

    assert isinstance(gone, FetchFailed)
    assert "shardId-000000000000" in gone.error
    assert keys_of(back) == ["b"]
