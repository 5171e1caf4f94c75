"""Real Kinesis streams for tests: written with boto3, read with the source under test."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, cast

import pytest

from poller.aws.sessions import AwsSession, AwsSettings
from poller.core.model import Instant, Record
from poller.core.steps import Fetched
from poller.interfaces import ShardReader
from poller.sources.kinesis import KinesisSource, Start, TrimHorizon
from poller.sources.paces import Paces
from poller.wire.kinesis import KinesisRecord
from tests.servers import Stream, aws

PUT_MAX = 500
READS_MAX = 500
ROLE = "arn:aws:iam::000000000000:role/orders"


def endpoint(request: pytest.FixtureRequest, server: str) -> str:
    """Where `server` (as in the fixture `kinesalite_url`) is; skips where it cannot be had."""
    url: str = request.getfixturevalue(f"{server}_url")
    return url


@contextlib.asynccontextmanager
async def source_of(
    url: str,
    stream: Stream,
    start: Start = TrimHorizon(),  # noqa: B008 - it is frozen
    *,
    now: Callable[[], Instant] = time.time,
    page_shards: int = 1000,
    by_arn: bool = False,
) -> AsyncIterator[KinesisSource]:
    """A source over `stream`, without a pace, so that nothing waits."""
    async with AwsSession(AwsSettings(region="us-east-1", endpoint_url=url)) as session:
        yield KinesisSource(
            session.json_client("kinesis"),
            stream_arn=stream.arn,
            role_arn=ROLE,
            start=start,
            now=now,
            paces=Paces(0.0),
            page_shards=page_shards,
            by_arn=by_arn,
        )


def put(url: str, stream: Stream, keys: Sequence[str]) -> None:
    """One record for each key, in order; its data is the key."""
    kinesis: Any = aws("kinesis", url)
    for first in range(0, len(keys), PUT_MAX):
        some = keys[first : first + PUT_MAX]
        records = [{"Data": key.encode(), "PartitionKey": key} for key in some]
        answer = kinesis.put_records(StreamName=stream.name, Records=records)
        assert answer["FailedRecordCount"] == 0


async def fetch(reader: ShardReader, limit: int = 10_000) -> Fetched:
    """A read that must succeed."""
    fetched = await reader.read(limit)
    assert isinstance(fetched, Fetched), fetched
    return fetched


async def read_to_tip(reader: ShardReader, limit: int = 10_000) -> list[Record]:
    """All records until the reader has caught up with an empty reply, or the shard has ended."""
    found: list[Record] = []
    for _ in range(READS_MAX):
        fetched = await fetch(reader, limit)
        found += fetched.records
        assert fetched.size >= sum(record.size for record in fetched.records)
        if fetched.shard_ended or (not fetched.records and fetched.read_up_to >= fetched.asked_at):
            return found
    raise AssertionError(f"no end after {READS_MAX} reads")


def keys_of(records: Sequence[Record]) -> list[str | None]:
    return [cast(KinesisRecord, record).key for record in records]
