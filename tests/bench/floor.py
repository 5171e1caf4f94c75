"""The floor: the least that any Python could do between a Kinesis stream and a function.

A signed fetch over a kept connection, the reply decoded, its records encoded again as Lambda events
of 100, and nothing else: no order, no retries, no checkpoints, and nobody gets the events.  Beside
it the loop that most people would write with aiobotocore.  Each may spend `seconds` of processor
time.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import hmac
import http.client
import json
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec
import orjson
from aiobotocore.session import get_session

from tests.bench.replies import REGION, arn
from tests.bench.sampling import Sample, Spending

FETCH_RECORDS = 10_000
BATCH_RECORDS = 100
STREAM = "busy-1"
SHARD = "shardId-000000000000"
START = f"{STREAM}|{SHARD}|-1"
ROLE = "arn:aws:iam::000000000000:role/lambda-role"
STREAM_ARN = arn(STREAM)

T = TypeVar("T")


async def floor_of_dicts(url: str, seconds: float) -> Sample:
    """With orjson and dicts, over a blocking connection: no event loop is cheaper than none."""
    return _loop(url, seconds, _dicts)


async def floor_of_structs(url: str, seconds: float) -> Sample:
    """With msgspec and typed structs, over a blocking connection."""
    return _loop(url, seconds, _structs)


async def floor_over_aiohttp(url: str, seconds: float) -> Sample:
    """With orjson and dicts, over aiohttp."""
    async with aiohttp.ClientSession() as session:
        iterator, records, spending = START, 0, Spending(seconds)
        while spending.goes_on():
            body = _request(iterator)
            async with session.post(url, data=body, headers=signed(_host(url), body)) as reply:
                iterator, count = _dicts(await reply.read())
            records += count
        return spending.sample(records)


async def aiobotocore_loop(url: str, seconds: float) -> Sample:
    """The loop that most people would write: get_records, base64, json.dumps."""
    async with get_session().create_client(
        "kinesis",
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    ) as kinesis:
        iterator, records, spending = START, 0, Spending(seconds)
        while spending.goes_on():
            reply = await kinesis.get_records(ShardIterator=iterator, Limit=FETCH_RECORDS)
            iterator = reply["NextShardIterator"]
            for record in reply["Records"]:
                record["Data"] = base64.b64encode(record["Data"]).decode()
                arrived_at = record["ApproximateArrivalTimestamp"]
                record["ApproximateArrivalTimestamp"] = arrived_at.timestamp()
            for batch in _batches(reply["Records"]):
                json.dumps({"Records": [_event_record(record) for record in batch]})
            records += len(reply["Records"])
        return spending.sample(records)


Work = Callable[[bytes], tuple[str, int]]  # a reply's bytes -> the next iterator, records done


def _loop(url: str, seconds: float, work: Work) -> Sample:
    with contextlib.closing(http.client.HTTPConnection(_host(url))) as connection:
        iterator, records, spending = START, 0, Spending(seconds)
        while spending.goes_on():
            body = _request(iterator)
            connection.request("POST", "/", body, signed(_host(url), body))
            iterator, count = work(connection.getresponse().read())
            records += count
        return spending.sample(records)


def _dicts(body: bytes) -> tuple[str, int]:
    reply = orjson.loads(body)
    for batch in _batches(reply["Records"]):
        orjson.dumps({"Records": [_event_record(record) for record in batch]})
    return reply["NextShardIterator"], len(reply["Records"])


def _event_record(record: dict[str, Any]) -> dict[str, Any]:
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": record["PartitionKey"],
            "sequenceNumber": record["SequenceNumber"],
            "data": record["Data"],
            "approximateArrivalTimestamp": record["ApproximateArrivalTimestamp"],
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{SHARD}:{record['SequenceNumber']}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": ROLE,
        "awsRegion": REGION,
        "eventSourceARN": STREAM_ARN,
    }


class ReplyRecord(msgspec.Struct, gc=False):
    SequenceNumber: str
    ApproximateArrivalTimestamp: float
    Data: str
    PartitionKey: str


class Reply(msgspec.Struct):
    Records: list[ReplyRecord]
    NextShardIterator: str


class Inner(msgspec.Struct, gc=False):
    partitionKey: str
    sequenceNumber: str
    data: str
    approximateArrivalTimestamp: float
    kinesisSchemaVersion: str = "1.0"


class EventRecord(msgspec.Struct, gc=False):
    kinesis: Inner
    eventID: str
    eventSource: str = "aws:kinesis"
    eventVersion: str = "1.0"
    eventName: str = "aws:kinesis:record"
    invokeIdentityArn: str = ROLE
    awsRegion: str = REGION
    eventSourceARN: str = STREAM_ARN


class Event(msgspec.Struct):
    Records: list[EventRecord]


_decode = msgspec.json.Decoder(Reply).decode
_encode = msgspec.json.Encoder().encode


def _structs(body: bytes) -> tuple[str, int]:
    reply = _decode(body)
    for batch in _batches(reply.Records):
        _encode(
            Event(
                [
                    EventRecord(
                        Inner(
                            record.PartitionKey,
                            record.SequenceNumber,
                            record.Data,
                            record.ApproximateArrivalTimestamp,
                        ),
                        f"{SHARD}:{record.SequenceNumber}",
                    )
                    for record in batch
                ]
            )
        )
    return reply.NextShardIterator, len(reply.Records)


def _batches(records: list[T]) -> Iterator[list[T]]:
    for start in range(0, len(records), BATCH_RECORDS):
        yield records[start : start + BATCH_RECORDS]


def _request(iterator: str) -> bytes:
    return b'{"ShardIterator":"%b","Limit":%d}' % (iterator.encode(), FETCH_RECORDS)


def _host(url: str) -> str:
    return urlsplit(url).netloc


def signed(host: str, body: bytes) -> dict[str, str]:
    """The headers of a signed call; the signing key of the day is kept."""
    at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    headers = {
        "content-type": "application/x-amz-json-1.1",
        "host": host,
        "x-amz-date": at,
        "x-amz-target": "Kinesis_20131202.GetRecords",
    }
    names = ";".join(headers)
    lines = "\n".join(f"{name}:{value}" for name, value in headers.items())
    canonical = f"POST\n/\n\n{lines}\n\n{names}\n{hashlib.sha256(body).hexdigest()}"
    scope = f"{at[:8]}/{REGION}/kinesis/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{digest}"
    signature = hmac.digest(signing_key(at[:8]), text.encode(), "sha256").hex()
    credential = f"AWS4-HMAC-SHA256 Credential=test/{scope}"
    headers["authorization"] = f"{credential}, SignedHeaders={names}, Signature={signature}"
    return headers


@functools.lru_cache(1)
def signing_key(day: str) -> bytes:
    key = b"AWS4test"
    for part in (day, REGION, "kinesis", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
