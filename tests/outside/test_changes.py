"""Mappings that are changed, paused and deleted through the API while they work."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from tests.faults import Call as Request
from tests.faults import Fault, faulty, refused
from tests.functions import Answer, Call, Function, function
from tests.outside.by_api import api, changed, created, deleted, settled
from tests.outside.flows import Deliveries, Item, produced, streams, to_queue, to_stream, to_table
from tests.outside.lambda_api import await_gone
from tests.outside.poller_process import Running, poller
from tests.outside.scenes import config, fail_on, mapping, put, texts
from tests.outside.sqs_lanes import left_in
from tests.servers import Queue, Stream, aws, new_queue, new_stream, new_table
from tests.waiting import eventually

RUN_SECONDS = 0.02  # of an invocation

# Changed again and again in the middle of a backlog.

THERE = [{"exists": True}]


def stream_changes(everything: Any) -> Sequence[dict[str, Any]]:
    """`everything`: a pattern that all records match."""
    return (
        {"BatchSize": 3},
        {"ParallelizationFactor": 7},
        {"FilterCriteria": {"Filters": [{"Pattern": json.dumps(everything)}]}},
        {"BatchSize": 20, "MaximumBatchingWindowInSeconds": 1},
        {"Enabled": False},
        {"Enabled": True, "ParallelizationFactor": 2},
        {"MaximumBatchingWindowInSeconds": 0, "BisectBatchOnFunctionError": True},
        {"FilterCriteria": {}},
    )


QUEUE_CHANGES: Sequence[dict[str, Any]] = (
    {"BatchSize": 3},
    {"FilterCriteria": {"Filters": [{"Pattern": json.dumps({"body": {"key": THERE}})}]}},
    {"Enabled": False},
    {"Enabled": True, "BatchSize": 10},
    {"FunctionResponseTypes": ["ReportBatchItemFailures"]},
)
CHANGES = {
    "shards": stream_changes({"data": {"key": THERE}}),
    "table": stream_changes({"dynamodb": {"Keys": {"id": {"S": THERE}}}}),
    "standard": QUEUE_CHANGES,
    "fifo": QUEUE_CHANGES,
}


@dataclass(frozen=True, slots=True)
class Story:
    deliveries: Deliveries
    items: dict[str, set[Item]]
    during: dict[str, int]  # deliveries while changes were made


@pytest.fixture(scope="module")
def story(kinesalite_url: str, ministack_url: str) -> Story:
    deliveries = Deliveries(lambda _delivery: Answer(delay=RUN_SECONDS))
    with ExitStack() as stack:
        shards = stack.enter_context(streams(kinesalite_url))(2, "changed")
        table = new_table(ministack_url)
        queues = {
            "standard": new_queue(ministack_url, VisibilityTimeout="60"),
            "fifo": new_queue(ministack_url, fifo=True, VisibilityTimeout="60"),
        }
        arns = {"shards": shards.arn, "table": table.stream_arn}
        arns |= {name: queue.arn for name, queue in queues.items()}
        puts = {
            "shards": to_stream(kinesalite_url, shards),
            "table": to_table(ministack_url, table),
        }
        puts |= {name: to_queue(ministack_url, queue) for name, queue in queues.items()}
        stub = stack.enter_context(function(deliveries))
        running = stack.enter_context(
            poller(
                {
                    "aws": {
                        "region": "us-east-1",
                        "endpoint_url": ministack_url,
                        "endpoints": {"kinesis": kinesalite_url},
                    },
                    "functions": {
                        name: {"url": stub.url + name, "timeout": 30} for name in CHANGES
                    },
                }
            )
        )
        with produced(puts, keys=8, pause=0.1) as producers:
            uuids = {
                name: created(
                    running,
                    EventSourceArn=arn,
                    FunctionName=name,
                    **({} if name in queues else {"StartingPosition": "TRIM_HORIZON"}),
                )
                for name, arn in arns.items()
            }
            during = _changed_all(running, uuids, deliveries)
        items = {name: producer.items() for name, producer in producers.items()}
        for name, wanted in items.items():
            deliveries.await_all(name, wanted)
        for queue in queues.values():
            eventually(lambda queue=queue: left_in(ministack_url, queue) == (0, 0))
        running.kill()  # nothing is to be learnt from a slow stop
    return Story(deliveries, items, during)


def _changed_all(running: Running, uuids: dict[str, str], deliveries: Deliveries) -> dict[str, int]:
    """Change every mapping, all of them at one time; how much was delivered meanwhile."""
    before = {name: deliveries.count(name) for name in uuids}
    for step in range(max(map(len, CHANGES.values()))):
        now = {name: changes[step] for name, changes in CHANGES.items() if step < len(changes)}
        heard = {name: deliveries.count(name) for name in now}
        for name, change in now.items():
            reply = api(running).update_event_source_mapping(UUID=uuids[name], **change)
            assert reply["State"] in ("Updating", "Enabling", "Disabling")
        for name, change in now.items():
            mapping = settled(running, uuids[name])
            shown = {
                name: mapping[name] for name in change.keys() - {"Enabled"} if change[name] != {}
            }
            assert shown.items() <= change.items()
        for name, change in now.items():
            if change.get("Enabled") is not False:
                eventually(partial(deliveries.has_more, name, heard[name]))
    return {name: deliveries.count(name) - before[name] for name in uuids}


@pytest.mark.parametrize("flow", CHANGES)
def test_changes_in_the_middle_of_a_backlog_lose_nothing(story: Story, flow: str) -> None:
    assert story.during[flow] >= len(CHANGES[flow])
    assert story.deliveries.missing(flow, story.items[flow]) == set()


@pytest.mark.proves("S2.update")
@pytest.mark.parametrize("flow", CHANGES)
def test_changes_in_the_middle_of_a_backlog_repeat_nothing(story: Story, flow: str) -> None:
    assert story.deliveries.repeats(flow) == {}


@pytest.mark.parametrize("flow", [flow for flow in CHANGES if flow != "standard"])
def test_changes_in_the_middle_of_a_backlog_keep_the_order_of_each_key(
    story: Story, flow: str
) -> None:
    assert story.deliveries.disorder(flow) == []


# One change at one moment.


@pytest.fixture(scope="module")
def stubs() -> Iterator[dict[str, Function]]:
    with function() as one, function() as other:
        yield {"one": one, "other": other}


@pytest.fixture(scope="module")
def running(moto_url: str, ministack_url: str, stubs: dict[str, Function]) -> Iterator[Running]:
    """A poller without mappings; Kinesis is moto's."""
    settings = config(ministack_url, stubs)
    settings["aws"]["endpoints"] = {"kinesis": moto_url}
    with poller(settings) as running:
        yield running
        running.kill()  # nothing is to be learnt from a slow stop


