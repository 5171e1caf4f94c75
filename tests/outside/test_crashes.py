"""Four times kill -9 under load, and a new start on the same state each time."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.faults import Proxy, faulty, refused
from tests.functions import Answer, Function, errored, function
from tests.outside.flows import (
    Deliveries,
    Delivery,
    Item,
    Producer,
    by_key,
    by_shard,
    config,
    produced,
    streams,
    to_queue,
    to_stream,
    to_table,
)
from tests.outside.poller_process import Running, poller
from tests.servers import Queue, Stream, aws, new_queue, new_table
from tests.waiting import eventually

KILLS = 4
RUN_TIMES = (0.3, 1.5)  # seconds from ready to kill -9
RUN_SECONDS = 0.01  # of an invocation
STREAMS = ("one_lane", "ten_lanes", "table")
LATEST_ITEMS = [Item("late", number) for number in range(5)]
POISON = Item("poison", 0)

HANDLER = """
import os

def handler(event, context):
    with open("pids", "a") as file:
        file.write(f"{os.getpid()}\\n")
"""


@dataclass(frozen=True, slots=True)
class Story:
    """What was seen: for each run the number of deliveries of each flow when it was over."""

    deliveries: Deliveries
    producers: dict[str, Producer]
    ends: list[dict[str, int]]
    handler_pids: list[set[int]]  # that lived just before each kill
    outlived: list[set[int]]  # of those, what lived soon after
    poison_failures: list[int]  # invocations of the poison record in each run
    documents: list[Any]


def answer(delivery: Delivery) -> Answer:
    return errored() if POISON in delivery.items else Answer(delay=RUN_SECONDS)


@pytest.fixture(scope="module")
def story(
    kinesalite_url: str, ministack_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("crashes")
    (folder / "pids.py").write_text(HANDLER)
    deliveries = Deliveries(answer)
    with (
        function(deliveries) as stub,
        faulty(ministack_url) as proxy,
        streams(kinesalite_url) as new_stream,
    ):
        yield Stage(kinesalite_url, ministack_url, proxy, folder, new_stream).play(stub, deliveries)


class Stage:
    """The sources, the config, and what happens."""

    def __init__(
        self,
        kinesis: str,
        other: str,
        proxy: Proxy,
        folder: Path,
        new_stream: Callable[[int, str], Stream],
    ) -> None:
        self.kinesis, self.other, self.proxy, self.folder = kinesis, other, proxy, folder
        self.streams = {
            name: new_stream(shards, name)
            for name, shards in {"one_lane": 4, "ten_lanes": 4, "latest": 1, "poison": 1}.items()
        }
        self.table = new_table(other)
        self.queues = {
            "standard": new_queue(other, VisibilityTimeout="2"),
            "fifo": new_queue(other, fifo=True, VisibilityTimeout="2"),
        }
        self.documents = new_queue(other)

    def _config(self, url: str) -> dict[str, Any]:
        arns = {
            **{name: stream.arn for name, stream in self.streams.items()},
            "table": self.table.stream_arn,
            **{name: queue.arn for name, queue in self.queues.items()},
        }
        made = config(
            url,
            arns,
            {
                "kinesis": self.kinesis,
                "dynamodb": self.other,
                "dynamodbstreams": self.other,
                "sqs": self.proxy.url,
            },
            one_lane={"BatchSize": 20},
            ten_lanes={"BatchSize": 10, "ParallelizationFactor": 10},
            table={"BatchSize": 20, "ParallelizationFactor": 2},
            latest={"StartingPosition": "LATEST"},
            poison={
                "MaximumRetryAttempts": 0,
                "DestinationConfig": {"OnFailure": {"Destination": self.documents.arn}},
            },
        )
        made["functions"]["pids"] = {"handler": "pids.handler", "concurrency": 2}
        made["mappings"].append(
            {
                "EventSourceArn": self.streams["one_lane"].arn,
                "FunctionName": "pids",
                "StartingPosition": "TRIM_HORIZON",
            }
        )
        return made

    def play(self, stub: Function, deliveries: Deliveries) -> Story:
        config = self._config(stub.url)
        moments = random.Random(4)
        self.proxy.inject(refused("InternalError", status=500), on="SendMessage", times=None)
        to_stream(self.kinesis, self.streams["poison"])([POISON])
        puts = {
            "one_lane": to_stream(self.kinesis, self.streams["one_lane"]),
            "ten_lanes": to_stream(self.kinesis, self.streams["ten_lanes"]),
            "table": to_table(self.other, self.table),
            **{name: to_queue(self.other, queue) for name, queue in self.queues.items()},
        }
        ends: list[dict[str, int]] = []
        lived: list[set[int]] = []
        outlived: list[set[int]] = []
        failures: list[int] = []
        with produced(puts, keys=24, pause=0.1) as producers:
            for kill in range(KILLS):
                before = {name: deliveries.count(name) for name in (*STREAMS, "fifo", "poison")}
                with poller(config, folder=self.folder) as running:
                    for name, count in before.items():
                        eventually(partial(deliveries.has_more, name, count))
                    self._go_on(running, moments.uniform(*RUN_TIMES))
                    lived.append(self._handler_pids())
                    running.kill()
                outlived.append(_soon_gone(lived[-1]))
                if kill == 0:  # what comes while poller is down, after the pin
                    to_stream(self.kinesis, self.streams["latest"])(LATEST_ITEMS)
                ends.append({name: deliveries.count(name) for name in puts})
                failures.append(deliveries.count("poison") - sum(failures))
        self.proxy.heal()
        with poller(config, folder=self.folder) as running:
            for name, producer in producers.items():
                deliveries.await_all(name, producer.items())
            deliveries.await_all("latest", LATEST_ITEMS)
            documents = eventually(lambda: _received(self.other, self.documents) or None)
            for queue in self.queues.values():
                eventually(lambda queue=queue: self._left(queue) == 0)
            running.kill()  # nothing is to be learnt from a slow stop
        return Story(deliveries, producers, ends, lived, outlived, failures, documents)

    def _go_on(self, running: Running, seconds: float) -> None:
        """Let it run until everything works and for so many seconds more."""
        eventually(lambda: running.metrics("poller_destination_failures_total") > 0)
        eventually(lambda: len(self._handler_pids()) > 0)
        threading.Event().wait(seconds)

    def _handler_pids(self) -> set[int]:
        """The processes of the handler that live."""
        file = self.folder / "pids"
        noted = {int(line) for line in file.read_text().split()} if file.exists() else set()
        return {pid for pid in noted if _lives(pid)}

    def _left(self, queue: Queue) -> int:
        """How many messages are there, hidden or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        reply = aws("sqs", self.other).get_queue_attributes(
            QueueUrl=queue.url, AttributeNames=names
        )
        return sum(int(reply["Attributes"][name]) for name in names)


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def _soon_gone(pids: set[int]) -> set[int]:
    """What still lives after a while."""
    try:
        eventually(lambda: not any(_lives(pid) for pid in pids), 3.0)
    except AssertionError:
        return {pid for pid in pids if _lives(pid)}
    return set()


