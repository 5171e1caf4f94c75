"""A consumer that pushes exactly what a test wants, in virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from poller.aws.client import AwsError
from poller.aws.event_streams import Event
from poller.core.shards import Shard
from poller.errors import SourceMissing
from poller.sources.kinesis_fanout_reader import FanoutReader
from poller.sources.kinesis_places import OLDEST, Seek
from poller.sources.paces import Pace
from poller.wire.kinesis import EVERY_HASH_KEY, KinesisCodec
from tests.sources.kinesis_scripts import NOW, SHARD, record

CONSUMER = "arn:aws:kinesis:us-east-1:123456789012:stream/orders/consumer/fast:1700000000"
ROLE = "arn:aws:iam::123456789012:role/orders"


def now() -> float:
    return NOW + asyncio.get_running_loop().time()


def refusal(code: str, message: str = "injected", status: int | None = 400) -> AwsError:
    return AwsError("kinesis SubscribeToShard", code, message, status=status)


def pushed(
    *numbers: int,
    behind: int = 0,
    continuation: str | None = "99",
    children: Sequence[str] = (),
    fresh: bool = True,
    **others: Any,
) -> Event:
    """An event with records of these numbers."""
    body = {
        "Records": [record(number) for number in numbers],
        "ContinuationSequenceNumber": continuation,
        "MillisBehindLatest": behind,
        "ChildShards": [{"ShardId": child} for child in children] or None,
        **others,
    }
    return Event("SubscribeToShardEvent", json.dumps(body).encode(), fresh)


@dataclass
class Push:
    """One subscription: `items` come one by one, each after a wait in seconds, then the end.

    None is the end, in order; a subscription whose last item is no end is silent for ever.
    """

    items: list[tuple[float, Event | AwsError | None]]
    closed: bool = False

    async def next(self, *, silence_max: float) -> Event | None:
        assert not self.closed
        wait, item = self.items[0] if self.items else (float("inf"), None)
        if wait > silence_max:
            await asyncio.sleep(silence_max)
            raise refusal("TimedOut", f"not a byte for {silence_max:g} s", None)
        await asyncio.sleep(wait)
        self.items.pop(0)
        if isinstance(item, AwsError):
            raise item
        return item

    def close(self) -> None:
        self.closed = True


@dataclass
class Script:
    """Answers each subscription in turn; `asked` is when and from where they were asked for."""

    answers: list[Push | AwsError]
    listed: Sequence[Shard] | SourceMissing = (Shard(SHARD),)
    keys: range = EVERY_HASH_KEY
    asked: list[tuple[float, Seek]] = field(default_factory=list)

    async def shards(self) -> Sequence[Shard]:
        if isinstance(self.listed, SourceMissing):
            raise self.listed
        return self.listed

    async def hash_keys(self, shard: str) -> range:
        return self.keys

    async def subscribe(self, shard: str, seek: Seek) -> Push:
        assert shard == SHARD
        self.asked.append((asyncio.get_running_loop().time(), seek))
        answer = self.answers.pop(0)
        if isinstance(answer, AwsError):
            raise answer
        return answer

    @property
    def places(self) -> list[Seek]:
        return [seek for _, seek in self.asked]


def reader_of(
    script: Script, *, seek: Seek = OLDEST, subscription: Push | None = None, spacing: float = 1.0
) -> FanoutReader:
    return FanoutReader(
        script,
        KinesisCodec(source_arn=CONSUMER, role_arn=ROLE),
        shard=SHARD,
        seek=seek,
        subscription=subscription,
        now=now,
        pace=Pace(spacing),
    )


def push(*items: Event | AwsError | None, wait: float = 1.0) -> Push:
    return Push([(wait, item) for item in items])
