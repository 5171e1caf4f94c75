"""What every stream promises as a source, over each of them: memory, polled, pushed, a table's."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from poller.aws.sessions import AwsSession, AwsSettings
from poller.core.model import EVERYTHING, Position, Record
from poller.core.steps import Fetched, FetchFailed
from poller.interfaces import ShardReader, ShardSource
from poller.sources.dynamodb_streams import DynamoDBStreamsSource
from poller.sources.kinesis import KinesisSource, TrimHorizon
from poller.sources.kinesis_fanout import KinesisFanoutSource
from poller.sources.memory import MemoryStream
from poller.sources.paces import Paces
from tests.servers import aws, new_consumer, new_stream, new_table
from tests.sources.kinesis_streams import ROLE, put

READS_MAX = 200


@dataclass(frozen=True, slots=True)
class Stream:
    """A source of a stream with one shard; `put` adds records of these keys to it."""

    source: ShardSource
    put: Callable[[Sequence[str]], None]


Opens = Callable[[], AbstractAsyncContextManager[Stream]]


def in_memory(request: pytest.FixtureRequest) -> Opens:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Stream]:
        stream = MemoryStream(now=time.time)
        yield Stream(stream, lambda keys: [stream.put(key) for key in keys] and None)

    return opened


def of_kinesis(request: pytest.FixtureRequest, *, pushed: bool) -> Opens:
    url = request.getfixturevalue("kinesis_local_url")
    stream = new_stream(url)
    common: dict[str, Any] = {
        "role_arn": ROLE,
        "start": TrimHorizon(),
        "now": time.time,
        "paces": Paces(0.0),
    }

    @asynccontextmanager
    async def opened() -> AsyncIterator[Stream]:
        async with AwsSession(AwsSettings(region="us-east-1", endpoint_url=url)) as session:
            client = session.json_client("kinesis")
            if pushed:
                consumer = new_consumer(url, stream, f"fast-{time.monotonic_ns()}")
                source: ShardSource = KinesisFanoutSource(client, consumer_arn=consumer, **common)
            else:
                source = KinesisSource(client, stream_arn=stream.arn, **common)
            yield Stream(source, lambda keys: put(url, stream, keys))

    return opened


def of_table(request: pytest.FixtureRequest) -> Opens:
    url = request.getfixturevalue("ministack_url")
    table = new_table(url)

    def write(keys: Sequence[str]) -> None:
        for key in keys:
            aws("dynamodb", url).put_item(TableName=table.name, Item={"id": {"S": key}})

    @asynccontextmanager
    async def opened() -> AsyncIterator[Stream]:
        async with AwsSession(AwsSettings(region="us-east-1", endpoint_url=url)) as session:
            client = session.json_client("dynamodbstreams")
            arn = table.stream_arn
            yield Stream(DynamoDBStreamsSource(client, stream_arn=arn, now=time.time), write)

    return opened


SOURCES: dict[str, Callable[[pytest.FixtureRequest], Opens]] = {
    "memory": in_memory,
    "kinesis": lambda request: of_kinesis(request, pushed=False),
    "kinesis-fanout": lambda request: of_kinesis(request, pushed=True),
    "dynamodb": of_table,
}


@pytest.fixture(params=SOURCES)
def opens(request: pytest.FixtureRequest) -> Opens:
    return SOURCES[request.param](request)


async def read(reader: ShardReader, count: int, limit: int = 1000) -> list[Record]:
    """The next `count` records, and no more."""
    found: list[Record] = []
    for _ in range(READS_MAX):
        await reader.ready()
        fetched = await reader.read(limit)
        if isinstance(fetched, FetchFailed):  # a consumer, whose last reader was here just now
            assert "ResourceInUse" in fetched.error, fetched
            await asyncio.sleep(fetched.retry_after or 0.0)
            continue
        assert fetched.size >= sum(record.size for record in fetched.records)
        assert fetched.read_up_to < EVERYTHING
        found += fetched.records
        if len(found) >= count:
            break
    assert len(found) == count
    return found


def keys_in(event: bytes) -> list[str]:
    records = json.loads(event)["Records"]
    return [
        record["kinesis"]["partitionKey"]
        if "kinesis" in record
        else record["dynamodb"]["Keys"]["id"]["S"]
        if "dynamodb" in record
        else record["key"]
        for record in records
    ]


KEYS = [f"key-{number}" for number in range(12)]


async def test_an_unknown_shard_is_read_from_its_start_in_order_and_then_on(opens: Opens) -> None:
    async with opens() as stream:
        stream.put(KEYS[:8])
        [shard] = await stream.source.shards()
        reader = stream.source.reader(shard.id, None)
        records = await read(reader, 8, limit=3)
        stream.put(KEYS[8:])
        records += await read(reader, 4)
        event = stream.source.event(shard.id, records)
        reader.close()

    assert keys_in(event) == KEYS
    sequences = [int(record.sequence) for record in records]
    assert sequences == sorted(set(sequences))
    assert len(event) <= sum(record.size for record in records) + len('{"Records":[]}')


async def test_a_reader_goes_on_after_the_position_that_it_is_given(opens: Opens) -> None:
    async with opens() as stream:
        stream.put(KEYS[:4])
        [shard] = await stream.source.shards()
        first = stream.source.reader(shard.id, None)
        settled = (await read(first, 4))[1]
        first.close()
        again = stream.source.reader(shard.id, Position(settled.sequence))
        event = stream.source.event(shard.id, await read(again, 2))
        again.close()

    assert keys_in(event) == KEYS[2:4]


async def test_a_pin_stands_for_what_comes_after_it(opens: Opens) -> None:
    async with opens() as stream:
        stream.put(KEYS[:2])
        await asyncio.sleep(1.1)  # one server tells times in whole seconds
        pins = await stream.source.pin()
        stream.put(KEYS[2:5])
        [(shard, position)] = pins.items()
        reader = stream.source.reader(shard, position)
        event = stream.source.event(shard, await read(reader, 3))
        reader.close()

    assert keys_in(event) == KEYS[2:5]


async def test_reads_that_are_cancelled_lose_nothing(opens: Opens) -> None:
    async with opens() as stream:
        stream.put(KEYS)
        [shard] = await stream.source.shards()
        reader = stream.source.reader(shard.id, None)
        found: list[Record] = []
        for turns in range(READS_MAX):
            reading = asyncio.create_task(reader.read(5))
            for _ in range(turns):
                await asyncio.sleep(0)
            reading.cancel()
            try:
                fetched = await reading
            except asyncio.CancelledError:
                continue
            if isinstance(fetched, Fetched):
                found += fetched.records
        if len(found) < len(KEYS):
            found += await read(reader, len(KEYS) - len(found))
        event = stream.source.event(shard.id, found)
        reader.close()

    assert keys_in(event) == KEYS


async def test_a_reader_may_be_closed_at_any_time(opens: Opens) -> None:
    async with opens() as stream:
        [shard] = await stream.source.shards()
        unread, read_from = (stream.source.reader(shard.id, None) for _ in range(2))
        unread.close()
        reading = asyncio.create_task(read_from.read(1))
        await asyncio.sleep(0.01)
        reading.cancel()
        result = (await asyncio.gather(reading, return_exceptions=True))[0]
        read_from.close()
        read_from.close()

    assert isinstance(result, Fetched | FetchFailed | asyncio.CancelledError)
