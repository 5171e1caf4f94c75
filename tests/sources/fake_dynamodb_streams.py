"""A DynamoDB Streams server for what no emulator shows: lineage, rolling, trimming, expiry.

    async with FakeStream() as stream:
        stream.put("shard-1", "a")
        child = stream.roll("shard-1")

Answers DescribeStream, GetShardIterator and GetRecords of one stream, over HTTP on loopback.
`faults` holds error codes to answer with, by operation, each once.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from poller.core.steps import Fetched, FetchFailed
from poller.interfaces import ShardReader

ARN = "arn:aws:dynamodb:us-east-1:123456789012:table/orders/stream/2024-11-25T15:53:20.000"


@dataclass(slots=True)
class FakeShard:
    id: str
    parent: str | None
    records: list[dict[str, Any]] = field(default_factory=list)
    closed: bool = False
    trimmed_up_to: int = 0


class Refusal(Exception):
    """An error reply; the argument is its code."""


class FakeStream:
    def __init__(self, *, describe_max: int = 100) -> None:
        self.describe_max = describe_max
        self.shards: dict[str, FakeShard] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.faults: dict[str, deque[str]] = defaultdict(deque)
        self.gone = False
        self._sequence = 10**24
        self._generation = 0
        self.open("shard-1")

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/", self._serve)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def open(self, shard: str, parent: str | None = None) -> str:
        self.shards[shard] = FakeShard(shard, parent)
        return shard

    def put(self, shard: str, item: str, at: float = 1_732_550_000.0) -> str:
        """Add an INSERT of the item with this id and return its sequence number."""
        self._sequence += 1
        change = {
            "ApproximateCreationDateTime": at,
            "Keys": {"id": {"S": item}},
            "SequenceNumber": str(self._sequence),
            "SizeBytes": 3,
            "StreamViewType": "KEYS_ONLY",
        }
        record = {"eventID": f"{self._sequence:032x}", "eventName": "INSERT", "dynamodb": change}
        self.shards[shard].records.append(record)
        return str(self._sequence)

    def roll(self, shard: str, child: str | None = None) -> str:
        """Close `shard`, as DynamoDB does every four hours, and open its child."""
        self.shards[shard].closed = True
        return self.open(child or f"{shard}-next", shard)

    def trim(self, shard: str, count: int) -> None:
        """Forget the shard's oldest records."""
        found = self.shards[shard]
        for record in found.records[:count]:
            found.trimmed_up_to = int(record["dynamodb"]["SequenceNumber"])
        del found.records[:count]

    def expire_iterators(self) -> None:
        """As if fifteen minutes had passed."""
        self._generation += 1

    def count(self, operation: str) -> int:
        return sum(name == operation for name, _ in self.calls)

    async def _serve(self, request: web.Request) -> web.Response:
        operation = request.headers["X-Amz-Target"].partition(".")[2]
        body = json.loads(await request.read())
        self.calls.append((operation, body))
        try:
            if self.faults[operation]:
                raise Refusal(self.faults[operation].popleft())
            reply = getattr(self, f"_{operation}")(**body)
        except Refusal as refusal:
            error = {"__type": f"com.amazonaws.dynamodb.v20120810#{refusal}", "message": "as told"}
            return web.json_response(error, status=400)
        return web.json_response(reply)

    def _DescribeStream(
        self, StreamArn: str, Limit: int, ExclusiveStartShardId: str | None = None
    ) -> Any:
        if self.gone or StreamArn != ARN:
            raise Refusal("ResourceNotFoundException")
        names = list(self.shards)
        start = 0 if ExclusiveStartShardId is None else names.index(ExclusiveStartShardId) + 1
        page = names[start : start + min(Limit, self.describe_max)]
        description: dict[str, Any] = {
            "StreamArn": ARN,
            "StreamStatus": "ENABLED",
            "Shards": [self._listed(self.shards[name]) for name in page],
        }
        if start + len(page) < len(names):
            description["LastEvaluatedShardId"] = page[-1]
        return {"StreamDescription": description}

    def _listed(self, shard: FakeShard) -> Any:
        bounds = {"StartingSequenceNumber": "1"}
        if shard.closed:
            bounds["EndingSequenceNumber"] = str(self._sequence)
        parent = {} if shard.parent is None else {"ParentShardId": shard.parent}
        return {"ShardId": shard.id, "SequenceNumberRange": bounds, **parent}

    def _GetShardIterator(
        self,
        StreamArn: str,
        ShardId: str,
        ShardIteratorType: str,
        SequenceNumber: str | None = None,
    ) -> Any:
        if self.gone or ShardId not in self.shards:
            raise Refusal("ResourceNotFoundException")
        shard = self.shards[ShardId]
        match ShardIteratorType:
            case "TRIM_HORIZON":
                after = shard.trimmed_up_to
            case "LATEST":
                after = self._sequence
            case _:
                after = int(SequenceNumber or 0)
                if after < shard.trimmed_up_to:
                    raise Refusal("TrimmedDataAccessException")
        return {"ShardIterator": self._iterator(ShardId, after)}

    def _GetRecords(self, ShardIterator: str, Limit: int) -> Any:
        generation, name, after = ShardIterator.split("|")
        if int(generation) != self._generation:
            raise Refusal("ExpiredIteratorException")
        if self.gone or name not in self.shards:
            raise Refusal("ResourceNotFoundException")
        shard = self.shards[name]
        if int(after) < shard.trimmed_up_to:
            raise Refusal("TrimmedDataAccessException")
        ahead = [r for r in shard.records if int(r["dynamodb"]["SequenceNumber"]) > int(after)]
        page = ahead[:Limit]
        if shard.closed and len(page) == len(ahead):
            return {"Records": page}
        last = page[-1]["dynamodb"]["SequenceNumber"] if page else after
        return {"Records": page, "NextShardIterator": self._iterator(name, int(last))}

    def _iterator(self, shard: str, after: int) -> str:
        return f"{self._generation}|{shard}|{after}"


class Clock:
    """The engine's clock, standing still."""

    def __init__(self) -> None:
        self.time = 1_732_550_100.0

    def __call__(self) -> float:
        return self.time


async def items(reader: ShardReader, limit: int = 1000) -> list[str]:
    """What one read brings, as the items' ids."""
    fetched = await reader.read(limit)
    assert isinstance(fetched, Fetched), fetched
    assert fetched.size >= sum(record.size for record in fetched.records)
    return [json.loads(record.key or "")["id"]["S"] for record in fetched.records]


async def failure(reader: ShardReader) -> FetchFailed:
    fetched = await reader.read(10)
    assert isinstance(fetched, FetchFailed), fetched
    return fetched
