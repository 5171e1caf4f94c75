"""How a stream is listed, and pinned where it stands."""

from __future__ import annotations

import email.utils
import json

import pytest

from poller.core.model import Position
from poller.errors import SourceMissing
from poller.sources import kinesis
from poller.sources.kinesis import Latest
from tests.aws.canned import Answer, Call, Says, canned, error
from tests.sources.kinesis_scripts import (
    EXPIRED,
    NOT_FOUND,
    NOW,
    SHARD,
    STREAM,
    THROTTLED,
    Clock,
    Script,
    page,
    shard,
    source_on,
)
from tests.sources.kinesis_streams import fetch, source_of


async def test_pages_are_asked_for_by_the_token_alone() -> None:
    def answer(call: Call) -> Answer:
        if call.json.get("NextToken") == "more":
            return {"Shards": [shard("b", ParentShardId="a")]}
        return {"Shards": [shard("a", ending="9")], "NextToken": "more"}

    async with source_on(answer) as (source, server):
        listed = await source.shards()

    assert [(one.id, one.parents, one.closed) for one in listed] == [
        ("a", (), True),
        ("b", ("a",), False),
    ]
    assert [call.json for call in server.calls] == [
        {"StreamName": "orders", "MaxResults": 1000},
        {"NextToken": "more", "MaxResults": 1000},
    ]


async def test_a_stream_of_another_account_is_called_by_its_arn() -> None:
    async with (
        canned(Script(records=[page(1)])) as server,
        source_of(server.url, STREAM, by_arn=True) as source,
    ):
        (listed,) = await source.shards()
        await source.reader(listed.id, None).read(10)
    named = [call.json for call in server.calls if call.operation != "GetRecords"]
    assert [request.get("StreamARN") for request in named] == [STREAM.arn, STREAM.arn]
    assert not [request for request in named if "StreamName" in request]


async def test_a_listing_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinesis, "PAGES_MAX", 3)
    endless = {"Shards": [shard()], "NextToken": "more"}
    async with source_on(lambda call: endless) as (source, server):
        with pytest.raises(SourceMissing, match="does not end"):
            await source.shards()

    assert len(server.calls) == 4


async def test_a_listing_is_tried_again_while_the_server_is_busy() -> None:
    answers = [THROTTLED, error("InternalFailure", status=500), {"Shards": [shard()]}]
    async with source_on(lambda call: answers.pop(0)) as (source, _):
        assert [one.id for one in await source.shards()] == [SHARD]


@pytest.mark.parametrize("answer", [Says(b"<html>"), {"Shards": 1}, NOT_FOUND])
async def test_a_listing_that_fails_means_that_the_source_is_missing(answer: Answer) -> None:
    async with source_on(lambda call: answer) as (source, _):
        with pytest.raises(SourceMissing, match=r"stream.orders") as missing:
            await source.shards()

    assert "\n" not in str(missing.value)


DATE = {"Date": email.utils.formatdate(NOW - 3, usegmt=True)}


def pinned(call: Call) -> Answer:
    match call.operation:
        case "ListShards":
            listed = [shard(), shard("shardId-000000000001", ending="9")]
            return Says(json.dumps({"Shards": listed}).encode(), headers=DATE)
        case "GetShardIterator":
            return {"ShardIterator": call.json["ShardIteratorType"]}
        case _:
            return EXPIRED if call.json["ShardIterator"] == "old" else page(1)


@pytest.mark.parametrize(
    ("age", "iterators"), [(0.0, ["LATEST"]), (299.0, ["LATEST"]), (300.0, ["AT_TIMESTAMP"])]
)
async def test_a_pin_is_read_from_its_iterator_while_that_lives(
    age: float, iterators: list[str]
) -> None:
    clock = Clock()
    async with source_on(pinned, Latest(), clock) as (source, server):
        pins = await source.pin()
        clock.now += age
        await fetch(source.reader(SHARD, pins[SHARD]))

    assert pins == {
        SHARD: Position(since=NOW - 3),
        "shardId-000000000001": Position(ended=True),
    }
    gets = [call.json["ShardIterator"] for call in server.calls if call.operation == "GetRecords"]
    assert gets == iterators


async def test_a_position_beyond_the_pin_does_not_use_its_iterator() -> None:
    async with source_on(pinned, Latest()) as (source, server):
        await source.pin()
        await fetch(source.reader(SHARD, Position("7")))

    assert server.calls[-1].json["ShardIterator"] == "AFTER_SEQUENCE_NUMBER"


async def test_a_pin_that_cannot_be_taken_means_that_the_source_is_missing() -> None:
    script = Script(iterators=[error("AccessDeniedException", "not allowed")])
    async with source_on(script, Latest()) as (source, _):
        with pytest.raises(SourceMissing, match=r"stream orders: pinning: .*not allowed"):
            await source.pin()
