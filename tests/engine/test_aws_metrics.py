"""AWS's metrics of a mapping (spec 11.1) after known scripts, through the whole engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from poller.core.model import Fate
from poller.engine.specs import QueueSpec, StreamSpec
from poller.interfaces import Errored, NotReached, Ran, Reply
from poller.observe.cloudwatch import EventMetrics
from poller.observe.tally import Tally
from poller.sources.memory import MemoryStream
from poller.sources.memory_queue import MemoryQueue
from tests.engine.worlds import Call, make_world, until
from tests.observe.values import reports

pytestmark = [pytest.mark.looptime, pytest.mark.proves("MetricsConfig")]


class Scene:
    """A world with one mapping that publishes; `metrics` is what CloudWatch would have of it."""

    def __init__(self) -> None:
        self.tally = Tally()
        publishing: dict[str, str] = {}
        self.metrics = EventMetrics(self.tally, publishing)
        self.world = make_world(None, self.tally, self.metrics)
        publishing |= {"uuid-1": "us-east-1", "uuid-2": "us-east-1"}
        self.stream = MemoryStream(now=self.world.shared.clock.now)
        self.queue = MemoryQueue(now=self.world.shared.clock.now)

    def put(self, *bodies: str) -> None:
        for body in bodies:
            self.stream.put("key", body)

    def send(self, *bodies: str, group: str | None = None) -> list[str]:
        return [self.queue.send(body, group=group) for body in bodies]

    def replies(self, *replies: Reply | Sequence[str]) -> None:
        """What the first calls get: a reply, or the bodies they report as failed; then success."""
        left = iter(replies)

        def answer(call: Call) -> Reply:
            reply = next(left, Ran(b""))
            return reply if isinstance(reply, Ran | Errored | NotReached) else reported(call, reply)

        self.world.function.answer = answer

    def counted(self) -> dict[str, float]:
        """The metrics that are not 0, but for the iterator age."""
        return {
            datum["MetricName"]: datum["Value"]
            for report in reports(self.metrics)
            for datum in report.metric_data(datetime.now(UTC))
            if datum.get("Value")
        }

    async def run(
        self, spec: StreamSpec | QueueSpec, *, seconds: float = 300.0
    ) -> dict[str, float]:
        """The metrics once the function was left in peace for a while."""
        async with self.world.running(spec):
            await asyncio.sleep(seconds)
        return self.counted()


def reported(call: Call, bodies: Sequence[str]) -> Reply:
    names = [
        record.get("messageId", record.get("sequence"))
        for record in call.records
        if record.get("data", record.get("body")) in bodies
    ]
    failures = [{"itemIdentifier": name} for name in names]
    return Ran(json.dumps({"batchItemFailures": failures}).encode())


BOOM = Errored("E", "no")
BUSY = NotReached("429", throttled=True)
STREAM_SCRIPTS: dict[str, tuple[dict[str, Any], tuple[Any, ...], dict[str, float]]] = {
    "success": (
        {},
        (),
        {"PolledEventCount": 6, "InvokedEventCount": 6},
    ),
    "a-retry-counts-again": (
        {},
        (BOOM, BOOM),
        {"PolledEventCount": 6, "InvokedEventCount": 12, "FailedInvokeEventCount": 6},
    ),
    "a-throttle-counts-as-sent-and-failed": (
        {"retries_max": 0},
        (BUSY, BUSY, BUSY),
        {"PolledEventCount": 6, "InvokedEventCount": 15, "FailedInvokeEventCount": 9},
    ),
    "a-reported-failure-counts-the-whole-batch": (
        {"reporting": True},
        (["b"],),  # [a, b, c], then [b, c]
        {"PolledEventCount": 6, "InvokedEventCount": 8, "FailedInvokeEventCount": 3},
    ),
    "a-response-that-condemns-the-batch": (
        {"reporting": True},
        (Ran(b'{"batchItemFailures":[{"itemIdentifier":""}]}'),),
        {"PolledEventCount": 6, "InvokedEventCount": 9, "FailedInvokeEventCount": 3},
    ),
    "a-reported-failure-without-the-setting": (
        {},
        (["b"],),
        {"PolledEventCount": 6, "InvokedEventCount": 6},
    ),
    "given-up-to-a-destination": (
        {"retries_max": 1},
        (BOOM, BOOM),
        {
            "PolledEventCount": 6,
            "InvokedEventCount": 9,
            "FailedInvokeEventCount": 6,
            "OnFailureDestinationDeliveredEventCount": 3,
        },
    ),
    "given-up-after-progress": (
        {"retries_max": 0, "reporting": True},
        (["b"], ["b"]),
        {
            "PolledEventCount": 6,
            "InvokedEventCount": 8,
            "FailedInvokeEventCount": 5,
            "OnFailureDestinationDeliveredEventCount": 2,
        },
    ),
    "given-up-without-a-destination": (
        {"retries_max": 0, "destination": None},
        (BOOM,),
        {
            "PolledEventCount": 6,
            "InvokedEventCount": 6,
            "FailedInvokeEventCount": 3,
            "DroppedEventCount": 3,
        },
    ),
    "given-up-to-a-destination-that-fails": (
        {"retries_max": 0, "fate": Fate.KEPT},
        (BOOM,),
        {
            "PolledEventCount": 6,
            "InvokedEventCount": 6,
            "FailedInvokeEventCount": 3,
            "DroppedEventCount": 3,
        },
    ),
    "a-split": (
        {"retries_max": 0, "bisect": True, "batch_size": 6},
        (BOOM, BOOM, BOOM),  # [a..f], [a, b, c], [a]; then [b, c] and [d, e, f]
        {
            "PolledEventCount": 6,
            "InvokedEventCount": 15,
            "FailedInvokeEventCount": 10,
            "OnFailureDestinationDeliveredEventCount": 1,
        },
    ),
}


@pytest.mark.proves("S11.1.counts")
@pytest.mark.parametrize("name", STREAM_SCRIPTS)
async def test_a_stream_counts_as_aws_does(name: str) -> None:
    settings, replies, expected = STREAM_SCRIPTS[name]
    settings = {"batch_size": 3, **settings}
    scene = Scene()
    scene.world.fate = settings.pop("fate", Fate.SENT)
    destination = {"destination": settings.pop("destination")} if "destination" in settings else {}
    scene.put(*"abcdef")
    scene.replies(*replies)
    spec = replace(scene.world.stream_spec(scene.stream, **settings), **destination)
    assert await scene.run(spec) == expected


@pytest.mark.parametrize(
    ("destination", "metric"),
    [(None, "DroppedEventCount"), ("arn", "OnFailureDestinationDeliveredEventCount")],
)
async def test_records_too_old_to_be_sent_are_given_up_without_being_invoked(
    destination: str | None, metric: str
) -> None:
    scene = Scene()
    scene.put("old", "old")
    await asyncio.sleep(80)
    scene.put("new")
    spec = scene.world.stream_spec(scene.stream, record_age_max=60.0)
    counted = await scene.run(replace(spec, destination=destination))
    assert counted == {"PolledEventCount": 3, "InvokedEventCount": 1, metric: 2}


def without_d(event: Callable[[Any], bytes]) -> Callable[[Any], bool]:
    """A filter that records with the body "d" do not match."""
    return lambda record: b'"d"' not in event(record)


async def test_filtered_records_are_polled_and_nothing_else() -> None:
    scene = Scene()
    scene.put(*"dabd")
    spec = replace(scene.world.stream_spec(scene.stream), make_accept=without_d)
    assert await scene.run(spec) == {
        "PolledEventCount": 4,
        "FilteredOutEventCount": 2,
        "InvokedEventCount": 2,
    }


async def test_filtered_messages_are_deleted_too() -> None:
    scene = Scene()
    scene.send(*"dab")
    spec = replace(scene.world.queue_spec(scene.queue), make_accept=without_d)
    assert await scene.run(spec, seconds=20) == {
        "PolledEventCount": 3,
        "FilteredOutEventCount": 1,
        "InvokedEventCount": 2,
        "DeletedEventCount": 3,
    }


async def test_what_left_the_source_unread_is_in_no_metric() -> None:
    scene = Scene()
    scene.put("lost", "lost")
    await asyncio.sleep(10)
    scene.put("kept")
    scene.stream.trim(scene.world.shared.clock.now())
    counted = await scene.run(scene.world.stream_spec(scene.stream))
    assert counted == {"PolledEventCount": 1, "InvokedEventCount": 1}


async def test_an_empty_poll_is_a_zero_and_not_nothing() -> None:
    scene = Scene()
    async with scene.world.running(scene.world.stream_spec(scene.stream)):
        await asyncio.sleep(10)
    assert scene.tally.of_mapping("uuid-1").fetches > 5
    names = {name for each in reports(scene.metrics) for name in each.mappings["uuid-1"].sums}
    assert names == {"PolledEventCount", "FilteredOutEventCount"}


async def test_a_failed_invocation_counts_when_it_ends() -> None:
    scene = Scene()
    scene.put("a")
    scene.world.function.duration = 100.0
    scene.replies(BOOM)
    async with scene.world.running(scene.world.stream_spec(scene.stream)):
        await asyncio.sleep(50)
        assert scene.counted() == {"PolledEventCount": 1, "InvokedEventCount": 1}
        await asyncio.sleep(50.5)
        assert scene.counted()["FailedInvokeEventCount"] == 1


async def test_the_iterator_age_is_how_old_the_last_record_of_each_batch_was_when_sent() -> None:
    scene = Scene()
    scene.put("a")
    await asyncio.sleep(4)
    scene.put("b")
    scene.world.function.duration = 20.0
    spec = scene.world.stream_spec(scene.stream, batch_size=1)
    async with scene.world.running(spec):
        await until(lambda: len(scene.world.function.calls) == 2)
    (report,) = reports(scene.metrics)
    ages = report.mappings["uuid-1"].ages
    assert ages.count == 2
    assert ages.lowest == pytest.approx(4_000, abs=100)  # a, sent at once
    assert ages.highest == pytest.approx(20_000, abs=100)  # b, after the 20 s of a


QUEUE_SCRIPTS: dict[str, tuple[dict[str, Any], tuple[Any, ...], dict[str, float]]] = {
    "success": (
        {},
        (),
        {"PolledEventCount": 3, "InvokedEventCount": 3, "DeletedEventCount": 3},
    ),
    "a-failure-comes-again": (
        {},
        (BOOM,),
        {
            "PolledEventCount": 6,
            "InvokedEventCount": 6,
            "FailedInvokeEventCount": 3,
            "DeletedEventCount": 3,
        },
    ),
    "a-throttle-is-sent-again-and-not-polled-again": (
        {},
        (BUSY, BUSY),
        {
            "PolledEventCount": 3,
            "InvokedEventCount": 9,
            "FailedInvokeEventCount": 6,
            "DeletedEventCount": 3,
        },
    ),
    "a-reported-failure-counts-the-whole-batch": (
        {"reporting": True},
        (["b"],),
        {
            "PolledEventCount": 4,
            "InvokedEventCount": 4,
            "FailedInvokeEventCount": 3,
            "DeletedEventCount": 3,
        },
    ),
}


@pytest.mark.proves("S11.1.counts")
@pytest.mark.parametrize("name", QUEUE_SCRIPTS)
async def test_a_queue_counts_as_aws_does(name: str) -> None:
    settings, replies, expected = QUEUE_SCRIPTS[name]
    scene = Scene()
    scene.send(*"abc")
    scene.replies(*replies)
    spec = scene.world.queue_spec(scene.queue, batch_size=10, run_time_max=3.0, **settings)
    assert await scene.run(spec, seconds=100) == expected


async def test_messages_that_cannot_be_deleted_are_not_counted_as_deleted() -> None:
    scene = Scene()
    scene.send(*"abc")

    def answer(call: Call) -> Reply:
        scene.queue.outage = "down"
        return Ran(b"")

    scene.world.function.answer = answer
    counted = await scene.run(scene.world.queue_spec(scene.queue), seconds=20)
    assert counted == {"PolledEventCount": 3, "InvokedEventCount": 3}
    assert scene.tally.of_mapping("uuid-2").delete_failures == 3
