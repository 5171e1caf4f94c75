"""Servers and functions that throttle, cut, hang and vanish under load: nothing is lost."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from tests import functions
from tests.faults import (
    Answer,
    Call,
    Close,
    Cut,
    Delay,
    Fault,
    Proxy,
    Reset,
    Rewrite,
    Slow,
    faulty,
    refused,
    throttled,
)
from tests.functions import Function, function
from tests.outside.flows import (
    Deliveries,
    Delivery,
    Item,
    config,
    produced,
    streams,
    to_queue,
    to_stream,
    warnings,
)
from tests.outside.poller_process import Running, poller
from tests.servers import Queue, Stream, aws, new_queue
from tests.waiting import eventually

VISIBILITY = "3"
BROKEN = refused("InternalFailure", "broken", status=500)

# What readings of a stream meet in turn, again and again; None is a reading that goes well.
READING: dict[str, Sequence[Fault | None]] = {
    "throttled": [throttled()],
    "reset": [Reset()],
    "reset_after": [Reset(forwarded=True)],
    "closed": [Close()],
    "cut": [Cut(20)],
    "broken": [BROKEN],
    "garbage": [Answer(200, b"<html>", {"Content-Type": "text/html"})],
}
UNSEEN: dict[str, Sequence[Fault | None]] = {
    "expired": [refused("ExpiredIteratorException"), None],
    "slow": [Slow(8, 0.05), Delay(1.5)],
}
# What happens to one operation on a queue.
RECEIVING: dict[str, Fault] = {
    "receive_broken": BROKEN,
    "receive_reset": Reset(),
    "receive_lost": Reset(forwarded=True),
    "receive_throttled": throttled("RequestThrottled"),
}
DELETING: dict[str, Fault] = {
    "delete_broken": BROKEN,
    "delete_lost": Reset(forwarded=True),
}
STREAMS = (*READING, *UNSEEN, "steady", "unreached", "discards")
FIFO = "unreached_fifo"
QUEUES = (*RECEIVING, *DELETING, FIFO)
ORDERED = (*STREAMS, FIFO)
POISON = [Item("poison", number) for number in range(3)]


class StreamFaults:
    """The script of a proxy in front of Kinesis: while `on`, each stream meets its faults.

    An iterator does not tell its stream, but whoever asks for one does; the one stream whose
    replies pass without being looked at is `slow`.
    """

    def __init__(self) -> None:
        self.on = False
        self.met: Counter[str] = Counter()
        self._faults = {**READING, **UNSEEN}
        self._flows: dict[str, str] = {}  # of iterators

    def __call__(self, call: Call) -> Fault | None:
        if call.operation == "GetShardIterator":
            return self._learn(call.json["StreamName"].partition("-")[0], "ShardIterator")
        if call.operation != "GetRecords":
            return None
        flow = self._flows.get(call.json["ShardIterator"], "slow")
        if self.on and flow in self._faults:
            faults = self._faults[flow]
            fault = faults[self.met[flow] % len(faults)]
            self.met[flow] += 1
            if fault is not None:
                return fault
        return self._learn(flow, "NextShardIterator")

    def _learn(self, flow: str, name: str) -> Rewrite:
        def learn(reply: Any) -> Any:
            if name in reply:
                self._flows[reply[name]] = flow
            return reply

        return Rewrite(learn)


class QueueFaults:
    """The same for queues, which every call names, and for the queue of failure documents."""

    def __init__(self, queues: Mapping[str, Queue], documents: Queue) -> None:
        self.on = False
        self.met: Counter[str] = Counter()
        self._flows = {queue.url.rpartition("/")[2]: flow for flow, queue in queues.items()}
        self._documents = documents

    def __call__(self, call: Call) -> Fault | None:
        if not self.on:
            return None
        if call.operation == "SendMessage":
            return BROKEN
        faults = {"ReceiveMessage": RECEIVING, "DeleteMessageBatch": DELETING}
        fault = None
        if call.operation in faults:
            flow = self._flows[call.json["QueueUrl"].rpartition("/")[2]]
            fault = faults[call.operation].get(flow)
            self.met[flow] += fault is not None
        return fault


@dataclass(frozen=True, slots=True)
class Story:
    deliveries: Deliveries
    items: dict[str, set[Item]]
    met: Counter[str]
    log: str
    failures_counted: float  # of the destination
    went_on: int  # deliveries from the other shard while the destination failed
    stood: int  # from the shard whose discard waited
    documents: list[Any]


@pytest.fixture(scope="module")
def story(kinesalite_url: str, ministack_url: str) -> Story:
    with ExitStack() as stack:
        new_stream = stack.enter_context(streams(kinesalite_url))
        stage = Stage(
            {name: new_stream(2 if name == "discards" else 1, name) for name in STREAMS},
            {
                name: new_queue(ministack_url, fifo=name == FIFO, VisibilityTimeout=VISIBILITY)
                for name in QUEUES
            },
            new_queue(ministack_url),
        )
        stage.kinesis = stack.enter_context(faulty(kinesalite_url))
        stage.sqs = stack.enter_context(faulty(ministack_url))
        stage.stub = stack.enter_context(function(stage.deliveries))
        stage.weak = stack.enter_context(function(stage.deliveries))
        puts = {
            **{name: to_stream(kinesalite_url, it) for name, it in stage.streams.items()},
            **{name: to_queue(ministack_url, it) for name, it in stage.queues.items()},
        }
        running = stack.enter_context(poller(stage.config()))
        with produced(puts, keys=4, pause=0.25) as producers:
            for name in puts:
                eventually(partial(stage.deliveries.has_more, name, 0))
            to_stream(kinesalite_url, stage.streams["discards"])(POISON)
            went_on, stood = stage.faults(running)
            heard = {name: stage.deliveries.count(name) for name in puts}
            for name, count in heard.items():
                eventually(partial(stage.deliveries.has_more, name, count))
            stage.outage(running)
        items = {name: producer.items() for name, producer in producers.items()}
        for name, expected in items.items():
            stage.deliveries.await_all(name, expected)
        failures = running.metrics("poller_destination_failures_total", function="discards")
        documents: list[Any] = []
        eventually(lambda: _receive(ministack_url, stage.documents, documents) == len(POISON))
        running.kill()  # nothing is to be learnt from a slow stop
        log, met = running.log(), stage.met
    return Story(stage.deliveries, items, met, log, failures, went_on, stood, documents)


class Stage:
    """What goes wrong, and when."""

    kinesis: Proxy
    sqs: Proxy
    stub: Function
    weak: Function  # goes down

    def __init__(
        self, streams: dict[str, Stream], queues: dict[str, Queue], documents: Queue
    ) -> None:
        self.streams, self.queues, self.documents = streams, queues, documents
        self.deliveries = Deliveries(_answer)
        self._stream_faults = StreamFaults()
        self._queue_faults = QueueFaults(queues, documents)

    @property
    def met(self) -> Counter[str]:
        """How many faults each flow has met."""
        return self._stream_faults.met + self._queue_faults.met

    def config(self) -> dict[str, Any]:
        self.kinesis.script(self._stream_faults)
        self.sqs.script(self._queue_faults)
        made = config(
            self.stub.url,
            {name: it.arn for name, it in (self.streams | self.queues).items()},
            {"kinesis": self.kinesis.url, "sqs": self.sqs.url},
            discards={
                "MaximumRetryAttempts": 0,
                "BisectBatchOnFunctionError": True,
                "DestinationConfig": {"OnFailure": {"Destination": self.documents.arn}},
            },
        )
        for name in ("unreached", FIFO):
            made["functions"][name]["url"] = self.weak.url + name
        return made

    def faults(self, running: Running) -> tuple[int, int]:
        """Everything fails until it was noticed; how far the shards of `discards` got meanwhile."""
        self._stream_faults.on = self._queue_faults.on = True
        self.weak.down()
        for name in (*READING, *UNSEEN, *RECEIVING, *DELETING):
            eventually(lambda name=name: self.met[name] >= 3)
        for name in DELETING:
            eventually(partial(_counts, running, "poller_delete_failures_total", name))
        for name in ("unreached", FIFO):
            eventually(
                partial(_counts, running, "poller_invocations_total", name, outcome="refused")
            )
        eventually(partial(_counts, running, "poller_destination_failures_total", "discards"))
        stands, goes = self._shards_of_discards()
        before = self._delivered(stands), self._delivered(goes)
        eventually(lambda: self._delivered(goes) >= before[1] + 3)
        stood, went_on = self._delivered(stands) - before[0], self._delivered(goes) - before[1]
        self._stream_faults.on = self._queue_faults.on = False
        self.weak.up()
        return went_on, stood

    def outage(self, running: Running) -> None:
        """The servers are gone until all mappings have noticed, and come back."""
        before = {name: _failed_fetches(running, name) for name in (*STREAMS, *QUEUES)}
        self.kinesis.down()
        self.sqs.down()
        for name, count in before.items():
            if name != "discards":  # its lanes may have enough to do
                eventually(lambda name=name, count=count: _failed_fetches(running, name) > count)
        self.kinesis.up()
        self.sqs.up()

    def _shards_of_discards(self) -> tuple[str, str]:
        """The shard of the poison, and the other one."""
        deliveries = self.deliveries.of("discards")
        stands = next(each.shard for each in deliveries if POISON[0] in each.items)
        return stands, next(each.shard for each in deliveries if each.shard != stands)

    def _delivered(self, shard: str) -> int:
        return sum(each.shard == shard for each in self.deliveries.of("discards"))


def _answer(delivery: Delivery) -> functions.Answer:
    is_poisoned = any(item.key == "poison" for item in delivery.items)
    return functions.errored() if is_poisoned else functions.Answer()


def _counts(running: Running, metric: str, flow: str, **labels: str) -> bool:
    return running.metrics(metric, function=flow, **labels) > 0


def _failed_fetches(running: Running, flow: str) -> float:
    return running.metrics("poller_fetch_failures_total", function=flow)


def _receive(url: str, queue: Queue, found: list[Any]) -> int:
    """Add what is in the queue; how much has been found by now."""
    reply = aws("sqs", url).receive_message(QueueUrl=queue.url, MaxNumberOfMessages=10)
    found += [json.loads(message["Body"]) for message in reply.get("Messages", [])]
    return len(found)


def lines(log: str, flow: str, text: str) -> list[str]:
    """The lines about a flow's function that hold `text`."""
    of_flow = re.compile(rf"function={flow}(\s|$)")
    return [line for line in log.splitlines() if text in line and of_flow.search(line)]


