"""A Kinesis stream that says exactly what a test wants."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from poller.sources.kinesis import KinesisSource, TrimHorizon
from tests.aws.canned import Answer, Call, Canned, canned, error
from tests.servers import Stream
from tests.sources.kinesis_streams import source_of

NOW = 1_732_550_000.0
SHARD = "shardId-000000000000"
STREAM = Stream("orders", "arn:aws:kinesis:us-east-1:123456789012:stream/orders")
EXPIRED = error("ExpiredIteratorException")
NOT_FOUND = error("ResourceNotFoundException", "no such thing")
THROTTLED = error("ProvisionedThroughputExceededException", "Rate exceeded")


def record(number: int, arrived_at: float = NOW, data: str = "") -> dict[str, Any]:
    return {
        "SequenceNumber": str(number),
        "ApproximateArrivalTimestamp": arrived_at,
        "Data": data,
        "PartitionKey": "key",
    }


def page(*numbers: int, behind: int = 0, then: str | None = "next") -> dict[str, Any]:
    found = [record(number) for number in numbers]
    return {"Records": found, "NextShardIterator": then, "MillisBehindLatest": behind}


def shard(id: str = SHARD, ending: str | None = None, **others: str) -> dict[str, Any]:
    return {"ShardId": id, "SequenceNumberRange": {"EndingSequenceNumber": ending}, **others}


@dataclass
class Script:
    """Answers GetRecords in turn, and the other calls as the stream is."""

    records: list[Answer] = field(default_factory=list)
    shards: Answer = field(default_factory=lambda: {"Shards": [shard()]})
    iterators: list[Answer] = field(default_factory=list)

    def __call__(self, call: Call) -> Answer:
        match call.operation:
            case "ListShards":
                return self.shards
            case "GetShardIterator" if self.iterators:
                return self.iterators.pop(0)
            case "GetShardIterator":
                return {"ShardIterator": call.json["ShardIteratorType"]}
            case _:
                return self.records.pop(0)


@dataclass
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def source_on(
    script: Callable[[Call], Answer],
    start: Any = TrimHorizon(),  # noqa: B008 - it is frozen
    now: Callable[[], float] = Clock(),  # noqa: B008 - nothing moves it
) -> AsyncIterator[tuple[KinesisSource, Canned]]:
    async with canned(script) as server, source_of(server.url, STREAM, start, now=now) as source:
        yield source, server


def sought(server: Canned) -> list[dict[str, Any]]:
    """What GetShardIterator was asked for, without the stream and the shard."""
    asked = [call.json for call in server.calls if call.operation == "GetShardIterator"]
    assert all(request.pop("StreamName") == STREAM.name for request in asked)
    assert all(request.pop("ShardId") == SHARD for request in asked)
    return asked
