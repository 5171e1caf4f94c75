"""Numbered items through any kind of source, and what must hold of how they are delivered.

    deliveries = Deliveries()
    with function(deliveries) as stub, produced(Flow("orders", to_stream(url, stream))) as producer:
        ...                                 # a mapping delivers the stream to stub.url + "orders"
    deliveries.await_all("orders", producer.items())
    assert deliveries.disorder("orders") == []

An item is a key and a number that rises by one for each key, from 0.  Delivering to a path of the
stub of its own makes each flow known by its name.
"""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

from tests.functions import Answer, Call
from tests.servers import Queue, Stream, Table, aws, new_stream
from tests.waiting import eventually

JOIN_TIMEOUT = 20.0
SQS_ENTRIES_MAX = 10


class Item(NamedTuple):
    key: str
    number: int


Put = Callable[[Sequence[Item]], None]


# Writing.


def to_stream(url: str, stream: Stream) -> Put:
    """Puts items into a Kinesis stream, in order, their keys being partition keys."""

    def put(items: Sequence[Item]) -> None:
        records = [{"Data": _text(item).encode(), "PartitionKey": item.key} for item in items]
        reply = aws("kinesis", url).put_records(StreamName=stream.name, Records=records)
        assert reply["FailedRecordCount"] == 0, reply

    return put


def to_table(url: str, table: Table) -> Put:
    """Writes items to a table; each number of a key is a change of the same table item."""

    def put(items: Sequence[Item]) -> None:
        for item in items:
            row = {"id": {"S": item.key}, "number": {"N": str(item.number)}}
            aws("dynamodb", url).put_item(TableName=table.name, Item=row)

    return put


def to_queue(url: str, queue: Queue) -> Put:
    """Sends items to a queue; in a FIFO queue their keys are message groups."""

    def entry(index: int, item: Item) -> dict[str, str]:
        plain = {"Id": str(index), "MessageBody": _text(item)}
        if not queue.name.endswith(".fifo"):
            return plain
        unique = f"{item.key}-{item.number}"
        return {**plain, "MessageGroupId": item.key, "MessageDeduplicationId": unique}

    def put(items: Sequence[Item]) -> None:
        for start in range(0, len(items), SQS_ENTRIES_MAX):
            some = items[start : start + SQS_ENTRIES_MAX]
            entries = [entry(index, item) for index, item in enumerate(some)]
            reply = aws("sqs", url).send_message_batch(QueueUrl=queue.url, Entries=entries)
            assert not reply.get("Failed"), reply

    return put


def _text(item: Item) -> str:
    return json.dumps({"key": item.key, "number": item.number})


class Producer:
    """Puts the next number of every key, again and again, until `stop`."""

    def __init__(self, put: Put, keys: Sequence[str], pause: float) -> None:
        self._put = put
        self._keys = keys
        self._pause = pause
        self._rounds = 0
        self._enough = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def items(self) -> set[Item]:
        """All that has been put."""
        return {Item(key, number) for key in self._keys for number in range(self._rounds)}

    def put_more(self, rounds: int) -> None:
        """Return once every key has been put so often again."""
        goal = self._rounds + rounds
        eventually(lambda: self._rounds >= goal or self._error is not None)

    def stop(self) -> None:
        """Raises what a put raised."""
        self._enough.set()
        self._thread.join(JOIN_TIMEOUT)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._enough.is_set():
                self._put([Item(key, self._rounds) for key in self._keys])
                self._rounds += 1
                self._enough.wait(self._pause)
        except Exception as error:  # raised again by stop
            self._error = error


@contextlib.contextmanager
def produced(
    puts: Mapping[str, Put], *, keys: int = 8, pause: float = 0.05
) -> Iterator[dict[str, Producer]]:
    """A producer for each flow, all at the same time, until the block ends."""
    names = [f"key-{number}" for number in range(keys)]
    producers = {flow: Producer(put, names, pause) for flow, put in puts.items()}
    try:
        yield producers
    finally:
        for producer in producers.values():
            producer.stop()


@contextlib.contextmanager
def streams(url: str) -> Iterator[Callable[[int, str], Stream]]:
    """Makes Kinesis streams, of so many shards and with names that begin so, until the block ends.

    A server has a limit on shards, so they must not stay.
    """
    made: list[Stream] = []

    def make(shards: int, name: str) -> Stream:
        made.append(new_stream(url, shards, name=f"{name}-{uuid.uuid4().hex[:12]}"))
        return made[-1]

    try:
        yield make
    finally:
        for stream in made:
            aws("kinesis", url).delete_stream(StreamName=stream.name)


# Reading.


def item_of(record: Any) -> Item:
    """The item that a record of an event holds."""
    match record["eventSource"]:
        case "aws:kinesis":
            found = json.loads(base64.b64decode(record["kinesis"]["data"]))
        case "aws:dynamodb":
            image = record["dynamodb"]["NewImage"]
            return Item(image["id"]["S"], int(image["number"]["N"]))
        case "aws:sqs":
            found = json.loads(record["body"])
        case other:
            raise AssertionError(f"an event of {other}")
    return Item(found["key"], found["number"])


@dataclass(slots=True)
class Delivery:
    """One invocation: `shard` is that of Kinesis records, else empty."""

    call: Call
    flow: str
    shard: str
    items: tuple[Item, ...]
    succeeds: bool = True


