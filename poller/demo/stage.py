"""The demo's resources in the embedded AWS, what is put into them, and what failed of it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import anyio

from poller.aws.sessions import AwsSession
from poller.core.model import Seconds

REGION = "us-east-1"
ACCOUNT = "000000000000"
KINDS = ("orders", "customers", "jobs", "jobs.fifo")  # Kinesis, DynamoDB, SQS and SQS FIFO
FAILED_QUEUE, FAILED_BUCKET = "orders-failed", "customers-failed"
DEAD = {"jobs": "jobs-dead", "jobs.fifo": "jobs-dead.fifo"}

SHARDS = 2
KEYS = 20
GROUPS = 4
ITEMS_A_TURN = 8  # for each source
TURN: Seconds = 0.5
POISON_EVERY, FLAKY_EVERY = 67, 19
VISIBILITY: Seconds = 4
RECEIVES_MAX = 3  # of a message, before it goes to the dead-letter queue
DESCRIBE_PAUSE: Seconds = 0.1


@dataclass(slots=True)
class Stage:
    """`produced`: the ids of all items, by source; `sequences`: of each Kinesis record its item."""

    session: AwsSession
    stream_arn: str = ""
    produced: dict[str, set[str]] = field(default_factory=lambda: {kind: set() for kind in KINDS})
    sequences: dict[str, str] = field(default_factory=dict)
    _failed: set[str] = field(default_factory=set)  # of the table, as far as read
    _read_keys: set[str] = field(default_factory=set)
    _urls: dict[str, str] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _random: random.Random = field(default_factory=lambda: random.Random(7))

    async def build(self) -> None:
        """Create everything that the mappings name."""
        kinesis = await self.session.client("kinesis")
        await kinesis.create_stream(StreamName="orders", ShardCount=SHARDS)
        self.stream_arn = await self._create_table()
        await self._create_queue(FAILED_QUEUE)
        for name, dead in DEAD.items():
            await self._create_queue(dead)
            policy = {"deadLetterTargetArn": queue_arn(dead), "maxReceiveCount": RECEIVES_MAX}
            await self._create_queue(
                name, VisibilityTimeout=str(VISIBILITY), RedrivePolicy=json.dumps(policy)
            )
        s3 = await self.session.client("s3")
        await s3.create_bucket(Bucket=FAILED_BUCKET)
        await kinesis.get_waiter("stream_exists").wait(
            StreamName="orders", WaiterConfig={"Delay": DESCRIBE_PAUSE}
        )

    async def produce(self) -> None:
        """Put items into all sources, turn by turn, until cancelled between two turns."""
        while True:
            with anyio.CancelScope(shield=True):
                await self._put_records([self._item() for _ in range(ITEMS_A_TURN)])
                await self._put_rows([self._item() for _ in range(ITEMS_A_TURN)])
                for queue in DEAD:
                    await self._send(queue, [self._item() for _ in range(ITEMS_A_TURN)])
            await anyio.sleep(TURN)

    async def failed(self) -> set[str]:
        """The ids of items that failure destinations and dead-letter queues have so far."""
        documents = [json.loads(body) for body in await self._drain(FAILED_QUEUE)]
        found = {name for document in documents for name in self._described(document)}
        for queue in DEAD.values():
            found |= {json.loads(body)["id"] for body in await self._drain(queue)}
        return found | await self._failed_rows()

    # Making things.

    async def _create_table(self) -> str:
        dynamodb = await self.session.client("dynamodb")
        table = await dynamodb.create_table(
            TableName="customers",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
        )
        arn: str = table["TableDescription"]["LatestStreamArn"]
        return arn

    async def _create_queue(self, name: str, **attributes: str) -> None:
        if name.endswith(".fifo"):
            attributes |= {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
        sqs = await self.session.client("sqs")
        created = await sqs.create_queue(QueueName=name, Attributes=attributes)
        self._urls[name] = created["QueueUrl"]

    # Putting things in.

    def _item(self) -> dict[str, str]:
        number = next(self._numbers)
        mood = "fine"
        if number % POISON_EVERY == 0:
            mood = "poison"
        elif number % FLAKY_EVERY == 0:
            mood = "flaky"
        return {"id": f"item-{number:06}", "mood": mood}

    async def _put_records(self, items: list[dict[str, str]]) -> None:
        records = [
            {"Data": json.dumps(item).encode(), "PartitionKey": f"key-{self._pick(KEYS)}"}
            for item in items
        ]
        kinesis = await self.session.client("kinesis")
        reply = await kinesis.put_records(StreamName="orders", Records=records)
        for item, record in zip(items, reply["Records"], strict=True):
            self.sequences[record["SequenceNumber"]] = item["id"]
            self.produced["orders"].add(item["id"])

    async def _put_rows(self, items: list[dict[str, str]]) -> None:
        dynamodb = await self.session.client("dynamodb")
        for item in items:
            row = {name: {"S": value} for name, value in item.items()}
            await dynamodb.put_item(TableName="customers", Item=row)
            self.produced["customers"].add(item["id"])

    async def _send(self, queue: str, items: list[dict[str, str]]) -> None:
        entries: list[dict[str, Any]] = [
            {"Id": str(place), "MessageBody": json.dumps(item)} for place, item in enumerate(items)
        ]
        if queue.endswith(".fifo"):
            for entry in entries:
                entry["MessageGroupId"] = f"group-{self._pick(GROUPS)}"
        sqs = await self.session.client("sqs")
        await sqs.send_message_batch(QueueUrl=self._urls[queue], Entries=entries)
        self.produced[queue] |= {item["id"] for item in items}

    def _pick(self, bound: int) -> int:
        return self._random.randrange(bound)

    # Finding what failed.

    async def _drain(self, queue: str) -> list[str]:
        """The bodies of all messages; what is seen once is deleted."""
        sqs = await self.session.client("sqs")
        url = self._urls[queue]
        bodies: list[str] = []
        while True:
            reply = await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
            messages = reply.get("Messages", [])
            if not messages:
                return bodies
            for message in messages:
                bodies.append(message["Body"])
                await sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    def _described(self, document: dict[str, Any]) -> set[str]:
        """The items in the range of sequence numbers that a failure document names."""
        info = document["KinesisBatchInfo"]
        low, high = int(info["startSequenceNumber"]), int(info["endSequenceNumber"])
        return {name for number, name in self.sequences.items() if low <= int(number) <= high}

    async def _failed_rows(self) -> set[str]:
        """S3 documents hold the whole event; each is read once."""
        s3 = await self.session.client("s3")
        async for page in s3.get_paginator("list_objects_v2").paginate(Bucket=FAILED_BUCKET):
            for key in {entry["Key"] for entry in page.get("Contents", [])} - self._read_keys:
                read = await s3.get_object(Bucket=FAILED_BUCKET, Key=key)
                document = json.loads(await read["Body"].read())
                self._failed |= {
                    record["dynamodb"]["NewImage"]["id"]["S"]
                    for record in json.loads(document["payload"])["Records"]
                }
                self._read_keys.add(key)
        return self._failed


def queue_arn(name: str) -> str:
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"
