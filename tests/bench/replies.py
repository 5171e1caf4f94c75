"""What the canned server answers: replies built once, with a rising number spliced in each time.

Names decide: a stream or table called `busy-4` has 4 shards that never run dry, `idle-4` has 4 that
hold nothing.  Every queue is full for ever.  An iterator is `NAME|SHARD|NUMBER OF THE LAST REPLY`,
so the server keeps no state besides its caches, and a client may begin anywhere.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import itertools
import random
import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson

ACCOUNT = "000000000000"
REGION = "us-east-1"
DATA_BYTES = 200  # of a Kinesis record, of an item's text, of a message's body
KEYS = 1000  # different partition keys and item keys
MILLIS_BEHIND = 60_000
SEQUENCE_HEAD = "49604328271490256608559692538361571095"  # 38 digits; 18 more make AWS's 56
KINESIS_SHARD = "shardId-{:012d}"
DYNAMODB_SHARD = "shardId-{0:020d}-{0:08x}"
KINESIS_RECORDS_MAX = 10_000
DYNAMODB_RECORDS_MAX = 1000
MESSAGES_MAX = 10
STARTED_AT = round(time.time(), 3)
MARK = "N" * 12  # where a reply's number goes

Body = Mapping[str, Any]

_random = random.Random(1)
_numbers = itertools.count()


class Template:
    """A reply in which MARK stands wherever its number belongs; filling it in is one join."""

    def __init__(self, reply: Any) -> None:
        self._parts = orjson.dumps(reply).split(MARK.encode())

    def filled(self, number: int) -> bytes:
        return (b"%012d" % number).join(self._parts)


def arn(stream: str) -> str:
    return f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{stream}"


def stream_arn(table: str) -> str:
    return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}/stream/2026-01-01T00:00:00.000"


def queue_arn(queue: str) -> str:
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}"


# Streams of both kinds.


def _shards(name: str, shard: str) -> list[str]:
    """The shards of a stream or a table; `shard` is the pattern of their ids."""
    return [shard.format(index) for index in range(int(name.rpartition("-")[2]))]


def _sequence(index: int) -> str:
    return f"{SEQUENCE_HEAD}{MARK}{index:06d}"


def _iterator(stream: str, request: Body, sequence: str | None) -> bytes:
    """After the reply that held `sequence`; without one, before the first reply."""
    last = int(sequence[len(SEQUENCE_HEAD) : -6]) if sequence else -1
    return orjson.dumps({"ShardIterator": f"{stream}|{request['ShardId']}|{last}"})


def _next(request: Body, reply: Callable[[str, str, int], Template], most: int) -> bytes:
    stream, shard, last = request["ShardIterator"].split("|")
    count = request.get("Limit", most) if stream.startswith("busy") else 0
    return reply(stream, shard, count).filled(int(last) + 1)


# Kinesis.


def _stream(request: Body) -> str:
    return str(request.get("StreamName") or request["StreamARN"].rpartition("/")[2])


def describe_stream_summary(request: Body) -> bytes:
    name = _stream(request)
    description = {
        "StreamName": name,
        "StreamARN": arn(name),
        "StreamStatus": "ACTIVE",
        "RetentionPeriodHours": 24,
        "StreamCreationTimestamp": STARTED_AT,
        "EnhancedMonitoring": [{"ShardLevelMetrics": []}],
        "OpenShardCount": len(_shards(name, KINESIS_SHARD)),
    }
    return orjson.dumps({"StreamDescriptionSummary": description})


def list_shards(request: Body) -> bytes:
    shards = [
        {
            "ShardId": shard,
            "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": str(2**128 - 1)},
            "SequenceNumberRange": {"StartingSequenceNumber": SEQUENCE_HEAD + "0" * 18},
        }
        for shard in _shards(_stream(request), KINESIS_SHARD)
    ]
    return orjson.dumps({"Shards": shards})


def kinesis_iterator(request: Body) -> bytes:
    return _iterator(_stream(request), request, request.get("StartingSequenceNumber"))


def kinesis_records(request: Body) -> bytes:
    return _next(request, _kinesis_reply, KINESIS_RECORDS_MAX)


@functools.lru_cache(32)
def _kinesis_reply(stream: str, shard: str, count: int) -> Template:
    return Template(
        {
            "Records": [
                {
                    "SequenceNumber": _sequence(index),
                    "ApproximateArrivalTimestamp": STARTED_AT,
                    "Data": base64.b64encode(_random.randbytes(DATA_BYTES)).decode(),
                    "PartitionKey": f"customer-{index % KEYS:06d}",
                }
                for index in range(count)
            ],
            "NextShardIterator": f"{stream}|{shard}|{MARK}",
            "MillisBehindLatest": MILLIS_BEHIND if count else 0,
        }
    )


# DynamoDB Streams.


def _table(request: Body) -> str:
    return str(request["StreamArn"].split("/")[1])


def describe_stream(request: Body) -> bytes:
    name = _table(request)
    shards = [
        {
            "ShardId": shard,
            "SequenceNumberRange": {"StartingSequenceNumber": SEQUENCE_HEAD + "0" * 18},
        }
        for shard in _shards(name, DYNAMODB_SHARD)
    ]
    description = {
        "StreamArn": stream_arn(name),
        "StreamLabel": "2026-01-01T00:00:00.000",
        "StreamStatus": "ENABLED",
        "StreamViewType": "NEW_AND_OLD_IMAGES",
        "TableName": name,
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "CreationRequestDateTime": STARTED_AT,
        "Shards": shards if not request.get("ExclusiveStartShardId") else [],
    }
    return orjson.dumps({"StreamDescription": description})


def dynamodb_iterator(request: Body) -> bytes:
    return _iterator(_table(request), request, request.get("SequenceNumber"))


def dynamodb_records(request: Body) -> bytes:
    return _next(request, _dynamodb_reply, DYNAMODB_RECORDS_MAX)


@functools.lru_cache(32)
def _dynamodb_reply(stream: str, shard: str, count: int) -> Template:
    return Template(
        {
            "Records": [_change(index) for index in range(count)],
            "NextShardIterator": f"{stream}|{shard}|{MARK}",
        }
    )


def _change(index: int) -> dict[str, Any]:
    key = {"id": {"S": f"customer-{index % KEYS:06d}"}}
    return {
        "eventID": f"{MARK}{index:020x}",
        "eventName": "MODIFY",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": REGION,
        "dynamodb": {
            "ApproximateCreationDateTime": int(STARTED_AT),
            "Keys": key,
            "NewImage": {**key, "amount": {"N": str(index)}, "text": {"S": _text()}},
            "SequenceNumber": _sequence(index),
            "SizeBytes": 250,
            "StreamViewType": "NEW_IMAGE",
        },
    }


# SQS.


def receive_message(request: Body) -> bytes:
    return _receive_reply(request.get("MaxNumberOfMessages", 1)).filled(next(_numbers))


@functools.lru_cache(MESSAGES_MAX)
def _receive_reply(count: int) -> Template:
    return Template({"Messages": [_message(index) for index in range(count)]})


def _message(index: int) -> dict[str, Any]:
    arrived = str(int(STARTED_AT * 1000))
    body = _text()
    return {
        "MessageId": f"{index:08x}-0000-4000-8000-{MARK}",
        "ReceiptHandle": f"{'A' * 100}{MARK}{index:02d}",
        "MD5OfBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
        "Body": body,
        "Attributes": {
            "SenderId": "AIDAIENQZJOLO23YVJ4VO",
            "SentTimestamp": arrived,
            "ApproximateReceiveCount": "1",
            "ApproximateFirstReceiveTimestamp": arrived,
        },
    }


def _text() -> str:
    """DATA_BYTES characters."""
    return base64.b64encode(_random.randbytes(DATA_BYTES * 3 // 4)).decode()


def delete_message_batch(request: Body) -> bytes:
    done = [{"Id": entry["Id"]} for entry in request["Entries"]]
    return orjson.dumps({"Successful": done, "Failed": []})


def get_queue_url(origin: str, request: Body) -> bytes:
    return orjson.dumps({"QueueUrl": f"{origin}/{ACCOUNT}/{request['QueueName']}"})


def get_queue_attributes(request: Body) -> bytes:
    attributes = {
        "QueueArn": queue_arn(request["QueueUrl"].rpartition("/")[2]),
        "VisibilityTimeout": "30",
        "ApproximateNumberOfMessages": "1000000",
    }
    return orjson.dumps({"Attributes": attributes})


def answers(origin: str) -> dict[bytes, Callable[[Body], bytes]]:
    """What answers each X-Amz-Target of a server at `origin`."""
    return {
        b"Kinesis_20131202.DescribeStreamSummary": describe_stream_summary,
        b"Kinesis_20131202.ListShards": list_shards,
        b"Kinesis_20131202.GetShardIterator": kinesis_iterator,
        b"Kinesis_20131202.GetRecords": kinesis_records,
        b"DynamoDBStreams_20120810.DescribeStream": describe_stream,
        b"DynamoDBStreams_20120810.GetShardIterator": dynamodb_iterator,
        b"DynamoDBStreams_20120810.GetRecords": dynamodb_records,
        b"AmazonSQS.GetQueueUrl": functools.partial(get_queue_url, origin),
        b"AmazonSQS.GetQueueAttributes": get_queue_attributes,
        b"AmazonSQS.ReceiveMessage": receive_message,
        b"AmazonSQS.DeleteMessageBatch": delete_message_batch,
    }