@dataclass(slots=True)
class Deliveries:
    """What functions got, by flow; the callable that a stub asks for its answers.

    `decide` may fail a delivery: whatever is not the plain answer of 200 counts as a failure.
    """

    decide: Callable[[Delivery], Answer] = lambda _delivery: Answer()
    _all: dict[str, list[Delivery]] = field(default_factory=dict)
    _done: dict[str, set[Item]] = field(default_factory=dict)

    def __call__(self, call: Call) -> Answer:
        records = call.records
        is_kinesis = bool(records) and records[0]["eventSource"] == "aws:kinesis"
        shard = records[0]["eventID"].partition(":")[0] if is_kinesis else ""
        items = tuple(item_of(record) for record in records)
        delivery = Delivery(call, call.path.strip("/"), shard, items)
        answer = self.decide(delivery)
        delivery.succeeds = answer.status == 200 and not answer.headers and not answer.cut
        self._all.setdefault(delivery.flow, []).append(delivery)
        if delivery.succeeds:
            self._done.setdefault(delivery.flow, set()).update(items)
        return answer

    def of(self, flow: str) -> list[Delivery]:
        """In the order of arrival."""
        return list(self._all.get(flow, ()))

    def count(self, flow: str) -> int:
        return len(self._all.get(flow, ()))

    def has_more(self, flow: str, count: int) -> bool:
        return self.count(flow) > count

    def missing(self, flow: str, items: Collection[Item]) -> set[Item]:
        """Which of `items` no invocation has finished."""
        return set(items) - self._done.get(flow, set())

    def await_all(self, flow: str, items: Collection[Item], timeout: float = 30.0) -> None:
        """Return once nothing is missing."""
        try:
            eventually(lambda: not self.missing(flow, items), timeout)
        except AssertionError:
            missing = sorted(self.missing(flow, items))
            raise AssertionError(f"{flow}: {len(missing)} missing: {missing[:10]}") from None

    def repeats(self, flow: str) -> dict[Item, int]:
        """Items that were delivered more than once, and how often."""
        counted = Counter(item for delivery in self.of(flow) for item in delivery.items)
        return {item: times for item, times in counted.items() if times > 1}

    def repeats_beyond_the_last_batch(
        self, flow: str, ends: Sequence[int], places: Callable[[Delivery], Collection[str]]
    ) -> list[str]:
        """Items that came again although, when their run ended, a later batch of their place had
        begun.

        A batch begins only once what went before it is durable.  `ends`: how many deliveries there
        had been by the end of each run; `places` of a delivery are its shard or its keys.
        """
        wrong = []
        seen: set[Item] = set()
        last: dict[str, set[Item]] = {}
        all_deliveries = self.of(flow)
        for start, end in pairwise([0, *ends, len(all_deliveries)]):
            last_before, seen_before = dict(last), set(seen)
            seen_now: set[Item] = set()
            for delivery in all_deliveries[start:end]:
                may_repeat = set[Item]().union(
                    *(last_before.get(it, ()) for it in places(delivery))
                )
                again = set(delivery.items) & (seen_before | seen_now)
                if too_many := again & seen_now | (again - may_repeat):
                    wrong.append(f"call {delivery.call.number}: {sorted(too_many)}")
                seen_now |= set(delivery.items)
                last.update({place: set(delivery.items) for place in places(delivery)})
            seen |= seen_now
        return wrong

    def disorder(self, flow: str) -> list[str]:
        """Where a key was out of order: nothing runs before what is older has succeeded.

        What is repeated may go back, but from there on in order again.
        """
        found = []
        done: Counter[str] = Counter()  # the numbers of a key that have succeeded
        ends: dict[str, float] = {}
        for delivery in self.of(flow):
            for key, numbers in _numbers(delivery.items).items():
                if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
                    found.append(f"call {delivery.call.number}: {key} {numbers}")
                if numbers[0] > done[key]:
                    found.append(f"call {delivery.call.number}: {key} {numbers} after {done[key]}")
                if delivery.call.started < ends.get(key, 0.0):
                    found.append(f"call {delivery.call.number}: {key} runs twice at one time")
                ends[key] = delivery.call.ended or float("inf")
                if delivery.succeeds:
                    done[key] = max(done[key], numbers[-1] + 1)
        return found


def by_shard(delivery: Delivery) -> Collection[str]:
    return [delivery.shard]


def by_key(delivery: Delivery) -> Collection[str]:
    return {item.key for item in delivery.items}


def _numbers(items: Sequence[Item]) -> dict[str, list[int]]:
    """The numbers of each key."""
    found: dict[str, list[int]] = {}
    for key, number in items:
        found.setdefault(key, []).append(number)
    return found


# Configs.


def config(
    url: str, arns: Mapping[str, str], endpoints: Mapping[str, str], **settings: Mapping[str, Any]
) -> dict[str, Any]:
    """A config that delivers each flow of `arns` (its source) to the path `url` + its name.

    Streams begin at TRIM_HORIZON; `settings` are further settings of a mapping, by flow.
    """
    mappings = [
        {
            "EventSourceArn": arn,
            "FunctionName": flow,
            **({} if ":sqs:" in arn else {"StartingPosition": "TRIM_HORIZON"}),
            **settings.get(flow, {}),
        }
        for flow, arn in arns.items()
    ]
    return {
        "aws": {"region": "us-east-1", "endpoints": dict(endpoints)},
        "functions": {flow: {"url": url + flow, "timeout": 2} for flow in arns},
        "mappings": mappings,
    }


def warnings(log: str) -> list[str]:
    """The lines of a log at level warning or above."""
    levels = (" WARNING ", " ERROR ", " CRITICAL ")
    return [line for line in log.splitlines() if any(level in line for level in levels)]
