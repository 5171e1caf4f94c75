"""Filters alone: records of some 200 bytes of JSON, and a pattern of two fields that half match."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any

from poller.wire.arns import SourceKind
from poller.wire.dynamodb import StreamCodec
from poller.wire.filters import Filters
from poller.wire.kinesis import KinesisCodec
from poller.wire.sqs import QueueCodec
from tests.bench import replies
from tests.bench.floor import ROLE, SHARD, STREAM_ARN
from tests.bench.sampling import Sample, Spending

COUNT = 1000
TYPES = ("order", "refund")
WANTED = {"type": ["order"], "amount": [{"numeric": [">=", 0]}]}
WANTED_ITEM = {"NewImage": {"type": {"S": ["order"]}, "amount": {"N": [{"prefix": "1"}]}}}


async def kinesis(_url: str, seconds: float) -> Sample:
    records = [
        {
            "SequenceNumber": str(10**55 + index),
            "ApproximateArrivalTimestamp": replies.STARTED_AT,
            "Data": base64.b64encode(_json(_order(index))).decode(),
            "PartitionKey": "customer",
        }
        for index in range(COUNT)
    ]
    codec = KinesisCodec(source_arn=STREAM_ARN, role_arn=ROLE)
    read = codec.reply(SHARD, _json({"Records": records})).records
    filters = Filters(SourceKind.KINESIS, [json.dumps({"data": WANTED})])
    return _judged(filters, lambda record: codec.event(SHARD, [record]), read, seconds)


async def dynamodb(_url: str, seconds: float) -> Sample:
    records = [
        {
            "eventID": f"{index:032x}",
            "eventName": "INSERT",
            "dynamodb": {
                "ApproximateCreationDateTime": int(replies.STARTED_AT),
                "Keys": {"id": {"S": str(index)}},
                "NewImage": _item(_order(index)),
                "SequenceNumber": str(10**20 + index),
            },
        }
        for index in range(COUNT)
    ]
    codec = StreamCodec(replies.stream_arn("busy-1"))
    read = codec.page(_json({"Records": records})).Records
    filters = Filters(SourceKind.DYNAMODB, [json.dumps({"dynamodb": WANTED_ITEM})])
    return _judged(filters, lambda record: codec.event([record]), read, seconds)


async def sqs(_url: str, seconds: float) -> Sample:
    messages = [
        {
            "MessageId": f"{index:08x}",
            "ReceiptHandle": "A" * 120,
            "MD5OfBody": "0" * 32,
            "Body": _json(_order(index)).decode(),
            "Attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1700000000000"},
        }
        for index in range(COUNT)
    ]
    codec = QueueCodec(replies.queue_arn("orders"), windowed=False)
    read = codec.messages(_json({"Messages": messages}))
    filters = Filters(SourceKind.SQS, [json.dumps({"body": WANTED})])
    return _judged(filters, lambda message: codec.event([message]), read, seconds)


def _judged(
    filters: Filters, event: Callable[[Any], bytes], records: Sequence[Any], seconds: float
) -> Sample:
    accept = filters.for_records(event)
    units, spending = 0, Spending(seconds)
    while spending.goes_on():
        accepted = sum(map(accept, records))
        assert 0 < accepted < len(records)
        units += len(records)
    return spending.sample(units)


def _order(index: int) -> dict[str, Any]:
    customer = {"id": f"customer-{index:06d}", "city": "Seattle"}
    kind = TYPES[index % len(TYPES)]
    return {"type": kind, "amount": 100 + index % 100, "customer": customer, "note": "x" * 110}


def _item(order: dict[str, Any]) -> dict[str, Any]:
    texts = {name: {"S": value} for name, value in order.items() if isinstance(value, str)}
    return {**texts, "amount": {"N": str(order["amount"])}}


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
