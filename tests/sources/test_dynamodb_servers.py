"""The DynamoDB Streams source against real servers."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator

import pytest

from poller.aws.sessions import AwsSession, AwsSettings
from poller.core.model import Position, Record
from poller.core.steps import Fetched, FetchFailed
from poller.errors import SourceMissing
from poller.interfaces import ShardReader
from poller.sources.dynamodb_streams import DynamoDBStreamsSource
from tests.servers import aws, new_table

READS_MAX = 20
IMAGES = {
    "KEYS_ONLY": [set(), set(), set()],
    "NEW_IMAGE": [{"NewImage"}, {"NewImage"}, set()],
    "OLD_IMAGE": [set(), {"OldImage"}, {"OldImage"}],
    "NEW_AND_OLD_IMAGES": [{"NewImage"}, {"NewImage", "OldImage"}, {"OldImage"}],
}


@pytest.fixture(params=["moto", "ministack"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
async def session(url: str) -> AsyncIterator[AwsSession]:
    async with AwsSession(AwsSettings(endpoint_url=url)) as opened:
        yield opened


def source_of(session: AwsSession, arn: str) -> DynamoDBStreamsSource:
    client = session.json_client("dynamodbstreams")
    return DynamoDBStreamsSource(client, stream_arn=arn, now=time.time)


async def read(reader: ShardReader, count: int) -> list[Record]:
    """The first `count` records, in as many reads as it takes."""
    records: list[Record] = []
    for _ in range(READS_MAX):
        fetched = await reader.read(100)
        assert isinstance(fetched, Fetched), fetched
        records += fetched.records
        if len(records) >= count:
            break
    return records


@pytest.mark.parametrize("view", IMAGES)
async def test_every_kind_of_change_becomes_an_event(
    url: str, session: AwsSession, view: str
) -> None:
    table = new_table(url, view)
    dynamodb = aws("dynamodb", url)
    began_at = time.time() // 1
    item = {"id": {"S": "a"}, "n": {"N": "1"}, "b": {"B": b"foobar"}, "s": {"SS": ["x", "y"]}}
    dynamodb.put_item(TableName=table.name, Item=item)
    dynamodb.put_item(TableName=table.name, Item={**item, "n": {"N": "2"}})
    dynamodb.delete_item(TableName=table.name, Key={"id": {"S": "a"}})

    source = source_of(session, table.stream_arn)
    [shard] = await source.shards()
    records = await read(source.reader(shard.id, None), 3)
    event = json.loads(source.event(shard.id, records))["Records"]

    assert [r["eventName"] for r in event] == ["INSERT", "MODIFY", "REMOVE"]
    assert {r["eventVersion"] for r in event} == {"1.1"}
    assert {r["eventSourceARN"] for r in event} == {table.stream_arn}
    assert [r["dynamodb"]["SequenceNumber"] for r in event] == [r.sequence for r in records]
    assert [{name for name in r["dynamodb"] if "Image" in name} for r in event] == IMAGES[view]
    assert all(r["dynamodb"]["Keys"] == {"id": {"S": "a"}} for r in event)
    if view == "NEW_IMAGE":
        assert event[0]["dynamodb"]["NewImage"] == {**item, "b": {"B": "Zm9vYmFy"}}
    for record in records:
        assert record.arrived_at == record.arrived_at // 1
        assert began_at <= record.arrived_at <= time.time()


async def test_a_pin_reads_only_what_is_written_later(url: str, session: AwsSession) -> None:
    table = new_table(url)
    dynamodb = aws("dynamodb", url)
    dynamodb.put_item(TableName=table.name, Item={"id": {"S": "before"}})
    source = source_of(session, table.stream_arn)

    [(shard, pin)] = (await source.pin()).items()
    dynamodb.put_item(TableName=table.name, Item={"id": {"S": "after"}})

    [record] = await read(source.reader(shard, pin), 1)
    assert record.key == '{"id":{"S":"after"}}'
    restarted = source_of(session, table.stream_arn)
    assert (await read(restarted.reader(shard, pin), 1))[-1].key == '{"id":{"S":"after"}}'


async def test_reading_goes_on_after_a_position(url: str, session: AwsSession) -> None:
    table = new_table(url)
    for number in range(5):
        item = {"id": {"S": str(number)}}
        aws("dynamodb", url).put_item(TableName=table.name, Item=item)
    source = source_of(session, table.stream_arn)
    [shard] = await source.shards()
    first = await read(source.reader(shard.id, None), 5)

    rest = await read(source.reader(shard.id, Position(first[2].sequence)), 2)

    assert [record.key for record in rest] == [record.key for record in first[3:]]


async def test_a_missing_stream_is_said_in_aws_words(ministack_url: str) -> None:
    arn = "arn:aws:dynamodb:us-east-1:000000000000:table/none/stream/2024-11-25T15:53:20.000"
    async with AwsSession(AwsSettings(endpoint_url=ministack_url)) as session:
        source = source_of(session, arn)

        with pytest.raises(SourceMissing, match=f"^Stream not found: {arn}$"):
            await source.pin()
        assert isinstance(await source.reader("shardId-0", None).read(1), FetchFailed)
