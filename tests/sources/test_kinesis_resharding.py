"""Splits and merges on the servers that do them as AWS does, and on one that does not."""

from __future__ import annotations

import logging

import pytest

from poller.core.model import EVERYTHING, Position
from poller.core.shards import plan_shards
from poller.sources.kinesis import KinesisSource, Latest
from tests.servers import Stream, aws, new_stream
from tests.sources.kinesis_streams import endpoint, fetch, keys_of, put, read_to_tip, source_of

RESHARDING = ["kinesalite", "kinesis_local"]


async def read_by_plan(source: KinesisSource) -> dict[str, list[str | None]]:
    """The keys of each shard, shards in the order in which the plan lets them be read."""
    found: dict[str, list[str | None]] = {}
    finished: dict[str, Position] = {}
    while True:
        listed = await source.shards()
        ready = [id for id in plan_shards(listed, finished, ()).start if id not in found]
        if not ready:
            return found
        for shard in ready:
            reader = source.reader(shard, None)
            found[shard] = keys_of(await read_to_tip(reader))
            closed = any(other.id == shard and other.closed for other in listed)
            ended = (await fetch(reader)).shard_ended if closed else False
            assert ended is closed
            if ended:
                finished[shard] = Position(ended=True)


def reshard(url: str, stream: Stream, operation: str, **arguments: str) -> None:
    getattr(aws("kinesis", url), operation)(StreamName=stream.name, **arguments)
    aws("kinesis", url).get_waiter("stream_exists").wait(
        StreamName=stream.name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 200}
    )


@pytest.mark.parametrize("server", RESHARDING)
async def test_parents_are_read_before_children_through_a_split_and_a_merge(
    server: str, request: pytest.FixtureRequest
) -> None:
    url = endpoint(request, server)
    stream = new_stream(url)
    rounds = [[f"{turn}-{number}" for number in range(30)] for turn in range(3)]
    put(url, stream, rounds[0])
    reshard(
        url,
        stream,
        "split_shard",
        ShardToSplit="shardId-000000000000",
        NewStartingHashKey=str(2**127),
    )
    put(url, stream, rounds[1])
    reshard(
        url,
        stream,
        "merge_shards",
        ShardToMerge="shardId-000000000001",
        AdjacentShardToMerge="shardId-000000000002",
    )
    put(url, stream, rounds[2])

    async with source_of(url, stream) as source:
        listed = {shard.id: shard for shard in await source.shards()}
        found = await read_by_plan(source)

    zero, one, two, three = (f"shardId-{number:012}" for number in range(4))
    assert {id: (set(shard.parents), shard.closed) for id, shard in listed.items()} == {
        zero: (set(), True),
        one: ({zero}, True),
        two: ({zero}, True),
        three: ({one, two}, False),
    }
    order = list(found)
    assert (order[0], order[3]) == (zero, three)
    assert found[zero] == rounds[0]
    assert sorted(map(str, found[one] + found[two])) == sorted(rounds[1])
    assert found[three] == rounds[2]


@pytest.mark.parametrize("server", RESHARDING)
async def test_a_shard_that_is_split_while_it_is_read_ends_after_its_last_record(
    server: str, request: pytest.FixtureRequest
) -> None:
    url = endpoint(request, server)
    stream = new_stream(url)
    async with source_of(url, stream) as source:
        reader = source.reader("shardId-000000000000", None)
        put(url, stream, ["a"])
        found = await read_to_tip(reader)
        put(url, stream, ["b"])
        reshard(
            url,
            stream,
            "split_shard",
            ShardToSplit="shardId-000000000000",
            NewStartingHashKey=str(2**127),
        )
        while not (last := await fetch(reader)).shard_ended:
            found += last.records
        found += last.records
        again = await fetch(reader)

    assert keys_of(found) == ["a", "b"]
    assert (last.read_up_to, again.read_up_to, again.shard_ended) == (EVERYTHING, EVERYTHING, True)


@pytest.mark.parametrize("server", RESHARDING)
async def test_a_pin_counts_closed_shards_as_read(
    server: str, request: pytest.FixtureRequest
) -> None:
    url = endpoint(request, server)
    stream = new_stream(url)
    put(url, stream, ["a"])
    reshard(
        url,
        stream,
        "split_shard",
        ShardToSplit="shardId-000000000000",
        NewStartingHashKey=str(2**127),
    )

    async with source_of(url, stream, Latest()) as source:
        pinned = await source.pin()
        plan = plan_shards(await source.shards(), pinned, ())

    assert {id: position.ended for id, position in pinned.items()} == {
        "shardId-000000000000": True,
        "shardId-000000000001": False,
        "shardId-000000000002": False,
    }
    assert set(plan.start) == {"shardId-000000000001", "shardId-000000000002"}


async def test_a_shard_that_vanishes_counts_as_ended_and_is_warned_about(
    ministack_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    stream = new_stream(ministack_url)
    put(ministack_url, stream, ["a"])
    async with source_of(ministack_url, stream) as source:
        reader = source.reader("shardId-000000000000", None)
        [record] = await read_to_tip(reader)
        reshard(
            ministack_url,
            stream,
            "split_shard",
            ShardToSplit="shardId-000000000000",
            NewStartingHashKey=str(2**127),
        )
        with caplog.at_level(logging.WARNING, "poller.sources"):
            last = await fetch(reader)

    assert (last.records, last.shard_ended) == ((), True)
    [warning] = [log.getMessage() for log in caplog.records]
    assert f"record {record.sequence}" in warning