@pytest.fixture
def one(stubs: dict[str, Function]) -> Function:
    return emptied(stubs["one"])


@pytest.fixture
def other(stubs: dict[str, Function]) -> Function:
    return emptied(stubs["other"])


def emptied(stub: Function) -> Function:
    """As if it were new."""
    stub.answers = lambda _call: Answer()
    stub.calls.clear()
    stub.running_max = 0
    return stub


@pytest.fixture
def stream(moto_url: str) -> Stream:
    return new_stream(moto_url)


def held(until: threading.Event, text: str) -> Callable[[Call], Answer]:
    """Does not answer for records of this text before `until`."""
    return lambda call: Answer(after=until if text in texts(call) else None)


@pytest.mark.proves("S2.pause", "Kinesis.Enabled", "R1.1.disabled")
def test_a_mapping_that_is_disabled_in_the_middle_of_a_retry_goes_on_there_when_enabled(
    running: Running, moto_url: str, stream: Stream, one: Function
) -> None:
    one.answers = fail_on("a")
    put(moto_url, stream, "a", "b")
    uuid = created(running, **mapping(stream, "one", BatchSize=1))
    one.wait(lambda: len(one.calls) >= 2)

    assert changed(running, uuid, Enabled=False)["State"] == "Disabled"
    tried = len(one.calls)
    polls = running.metrics("poller_fetches_total", mapping=uuid)
    put(moto_url, stream, "c")
    one.answers = lambda _call: Answer()
    assert changed(running, uuid, BatchSize=10)["State"] == "Disabled"
    assert len(one.calls) == tried
    assert running.metrics("poller_fetches_total", mapping=uuid) in (0, polls)

    assert changed(running, uuid, Enabled=True)["State"] == "Enabled"
    one.wait(lambda: len(one.succeeded) == 3)
    assert [text for call in one.calls[tried:] for text in texts(call)] == ["a", "b", "c"]
    deleted(running, uuid)


