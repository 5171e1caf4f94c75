"""Parts of poller on their own, each fed by the canned server."""

from __future__ import annotations

import time

from poller.aws.sessions import AwsSession, AwsSettings
from poller.core.steps import Fetched, Received
from poller.interfaces import ShardSource
from poller.sources.dynamodb_streams import DynamoDBStreamsSource
from poller.sources.kinesis import KinesisSource, TrimHorizon
from poller.sources.paces import Paces
from poller.sources.sqs import SqsSource
from poller.wire.kinesis import KinesisCodec
from tests.bench import replies
from tests.bench.floor import BATCH_RECORDS, FETCH_RECORDS, ROLE, SHARD, START, STREAM_ARN
from tests.bench.sampling import Sample, Spending

DYNAMODB_BATCH_RECORDS = 1000
SMALL_CALL = b'{"ShardIterator":"%b","Limit":1}' % START.encode()
UNPACED = Paces(spacing=0.0)  # AWS allows five calls a second of a shard; here time is no matter


def session(url: str) -> AwsSession:
    return AwsSession(AwsSettings(region=replies.REGION, endpoint_url=url))


def kinesis(aws: AwsSession, stream_arn: str) -> KinesisSource:
    return KinesisSource(
        aws.json_client("kinesis"),
        stream_arn=stream_arn,
        role_arn=ROLE,
        start=TrimHorizon(),
        now=time.time,
        paces=UNPACED,
    )


async def kinesis_codec(_url: str, seconds: float) -> Sample:
    """A reply decoded, its records encoded as events; no fetch."""
    body = replies.kinesis_records({"ShardIterator": START, "Limit": FETCH_RECORDS})
    codec = KinesisCodec(source_arn=STREAM_ARN, role_arn=ROLE)
    units, spending = 0, Spending(seconds)
    while spending.goes_on():
        records = codec.reply(SHARD, body).records
        for start in range(0, len(records), BATCH_RECORDS):
            codec.event(SHARD, records[start : start + BATCH_RECORDS])
        units += len(records)
    return spending.sample(units)


async def kinesis_source(url: str, seconds: float) -> Sample:
    """The source as the engine uses it: reads, and an event for every batch."""
    async with session(url) as aws:
        return await _read(kinesis(aws, STREAM_ARN), seconds, FETCH_RECORDS, BATCH_RECORDS)


async def dynamodb_source(url: str, seconds: float) -> Sample:
    async with session(url) as aws:
        source = DynamoDBStreamsSource(
            aws.json_client("dynamodbstreams"),
            stream_arn=replies.stream_arn("busy-1"),
            now=time.time,
        )
        most = replies.DYNAMODB_RECORDS_MAX
        return await _read(source, seconds, most, DYNAMODB_BATCH_RECORDS)


async def _read(source: ShardSource, seconds: float, limit: int, batch: int) -> Sample:
    shard = (await source.shards())[0].id
    reader = source.reader(shard, None)
    units, spending = 0, Spending(seconds)
    while spending.goes_on():
        fetched = await reader.read(limit)
        assert isinstance(fetched, Fetched), fetched
        for start in range(0, len(fetched.records), batch):
            source.event(shard, fetched.records[start : start + batch])
        units += len(fetched.records)
    return spending.sample(units)


async def idle_shard(url: str, seconds: float) -> Sample:
    """Polls of a shard that has nothing."""
    async with session(url) as aws:
        reader = kinesis(aws, replies.arn("idle-1")).reader(SHARD, None)
        polls, spending = 0, Spending(seconds)
        while spending.goes_on():
            fetched = await reader.read(FETCH_RECORDS)
            assert isinstance(fetched, Fetched), fetched
            polls += 1
        return spending.sample(polls)


async def sqs_source(url: str, seconds: float) -> Sample:
    """Receive 10, make their event, delete them."""
    async with session(url) as aws:
        source = SqsSource(
            aws.json_client("sqs", long_poll=True),
            aws.json_client("sqs"),
            queue_arn=replies.queue_arn("orders"),
            batch_window=0.0,
            function_timeout=3.0,
            now=time.time,
        )
        await source.check()
        units, spending = 0, Spending(seconds)
        while spending.goes_on():
            received = await source.receive(replies.MESSAGES_MAX)
            assert isinstance(received, Received), received
            source.event(received.messages)
            deleted = await source.delete(received.messages)
            units += deleted.count - deleted.failed
        return spending.sample(units)


async def lean_call(url: str, seconds: float) -> Sample:
    """A signed GetRecords call for one record, not decoded."""
    async with session(url) as aws:
        client = aws.json_client("kinesis")
        calls, spending = 0, Spending(seconds)
        while spending.goes_on():
            await client.call("GetRecords", SMALL_CALL)
            calls += 1
        return spending.sample(calls)


async def aiobotocore_call(url: str, seconds: float) -> Sample:
    """The same call by aiobotocore."""
    async with session(url) as aws:
        client = await aws.client("kinesis")
        calls, spending = 0, Spending(seconds)
        while spending.goes_on():
            await client.get_records(ShardIterator=START, Limit=1)
            calls += 1
        return spending.sample(calls)
