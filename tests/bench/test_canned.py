"""The canned server answers as the services do, as far as its clients can tell."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator

import pytest

from tests.bench import replies
from tests.bench.canned import CANNED
from tests.servers import aws, running


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running(CANNED) as server:
        yield server.url


def test_a_kinesis_shard_never_ends_and_its_sequence_numbers_rise(url: str) -> None:
    kinesis, seen = aws("kinesis", url), []
    shards = kinesis.list_shards(StreamName="busy-3")["Shards"]
    iterator = kinesis.get_shard_iterator(
        StreamName="busy-3", ShardId=shards[2]["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]

    for limit in (3, 10_000, 2):
        reply = kinesis.get_records(ShardIterator=iterator, Limit=limit)
        iterator = reply["NextShardIterator"]
        seen += [int(record["SequenceNumber"]) for record in reply["Records"]]
        assert reply["MillisBehindLatest"] > 0

    assert len(shards) == 3
    assert len(seen) == 10_005
    assert seen == sorted(set(seen))
    assert len(reply["Records"][0]["Data"]) == replies.DATA_BYTES


def test_a_kinesis_shard_resumes_behind_a_sequence_number(url: str) -> None:
    kinesis = aws("kinesis", url)

    def read(**start: str) -> int:
        iterator = kinesis.get_shard_iterator(
            StreamName="busy-1", ShardId="shardId-000000000000", **start
        )["ShardIterator"]
        records = kinesis.get_records(ShardIterator=iterator, Limit=5)["Records"]
        return int(records[-1]["SequenceNumber"])

    first = read(ShardIteratorType="TRIM_HORIZON")
    second = read(ShardIteratorType="AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=str(first))

    assert second > first


def test_an_idle_shard_is_caught_up(url: str) -> None:
    kinesis = aws("kinesis", url)
    iterator = kinesis.get_shard_iterator(
        StreamName="idle-1", ShardId="shardId-000000000000", ShardIteratorType="LATEST"
    )["ShardIterator"]

    reply = kinesis.get_records(ShardIterator=iterator)

    assert (reply["Records"], reply["MillisBehindLatest"]) == ([], 0)
    assert kinesis.get_records(ShardIterator=reply["NextShardIterator"])["Records"] == []


def test_a_table_s_stream_never_ends(url: str) -> None:
    streams, arn, seen = aws("dynamodbstreams", url), replies.stream_arn("busy-1"), []
    described = streams.describe_stream(StreamArn=arn)["StreamDescription"]
    iterator = streams.get_shard_iterator(
        StreamArn=arn, ShardId=described["Shards"][0]["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]

    for _ in range(2):
        reply = streams.get_records(ShardIterator=iterator)
        iterator = reply["NextShardIterator"]
        seen += [int(record["dynamodb"]["SequenceNumber"]) for record in reply["Records"]]

    assert len(seen) == 2000
    assert seen == sorted(set(seen))


def test_a_queue_is_always_full_and_takes_every_deletion(url: str) -> None:
    sqs = aws("sqs", url)
    queue = sqs.get_queue_url(QueueName="orders")["QueueUrl"]
    messages = [
        message
        for _ in range(2)
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    ]
    entries = [
        {"Id": str(index), "ReceiptHandle": message["ReceiptHandle"]}
        for index, message in enumerate(messages[:10])
    ]
    deleted = sqs.delete_message_batch(QueueUrl=queue, Entries=entries)

    assert len({message["MessageId"] for message in messages}) == 20
    assert len(deleted["Successful"]) == 10


def test_a_function_answers_nothing(url: str) -> None:
    with urllib.request.urlopen(url, data=b"x" * 1_000_000) as reply:
        assert (reply.status, reply.read()) == (200, b"")