@pytest.mark.proves("S2.delete")
def test_a_mapping_that_is_deleted_during_a_slow_invocation_lets_it_end_and_starts_no_other(
    running: Running, moto_url: str, stream: Stream, one: Function
) -> None:
    finish = threading.Event()
    one.answers = held(finish, "a")
    put(moto_url, stream, "a", "b")
    uuid = created(running, **mapping(stream, "one", BatchSize=1))
    one.wait(lambda: len(one.calls) == 1)

    assert api(running).delete_event_source_mapping(UUID=uuid)["State"] == "Deleting"
    assert settled(running, uuid, {"Deleting"})["UUID"] == uuid
    finish.set()
    await_gone(api(running), uuid)
    assert [texts(call) for call in one.calls] == [["a"]]
    assert len(one.succeeded) == 1

    again = created(running, **mapping(stream, "one", BatchSize=1))
    assert again != uuid
    one.wait(lambda: len(one.calls) == 3)
    assert [texts(call) for call in one.calls[1:]] == [["a"], ["b"]], "from its own beginning"
    deleted(running, again)


@pytest.mark.proves("Kinesis.FunctionName")
def test_a_function_that_is_switched_while_the_old_one_runs_gets_what_comes_after(
    running: Running, moto_url: str, stream: Stream, one: Function, other: Function
) -> None:
    finish = threading.Event()
    one.answers = held(finish, "a")
    put(moto_url, stream, "a", "b", "c")
    uuid = created(running, **mapping(stream, "one", BatchSize=1))
    one.wait(lambda: len(one.calls) == 1)

    reply = api(running).update_event_source_mapping(UUID=uuid, FunctionName="other")
    assert (reply["State"], reply["FunctionArn"].rpartition(":")[2]) == ("Updating", "other")
    assert other.calls == []
    finish.set()
    assert settled(running, uuid)["State"] == "Enabled"
    other.wait(lambda: len(other.succeeded) == 2)
    assert [texts(call) for call in one.calls] == [["a"]]
    assert [texts(call) for call in other.calls] == [["b"], ["c"]]
    deleted(running, uuid)


def test_two_mappings_share_the_groups_of_a_fifo_queue_and_keep_their_order(
    running: Running, ministack_url: str, one: Function, other: Function
) -> None:
    queue = new_queue(ministack_url, fifo=True, VisibilityTimeout="60")
    items = [Item(f"group-{number % 5}", number // 5) for number in range(100)]
    both = Deliveries(lambda _delivery: Answer(delay=RUN_SECONDS))
    one.answers = other.answers = both
    for name in ("one", "other"):
        created(running, EventSourceArn=queue.arn, FunctionName=name, BatchSize=2)
    to_queue(ministack_url, queue)(items)

    both.await_all("", items)
    eventually(lambda: left_in(ministack_url, queue) == (0, 0))
    assert both.repeats("") == {}
    assert both.disorder("") == []
    assert one.calls
    assert other.calls


@pytest.mark.proves("Kinesis.DestinationConfig")
def test_a_document_that_is_being_delivered_goes_to_the_new_destination(
    moto_url: str, stream: Stream, one: Function
) -> None:
    dead, alive = new_queue(moto_url), new_queue(moto_url)
    one.answers = fail_on("poison")
    put(moto_url, stream, "poison", "good")
    with faulty(moto_url) as proxy:
        settings = config(moto_url, {"one": one})
        settings["functions"]["one"]["timeout"] = 1
        settings["aws"]["endpoints"] = {"sqs": proxy.url}

        def is_dead(call: Request) -> Fault | None:
            sent = call.operation == "SendMessage" and call.json["QueueUrl"].endswith(dead.name)
            return refused("InternalError", status=500) if sent else None

        proxy.script(is_dead)
        with poller(settings) as running:
            uuid = created(
                running,
                **mapping(stream, "one", BatchSize=1, MaximumRetryAttempts=0),
                **to(dead),
            )
            eventually(lambda: running.metrics("poller_destination_failures_total") > 0)
            assert changed(running, uuid, **to(alive))["State"] == "Enabled"
            one.wait(lambda: len(one.succeeded) == 1)

            (document,) = received(moto_url, alive)
            assert document["requestContext"]["condition"] == "RetryAttemptsExhausted"
            assert document["KinesisBatchInfo"]["batchSize"] == 1
            proxy.heal()
            deleted(running, uuid)
    assert left_in(moto_url, dead) == (0, 0)
    assert [texts(call) for call in one.calls] == [["poison"], ["poison"], ["good"]]


def to(queue: Queue) -> dict[str, Any]:
    return {"DestinationConfig": {"OnFailure": {"Destination": queue.arn}}}


def received(url: str, queue: Queue) -> list[Any]:
    reply = aws("sqs", url).receive_message(QueueUrl=queue.url, MaxNumberOfMessages=10)
    return [json.loads(message["Body"]) for message in reply.get("Messages", [])]
