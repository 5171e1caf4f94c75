"""Lanes through one poller process: each a queue, a mapping and a function for one test.

All messages are sent before poller starts, so that what has to wait for visibility timeouts waits
at the same time, and tests look at what came of it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.functions import Answer, Call, Function, function
from tests.outside.by_api import created
from tests.outside.poller_process import Running
from tests.outside.watched import Mapped, config, uuid_of, watched
from tests.servers import Queue, aws, new_queue
from tests.waiting import eventually

SEND_MAX = 10  # entries of one SendMessageBatch


def success(_call: Call) -> Answer:
    return Answer()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A lane; `messages`: bodies, or whole entries of SendMessageBatch without an Id."""

    messages: Sequence[str | Mapping[str, Any]]
    answers: Callable[[Call], Answer] = success
    settings: Mapping[str, Any] = field(default_factory=dict)
    visibility: int = 30
    fifo: bool = False
    receives_max: int | None = None  # then a message goes to a dead-letter queue
    timeout: float = 1  # of the function


@dataclass(frozen=True, slots=True)
class Lane:
    """`sent`: what SQS answered for each message, in order."""

    url: str
    queue: Queue
    dead: Queue | None
    function: Function
    sent: Sequence[Mapping[str, Any]]

    @property
    def records(self) -> list[Any]:
        return self.function.records

    @property
    def counts(self) -> dict[str, list[str]]:
        """The ApproximateReceiveCount of each delivery, by body."""
        found: dict[str, list[str]] = {}
        for record in self.records:
            count = record["attributes"]["ApproximateReceiveCount"]
            found.setdefault(record["body"], []).append(count)
        return found

    def batches(self) -> list[list[str]]:
        """The bodies of each call."""
        return [[record["body"] for record in call.records] for call in tuple(self.function.calls)]

    def empties(self) -> None:
        """Wait until the queue holds nothing, neither waiting nor in flight."""
        eventually(lambda: left_in(self.url, self.queue) == (0, 0))


@dataclass(frozen=True, slots=True)
class Lanes:
    running: Running
    by_name: Mapping[str, Lane]

    def __getitem__(self, name: str) -> Lane:
        return self.by_name[name]

    def metric(self, lane: str, name: str, **labels: str) -> float:
        uuid = uuid_of(self.running, self.by_name[lane].queue.arn)
        return self.running.metrics(name, mapping=uuid, **labels)


@contextlib.contextmanager
def lanes(url: str, wanted: Mapping[str, Wanted], *, by_api: bool = False) -> Iterator[Lanes]:
    """All lanes, on the SQS server at `url`, with poller at work on them.

    Mappings are in its config file, or are made through its API.
    """
    with contextlib.ExitStack() as stack:
        made = {
            name: _lane(url, one, stack.enter_context(function(one.answers)))
            for name, one in wanted.items()
        }
        mapped = [
            Mapped(lane.queue.arn, lane.function, wanted[name].settings, wanted[name].timeout)
            for name, lane in made.items()
        ]
        settings = config(url, *mapped)
        mappings = settings["mappings"]
        if by_api:
            settings["mappings"] = []
        running = stack.enter_context(watched(settings))
        if by_api:
            for each in mappings:
                created(running, **each)
        yield Lanes(running, made)


def _lane(url: str, wanted: Wanted, stub: Function) -> Lane:
    dead = None
    attributes = {"VisibilityTimeout": str(wanted.visibility)}
    if wanted.receives_max is not None:
        dead = new_queue(url, fifo=wanted.fifo)
        policy = {"deadLetterTargetArn": dead.arn, "maxReceiveCount": str(wanted.receives_max)}
        attributes["RedrivePolicy"] = json.dumps(policy)
    queue = new_queue(url, fifo=wanted.fifo, **attributes)
    return Lane(url, queue, dead, stub, send(url, queue, *wanted.messages))


def send(url: str, queue: Queue, *messages: str | Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What SQS answers for each, in order."""
    entries = [
        {"Id": str(index), **({"MessageBody": message} if isinstance(message, str) else message)}
        for index, message in enumerate(messages)
    ]
    answers: dict[str, Mapping[str, Any]] = {}
    for start in range(0, len(entries), SEND_MAX):
        part = entries[start : start + SEND_MAX]
        reply = aws("sqs", url).send_message_batch(QueueUrl=queue.url, Entries=part)
        answers |= {answer["Id"]: answer for answer in reply["Successful"]}
    return [answers[entry["Id"]] for entry in entries]


def left_in(url: str, queue: Queue) -> tuple[int, int]:
    """How many messages wait in a queue, and how many are in flight."""
    names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    found = aws("sqs", url).get_queue_attributes(QueueUrl=queue.url, AttributeNames=list(names))
    waiting, in_flight = (int(found["Attributes"][name]) for name in names)
    return waiting, in_flight


def drained(url: str, queue: Queue) -> list[Any]:
    """The messages that can be received now; they are deleted."""
    sqs, found = aws("sqs", url), []
    while received := sqs.receive_message(
        QueueUrl=queue.url, MaxNumberOfMessages=10, AttributeNames=["All"]
    ).get("Messages"):
        for message in received:
            sqs.delete_message(QueueUrl=queue.url, ReceiptHandle=message["ReceiptHandle"])
        found += received
    return found