@pytest.mark.parametrize("flow", [*STREAMS, *QUEUES])
def test_faults_lose_nothing(story: Story, flow: str) -> None:
    assert len(story.items[flow]) >= 20
    assert story.deliveries.missing(flow, story.items[flow]) == set()


@pytest.mark.parametrize("flow", [name for name in ORDERED if name != "discards"])
def test_faults_leave_the_order_of_each_key(story: Story, flow: str) -> None:
    assert story.deliveries.disorder(flow) == []


@pytest.mark.proves("S3.1.expired", "S3.1.throttled")
@pytest.mark.parametrize("flow", [*READING, *UNSEEN, "steady"])
def test_faults_of_reading_a_stream_repeat_nothing(story: Story, flow: str) -> None:
    assert story.deliveries.repeats(flow) == {}


@pytest.mark.parametrize("flow", [*READING, *UNSEEN, *RECEIVING, "steady"])
def test_an_episode_is_one_line_when_it_begins_and_one_when_it_ends(
    story: Story, flow: str
) -> None:
    began = lines(story.log, flow, " WARNING reading the source fails")
    ended = lines(story.log, flow, " INFO the source is read again")

    assert (len(began), len(ended)) == (1, 1)
    if flow not in RECEIVING:  # an outage may last longer than deletions are tried
        assert len(lines(story.log, flow, " WARNING ")) == 1


