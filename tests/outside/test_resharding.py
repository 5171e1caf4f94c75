"""Shards split and merge under load, streams vanish and come back; functions fail meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.functions import Answer, errored, function
from tests.outside.flows import (
    Deliveries,
    Delivery,
    Item,
    config,
    produced,
    streams,
    to_stream,
    warnings,
)
from tests.outside.poller_process import Running, poller
from tests.servers import Stream, aws, new_stream
from tests.waiting import eventually

FAIL_EVERY = 6  # of the deliveries to functions that sometimes fail
FLOWS = ("steady", "failing", "lanes", "earlier")
KEYS = [f"key-{number}" for number in range(8)]
HALF = str(2**127)
QUARTER = str(2**126)


@dataclass(frozen=True, slots=True)
class Story:
    deliveries: Deliveries
    items: dict[str, set[Item]]
    parents: dict[str, dict[str, set[str]]]  # of each shard, by flow
    log: str


def sometimes_fails() -> Deliveries:
    """Deliveries in which two functions fail every now and then, and then work again."""
    counts = {"failing": 0, "lanes": 0}

    def decide(delivery: Delivery) -> Answer:
        if delivery.flow not in counts:
            return Answer()
        counts[delivery.flow] += 1
        return errored() if counts[delivery.flow] % FAIL_EVERY == 0 else Answer()

    return Deliveries(decide)


def split(url: str, stream: Stream, shard: int, at: str) -> None:
    aws("kinesis", url).split_shard(
        StreamName=stream.name, ShardToSplit=f"shardId-{shard:012d}", NewStartingHashKey=at
    )
    _await_active(url, stream)


def merge(url: str, stream: Stream, one: int, other: int) -> None:
    aws("kinesis", url).merge_shards(
        StreamName=stream.name,
        ShardToMerge=f"shardId-{one:012d}",
        AdjacentShardToMerge=f"shardId-{other:012d}",
    )
    _await_active(url, stream)


def _await_active(url: str, stream: Stream) -> None:
    def active() -> bool:
        found = aws("kinesis", url).describe_stream_summary(StreamName=stream.name)
        return bool(found["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE")

    eventually(active)


def parents_of(url: str, stream: Stream) -> dict[str, set[str]]:
    shards = aws("kinesis", url).list_shards(StreamName=stream.name)["Shards"]
    return {
        shard["ShardId"]: {
            shard[name] for name in ("ParentShardId", "AdjacentParentShardId") if name in shard
        }
        for shard in shards
    }


@pytest.fixture(scope="module", params=["kinesalite", "kinesis_local"])
def story(request: pytest.FixtureRequest) -> Story:
    url: str = request.getfixturevalue(f"{request.param}_url")
    with streams(url) as new_stream:
        return play(url, new_stream(2, "stream"), new_stream(2, "earlier"))


def play(url: str, stream: Stream, earlier: Stream) -> Story:
    """`earlier` is split and merged before poller starts, `stream` while it runs."""
    old = [Item(key, number) for number in range(9) for key in KEYS]
    for start, change in ((0, None), (24, split), (48, merge)):
        if change is split:
            split(url, earlier, 0, QUARTER)
        elif change is merge:
            merge(url, earlier, 2, 3)
        to_stream(url, earlier)(old[start : start + 24])
    deliveries = sometimes_fails()
    with function(deliveries) as stub:
        made = config(
            stub.url,
            {name: earlier.arn if name == "earlier" else stream.arn for name in FLOWS},
            {"kinesis": url},
            steady={"BatchSize": 10},
            failing={"BatchSize": 10},
            lanes={"BatchSize": 10, "ParallelizationFactor": 4},
        )
        with poller(made) as running:
            with produced({"new": to_stream(url, stream)}, keys=8, pause=0.1) as producers:
                producer = producers["new"]
                for change in (
                    lambda: split(url, stream, 0, QUARTER),
                    lambda: merge(url, stream, 2, 3),
                    lambda: split(url, stream, 1, str(3 * 2**126)),
                ):
                    producer.put_more(6)
                    change()
                producer.put_more(6)
            items = {name: producer.items() for name in FLOWS} | {"earlier": set(old)}
            for name, expected in items.items():
                deliveries.await_all(name, expected, 40.0)
            assert running.stop() == 0
            log = running.log()
    lineages = {name: parents_of(url, earlier if name == "earlier" else stream) for name in FLOWS}
    return Story(deliveries, items, lineages, log)


@pytest.mark.parametrize("flow", FLOWS)
def test_resharding_keeps_the_order_of_each_key(story: Story, flow: str) -> None:
    assert story.deliveries.disorder(flow) == []


@pytest.mark.proves("S3.2.children")
@pytest.mark.parametrize("flow", ["steady", "earlier"])
def test_resharding_delivers_exactly_once_where_nothing_fails(story: Story, flow: str) -> None:
    assert story.deliveries.missing(flow, story.items[flow]) == set()
    assert story.deliveries.repeats(flow) == {}


@pytest.mark.parametrize("flow", ["failing", "lanes"])
def test_resharding_repeats_only_what_failed(story: Story, flow: str) -> None:
    succeeded = [
        item
        for delivery in story.deliveries.of(flow)
        if delivery.succeeds
        for item in delivery.items
    ]

    assert any(not delivery.succeeds for delivery in story.deliveries.of(flow))
    assert sorted(succeeded) == sorted(story.items[flow])


@pytest.mark.proves("S3.2.parents")
@pytest.mark.parametrize("flow", FLOWS)
def test_no_shard_runs_before_its_parents_have_ended(story: Story, flow: str) -> None:
    deliveries, parents = story.deliveries.of(flow), story.parents[flow]
    first = {delivery.shard: at for at, delivery in reversed(list(enumerate(deliveries)))}
    last = {delivery.shard: at for at, delivery in enumerate(deliveries)}
    pairs = [(child, parent) for child in first for parent in parents[child] if parent in last]

    assert len(pairs) >= 4
    assert [pair for pair in pairs if first[pair[0]] < last[pair[1]]] == []


def test_the_end_of_a_shard_is_one_line_for_each_mapping(story: Story) -> None:
    closed = {flow: set().union(*story.parents[flow].values()) for flow in FLOWS}
    lines = [line for line in story.log.splitlines() if "the shard is read to its end" in line]

    assert len(lines) == sum(len(shards) for shards in closed.values())
    assert [line for line in warnings(story.log) if "the function failed" not in line] == []


def test_a_closed_parent_that_the_server_deletes_is_one_line_and_its_children_go_on(
    ministack_url: str,
) -> None:
    stream = new_stream(ministack_url, 1)
    put = to_stream(ministack_url, stream)
    before = [Item(key, 0) for key in KEYS]
    after = [Item(key, 1) for key in KEYS]
    deliveries = Deliveries()
    with function(deliveries) as stub:
        made = config(stub.url, {"split": stream.arn}, {"kinesis": ministack_url})
        with poller(made) as running:
            put(before)
            deliveries.await_all("split", before)
            split(ministack_url, stream, 0, HALF)
            put(after)
            deliveries.await_all("split", after)
            assert running.stop() == 0
            log = running.log()

    assert deliveries.repeats("split") == {}
    assert len(warnings(log)) == 1
    assert "shardId-000000000000 is no longer in the stream" in warnings(log)[0]


def test_a_stream_that_is_deleted_and_made_again_is_read_on(kinesalite_url: str) -> None:
    kinesis = aws("kinesis", kinesalite_url)
    stream, other = new_stream(kinesalite_url, 2), new_stream(kinesalite_url, 1)
    deliveries = Deliveries()
    with function(deliveries) as stub:
        arns = {"again": stream.arn, "other": other.arn}
        made = config(stub.url, arns, {"kinesis": kinesalite_url})
        with poller(made) as running:
            for turn in range(3):
                if turn:
                    failures = _failures(running)
                    kinesis.delete_stream(StreamName=stream.name)
                    # A stream made again within a second of its end could pass for the same one.
                    eventually(lambda failures=failures: _failures(running) >= failures + 4)
                    new_stream(kinesalite_url, 2, name=stream.name)
                items = [Item(f"{turn}-{key}", 0) for key in KEYS]
                to_stream(kinesalite_url, stream)(items)
                to_stream(kinesalite_url, other)(items)
                deliveries.await_all("again", items)
                deliveries.await_all("other", items)
            assert running.is_ready()
            assert running.get("/healthz")[0] == 200
            assert running.stop() == 0
            log = running.log()

    assert deliveries.repeats("again") == {}
    assert deliveries.repeats("other") == {}
    assert "Traceback" not in log
    assert " broke: " not in log
    assert len(warnings(log)) <= 8, log


def _failures(running: Running) -> float:
    return running.metrics("poller_fetch_failures_total", function="again")
