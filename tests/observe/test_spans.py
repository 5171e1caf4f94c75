"""Spans of what the machines do, over memory adapters, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from poller.core.model import Batch, ClosedBy, MessageBatch
from poller.core.steps import Invoke, InvokeMessages, Started
from poller.interfaces import Errored, Invocation, NotReached, Ran, Reply
from poller.observe.poll_spans import LINKS_MAX
from poller.observe.spans import Spans
from poller.sources.memory import MemoryStream
from poller.sources.memory_queue import MemoryMessage, MemoryQueue
from poller.wire.traces import SpanContext
from tests.engine.worlds import Answer, Call, World, make_world, until
from tests.observe.recorded import MemoryRecorder, Recorded
from tests.observe.values import NOW, SHARD, records
from tests.observe.values import QUEUE as QUEUE_UNIT

pytestmark = pytest.mark.looptime

ONE = SpanContext("5759e988bd862e3fe1be46a994272793", "53995c3f42cd8ad8", True, elsewhere=True)
SAME_TRACE = replace(ONE, span_id="00000000000000aa")
OTHER = SpanContext("6553f100bd862e3fe1be46a994272793", "00000000000000bb", False, elsewhere=True)


class Traced:
    """A world whose engine is traced; `told` are the invocations, as the function got them."""

    def __init__(self) -> None:
        self.recorder = MemoryRecorder()
        self.spans = Spans(self.recorder)
        self.told: list[Invocation] = []
        world = make_world()
        shared = replace(world.shared, observers=(self.spans,), tracer=self.spans)
        self.function = world.function
        self.world: World = replace(world, shared=shared, function=self)  # type: ignore[arg-type]

    async def invoke(self, invocation: Invocation) -> Reply:
        self.told.append(invocation)
        return await self.function.invoke(invocation)

    @property
    def now(self) -> float:
        return self.world.shared.clock.now()


@pytest.fixture
async def traced() -> Traced:
    return Traced()


def replies(*first: Reply) -> Answer:
    """These, and then successes."""
    left: Iterator[Reply] = iter(first)
    return lambda call: next(left, Ran(b""))


def is_child(span: Recorded, parent: Recorded) -> bool:
    return span.parent == parent.context and span.context.trace_id == parent.context.trace_id


async def test_a_stream_batch_is_a_trace_with_its_invocation_linked_to_its_poll(
    traced: Traced,
) -> None:
    stream = MemoryStream(now=lambda: traced.now)
    async with traced.world.running(traced.world.stream_spec(stream, batch_window=5.0)):
        await asyncio.sleep(3)
        first, last = stream.put("a"), stream.put("b")
        await until(lambda: len(traced.function.seen) == 2)
    (poll,), (batch,), (invocation,) = map(traced.recorder.of, ("poll", "process", "invoke"))
    common = {
        "messaging.system": "aws_kinesis",
        "messaging.destination.name": "orders",
        "messaging.destination.partition.id": next(iter(stream.logs)),
        "aws.lambda.resource_mapping.id": "uuid-1",
        "messaging.batch.message_count": 2,
    }
    assert (poll.name, poll.kind, poll.parent, poll.links) == ("poll orders", "client", None, ())
    assert poll.attributes == {
        **common,
        "messaging.operation.name": "poll",
        "messaging.operation.type": "receive",
    }
    assert (batch.name, batch.kind, batch.parent) == ("process orders", "consumer", None)
    assert batch.links == (poll.context,)
    assert batch.attributes == {
        **common,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "poller.batch.closed_by": "window",
        "poller.batch.first_sequence": first.sequence,
        "poller.batch.last_sequence": last.sequence,
    }
    assert (invocation.name, invocation.kind) == ("invoke work", "client")
    assert is_child(invocation, batch)
    (told,) = traced.told
    assert invocation.attributes == {
        **common,
        "faas.invoked_name": "work",
        "faas.trigger": "pubsub",
        "faas.invocation_id": told.request_id,
        "poller.attempt": 1,
    }
    assert told.trace_id == invocation.context.xray
    assert told.traceparent == invocation.context.traceparent
    assert batch.began == poll.ended, "a batch begins when its first record was read"
    assert invocation.began == pytest.approx(batch.began + 5.0)
    assert invocation.ended == batch.ended == pytest.approx(invocation.began + 0.01)
    assert [span.error for span in traced.recorder.spans] == ["", "", ""]


async def test_an_idle_shard_and_an_empty_queue_make_no_spans(traced: Traced) -> None:
    stream, queue = MemoryStream(now=lambda: traced.now), MemoryQueue(now=lambda: traced.now)
    async with traced.world.running(
        traced.world.stream_spec(stream), traced.world.queue_spec(queue)
    ):
        await asyncio.sleep(120)
    assert traced.recorder.spans == []


async def test_tries_of_a_batch_are_invocations_of_one_span(traced: Traced) -> None:
    stream = MemoryStream(now=lambda: traced.now)
    stream.put("a", "1")
    traced.function.answer = replies(Errored("ValueError", "no"), NotReached("away"))
    async with traced.world.running(traced.world.stream_spec(stream)):
        await until(lambda: len(traced.function.calls) == 3)
    (batch,) = traced.recorder.of("process")
    tries = traced.recorder.children(batch)
    assert [(span.attributes["poller.attempt"], span.error) for span in tries] == [
        (1, "ValueError: no"),
        (2, "away"),
        (3, ""),
    ]
    assert [span.attributes.get("error.type") for span in tries] == [
        "ValueError",
        "not_reached",
        None,
    ]
    assert (batch.ended, batch.error) == (tries[-1].ended, "")


async def test_halves_and_rests_of_a_batch_belong_to_its_span(traced: Traced) -> None:
    stream = MemoryStream(now=lambda: traced.now)
    for number in range(8):
        stream.put("a", str(number))

    def answer(call: Call) -> Reply:
        return Errored("E", "no") if len(call.records) > 2 else Ran(b"")

    traced.function.answer = answer
    async with traced.world.running(traced.world.stream_spec(stream, bisect=True, batch_size=6)):
        await until(lambda: len(traced.function.calls) == 8)
    sizes = [
        [
            each.attributes["messaging.batch.message_count"]
            for each in traced.recorder.children(span)
        ]
        for span in traced.recorder.of("process")
    ]
    assert sizes == [[6, 3, 1, 2, 3, 1, 2], [2]]
    assert not traced.recorder.open


async def test_records_that_are_given_up_are_an_error_of_their_batch(traced: Traced) -> None:
    stream = MemoryStream(now=lambda: traced.now)
    stream.put("a", "1")
    traced.function.answer = lambda call: Errored("E", "no")
    async with traced.world.running(traced.world.stream_spec(stream, retries_max=1)):
        await until(lambda: bool(traced.world.failures))
        await asyncio.sleep(1)
    (batch,) = traced.recorder.of("process")
    assert len(traced.recorder.children(batch)) == 2
    ((event, attributes, at),) = batch.events
    assert (event, at) == ("records are given up", batch.ended)
    assert attributes == {
        "poller.discard.reason": "RetryAttemptsExhausted",
        "poller.discard.fate": "sent",
        "poller.discard.record_count": 1,
    }
    assert batch.error == "records are given up: RetryAttemptsExhausted"


async def test_a_record_too_old_to_be_tried_has_a_span_all_the_same(traced: Traced) -> None:
    stream = MemoryStream(now=lambda: traced.now)
    stream.put("a", "old")
    await asyncio.sleep(100)
    stream.put("a", "new")
    async with traced.world.running(traced.world.stream_spec(stream, record_age_max=60.0)):
        await until(lambda: traced.function.seen == ["new"])
    old, new = traced.recorder.of("process")
    assert (traced.recorder.children(old), old.error) == (
        [],
        "records are given up: RecordAgeExceeded",
    )
    assert (len(traced.recorder.children(new)), new.error) == (1, "")


async def test_the_final_invocation_of_a_window_is_a_batch_of_its_own(traced: Traced) -> None:
    stream = MemoryStream(now=lambda: traced.now)
    stream.put("a", "1")
    finals = iter([Errored("E", "no")])

    def answer(call: Call) -> Reply:
        done = Ran(b'{"state": {}}')
        return done if call.records else next(finals, done)

    traced.function.answer = answer
    spec = traced.world.stream_spec(stream, tumbling_window=10.0)
    async with traced.world.running(spec):
        await until(lambda: len(traced.function.calls) == 3)
        await asyncio.sleep(1)
    records_, final = traced.recorder.of("process")
    assert len(traced.recorder.children(records_)) == 1
    assert [span.error for span in traced.recorder.children(final)] == ["E: no", ""]
    assert final.attributes["messaging.batch.message_count"] == 0
    assert not traced.recorder.open


async def test_a_batch_of_one_trace_goes_on_with_it(traced: Traced) -> None:
    queue = MemoryQueue(now=lambda: traced.now)
    queue.send("a", trace_header=f"{ONE.xray};Lineage=x:1")
    queue.send("b", traceparent=SAME_TRACE.traceparent, trace_header=OTHER.xray)
    async with traced.world.running(traced.world.queue_spec(queue)):
        await until(lambda: not queue.waiting)
    (poll,), (batch,), (invocation,) = map(traced.recorder.of, ("poll", "process", "invoke"))
    assert (poll.parent, poll.links) == (None, (ONE, SAME_TRACE))
    assert (batch.parent, batch.links) == (ONE, (poll.context, ONE, SAME_TRACE))
    assert is_child(invocation, batch)
    (told,) = traced.told
    assert told.trace_id.startswith("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=0")
    assert batch.attributes["messaging.system"] == "aws_sqs"


async def test_a_batch_of_several_traces_is_one_that_links_to_them(traced: Traced) -> None:
    queue = MemoryQueue(now=lambda: traced.now)
    queue.send("a", trace_header=ONE.xray)
    queue.send("b", traceparent=OTHER.traceparent)
    queue.send("c", traceparent="garbage", trace_header="garbage")
    async with traced.world.running(traced.world.queue_spec(queue)):
        await until(lambda: not queue.waiting)
    (poll,), (batch,) = map(traced.recorder.of, ("poll", "process"))
    assert (batch.parent, batch.links) == (None, (poll.context, ONE, OTHER))


async def test_messages_that_failed_are_an_error_of_their_batch(traced: Traced) -> None:
    queue = MemoryQueue(now=lambda: traced.now)
    queue.send("a")
    names = [queue.send("b"), queue.send("c")]
    failed = ",".join(f'{{"itemIdentifier": "{name}"}}' for name in names)
    traced.function.answer = replies(
        Ran(f'{{"batchItemFailures": [{failed}]}}'.encode()), Errored("E", "no")
    )
    async with traced.world.running(traced.world.queue_spec(queue, reporting=True)):
        await until(lambda: not queue.waiting)
    assert [span.error for span in traced.recorder.of("process")] == [
        "2 messages failed and come again",
        "E: no",
        "",
    ]
    partly, *_ = traced.recorder.of("invoke")
    assert (partly.error, partly.attributes["poller.failed_count"]) == ("", 2)


async def test_a_refused_batch_of_messages_is_one_span_until_it_runs(traced: Traced) -> None:
    queue = MemoryQueue(now=lambda: traced.now, visibility=300.0)
    queue.send("a")
    traced.function.answer = replies(NotReached("busy", throttled=True))
    async with traced.world.running(traced.world.queue_spec(queue)):
        await until(lambda: not queue.waiting)
    (batch,) = traced.recorder.of("process")
    assert [span.error for span in traced.recorder.children(batch)] == ["busy", ""]
    assert batch.error == ""


async def test_a_refused_batch_that_was_forgotten_ends_when_others_have_it(traced: Traced) -> None:
    queue = MemoryQueue(now=lambda: traced.now, visibility=10.0)
    queue.send("a")
    traced.function.answer = replies(*[NotReached("busy")] * 20)
    async with traced.world.running(traced.world.queue_spec(queue)):
        await until(lambda: not queue.waiting)
    first, *_, last = traced.recorder.of("process")
    assert first.error == "the function was not reached in time"
    assert last.error == ""
    assert not traced.recorder.open


async def test_a_source_that_cannot_be_read_is_a_failed_poll(traced: Traced) -> None:
    stream, queue = MemoryStream(now=lambda: traced.now), MemoryQueue(now=lambda: traced.now)
    specs = traced.world.stream_spec(stream), traced.world.queue_spec(queue)
    async with traced.world.running(*specs):
        await asyncio.sleep(5)
        stream.outage = queue.outage = "down"
        await until(lambda: len({span.name for span in traced.recorder.spans}) == 2)
        stream.outage = queue.outage = None
    found = {
        (span.name, span.error, span.attributes["error.type"]) for span in traced.recorder.spans
    }
    assert found == {("poll orders", "down", "_OTHER"), ("poll jobs", "down", "_OTHER")}


async def test_stopping_leaves_no_span_open(traced: Traced) -> None:
    stream, queue = MemoryStream(now=lambda: traced.now), MemoryQueue(now=lambda: traced.now)
    stream.put("a")
    queue.send("b")
    traced.function.answer = lambda call: NotReached("away")
    specs = traced.world.stream_spec(stream), traced.world.queue_spec(queue)
    async with traced.world.running(*specs):
        await until(lambda: len(traced.function.calls) == 4)
    assert not traced.recorder.open
    assert {span.error for span in traced.recorder.of("process")} == {
        "stopped before it was settled"
    }


def test_a_machine_that_ended_by_accident_leaves_no_span_open() -> None:
    recorder = MemoryRecorder()
    spans = Spans(recorder)
    batch = Batch(1, 0, records(2), (0, 1), ClosedBy.COUNT)
    for end in (
        lambda: spans.saw(SHARD, Started(), [], NOW + 2),
        lambda: spans.forget(SHARD.mapping),
        spans.close,
    ):
        spans.saw(SHARD, Started(), [Invoke(batch)], NOW)
        assert len(recorder.open) == 2
        end()
        assert not recorder.open


def test_links_are_bounded() -> None:
    recorder = MemoryRecorder()
    contexts = [replace(ONE, trace_id=f"{number:032x}") for number in range(1, 200)]
    of = [MemoryMessage(str(i), "r", None, "", 1, each.xray) for i, each in enumerate(contexts)]
    batch = MessageBatch(1, of, NOW + 30, ClosedBy.COUNT)
    Spans(recorder).saw(QUEUE_UNIT, Started(), [InvokeMessages(batch)], NOW)
    (span,) = recorder.of("process")
    assert span.links == tuple(contexts[:LINKS_MAX])