@pytest.mark.parametrize("flow", ["unreached", FIFO])
def test_a_function_that_is_down_is_one_line_and_one_when_it_is_back(
    story: Story, flow: str
) -> None:
    assert len(lines(story.log, flow, " WARNING the function is not reached")) == 1
    assert len(lines(story.log, flow, " INFO the function is reached again")) == 1


@pytest.mark.proves("S8.3.undeleted")
def test_messages_that_cannot_be_deleted_come_again_and_that_is_told_once(story: Story) -> None:
    assert story.deliveries.repeats("delete_broken")
    for flow in DELETING:
        assert len(lines(story.log, flow, " WARNING messages could not be deleted")) == 1
        assert len(lines(story.log, flow, " INFO messages are deleted again")) >= 1


def test_a_failing_destination_gets_its_documents_once_it_works(story: Story) -> None:
    sizes = [document["KinesisBatchInfo"]["batchSize"] for document in story.documents]
    conditions = {document["requestContext"]["condition"] for document in story.documents}
    said = [line for line in warnings(story.log) if "destination" in line and "broken" in line]

    assert sizes == [1] * len(POISON)
    assert conditions == {"RetryAttemptsExhausted"}
    assert story.failures_counted >= 1
    assert len(said) == story.failures_counted


def test_a_failing_destination_holds_up_its_own_shard_only(story: Story) -> None:
    assert story.stood == 0
    assert story.went_on >= 3


def test_twenty_flows_of_faults_are_told_in_few_lines(story: Story) -> None:
    assert len(warnings(story.log)) <= 2 * len(story.items)