def _received(url: str, queue: Queue) -> list[Any]:
    reply = aws("sqs", url).receive_message(QueueUrl=queue.url, MaxNumberOfMessages=10)
    return [json.loads(message["Body"]) for message in reply.get("Messages", [])]


@pytest.mark.parametrize("flow", [*STREAMS, "standard", "fifo"])
def test_crashes_lose_nothing(story: Story, flow: str) -> None:
    items = story.producers[flow].items()

    assert len(items) > 100
    assert story.deliveries.missing(flow, items) == set()


@pytest.mark.parametrize("flow", [*STREAMS, "fifo"])
def test_order_for_each_key_holds_through_crashes(story: Story, flow: str) -> None:
    assert story.deliveries.disorder(flow) == []


def test_without_lanes_a_crash_repeats_at_most_the_last_batch_of_each_shard(story: Story) -> None:
    ends = [end["one_lane"] for end in story.ends]

    assert story.deliveries.repeats_beyond_the_last_batch("one_lane", ends, by_shard) == []


@pytest.mark.parametrize("flow", STREAMS)
def test_a_crash_repeats_of_a_key_at_most_its_last_batch(story: Story, flow: str) -> None:
    ends = [end[flow] for end in story.ends]

    assert story.deliveries.repeats_beyond_the_last_batch(flow, ends, by_key) == []


@pytest.mark.parametrize("flow", ["standard", "fifo"])
def test_a_message_comes_again_at_most_once_for_each_crash(story: Story, flow: str) -> None:
    repeats = story.deliveries.repeats(flow)

    assert max(repeats.values(), default=1) <= 1 + KILLS
    assert len(repeats) < len(story.producers[flow].items()) / 2


def test_a_discard_that_waits_for_its_destination_survives_crashes(story: Story) -> None:
    assert story.poison_failures == [1] * KILLS
    conditions = {document["requestContext"]["condition"] for document in story.documents}
    sizes = {document["KinesisBatchInfo"]["batchSize"] for document in story.documents}
    assert (conditions, sizes) == ({"RetryAttemptsExhausted"}, {1})


def test_records_after_the_pin_of_latest_are_not_skipped_by_a_crash(story: Story) -> None:
    assert story.deliveries.missing("latest", LATEST_ITEMS) == set()
    assert story.deliveries.disorder("latest") == []


def test_processes_of_handlers_die_with_poller(story: Story) -> None:
    assert all(story.handler_pids)
    assert story.outlived == [set()] * KILLS
