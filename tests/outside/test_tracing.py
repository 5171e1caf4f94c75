"""Spans of a running poller, as a collector gets them, and the headers that functions get."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.collector import Collector, Span, collector
from tests.functions import Function, function
from tests.outside.poller_process import Running
from tests.outside.sqs_lanes import send
from tests.outside.watched import HEADER_VALUE, Mapped, await_line, config, lines, watched
from tests.servers import Queue, aws, new_queue, new_stream

QUICK = {
    "OTEL_BSP_SCHEDULE_DELAY": "100",
    "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test",
}
CLIENT, CONSUMER = 3, 5
TRACE, PRODUCER = "5759e988bd862e3fe1be46a994272793", "53995c3f42cd8ad8"
HEADER = f"Root=1-{TRACE[:8]}-{TRACE[8:]};Parent={PRODUCER};Sampled=1"
OTHER_TRACE = "6553f100bd862e3fe1be46a994272793"
TRACEPARENT = f"00-{OTHER_TRACE}-{PRODUCER}-01"
UNSAMPLED = f"Root=1-5759e980-bd862e3fe1be46a994272793;Parent={PRODUCER};Sampled=0"

HANDLER = """
import os

def handler(event, context):
    print("told", os.environ["_X_AMZN_TRACE_ID"])
"""


def send_traced(url: str, queue: Queue, header: str) -> None:
    """A message of a producer that X-Ray traces; ministack forgets it in SendMessageBatch."""
    aws("sqs", url).send_message(
        QueueUrl=queue.url,
        MessageBody="traced",
        MessageSystemAttributes={"AWSTraceHeader": {"DataType": "String", "StringValue": header}},
    )


def with_traceparent(body: str) -> dict[str, object]:
    attribute = {"DataType": "String", "StringValue": TRACEPARENT}
    return {"MessageBody": body, "MessageAttributes": {"traceparent": attribute}}


@dataclass(frozen=True, slots=True)
class AtWork:
    running: Running
    telemetry: Collector
    by_name: dict[str, Function]

    def one(self, name: str) -> Span:
        """The only span of this name."""
        self.telemetry.wait(lambda: self.telemetry.named(name))
        (span,) = self.telemetry.named(name)
        return span

    def batch_of(self, function: str) -> Span:
        """The batch of the only invocation of this function."""
        invocation = self.one(f"invoke {function}")
        self.telemetry.wait(lambda: self._with_id(invocation.parent))
        (batch,) = self._with_id(invocation.parent)
        assert batch.trace_id == invocation.trace_id
        return batch

    def _with_id(self, span_id: str) -> list[Span]:
        return [each for each in tuple(self.telemetry.spans) if each.span_id == span_id]

    def told(self, function: str) -> dict[str, str]:
        """The headers of the only call."""
        stub = self.by_name[function]
        stub.wait(lambda: len(stub.calls) == 1)
        return {name.lower(): value for name, value in stub.calls[0].headers.items()}


@pytest.fixture(scope="module")
def at_work(ministack_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AtWork]:
    folder = tmp_path_factory.mktemp("tracing")
    (folder / "told.py").write_text(HANDLER)
    with contextlib.ExitStack() as stack:
        telemetry = stack.enter_context(collector())
        names = ("one", "several", "unsampled", "stream")
        stubs = {name: stack.enter_context(function()) for name in names}
        queues = {
            name: new_queue(ministack_url) for name in ("one", "several", "unsampled", "told")
        }
        send_traced(ministack_url, queues["one"], HEADER)
        send_traced(ministack_url, queues["several"], HEADER)
        send(ministack_url, queues["several"], with_traceparent("b"), "c")
        send_traced(ministack_url, queues["unsampled"], UNSAMPLED)
        send_traced(ministack_url, queues["told"], HEADER)
        stream = new_stream(ministack_url)
        kinesis = aws("kinesis", ministack_url)
        for number in range(3):
            kinesis.put_record(StreamName=stream.name, Data=str(number), PartitionKey="k")
        all_of_it = {"StartingPosition": "TRIM_HORIZON"}
        together = {"MaximumBatchingWindowInSeconds": 1}
        mapped = [
            Mapped(queues["one"].arn, stubs["one"], name="one"),
            Mapped(queues["several"].arn, stubs["several"], together, name="several"),
            Mapped(queues["unsampled"].arn, stubs["unsampled"], name="unsampled"),
            Mapped(stream.arn, stubs["stream"], all_of_it, name="stream"),
        ]
        settings = config(ministack_url, *mapped)
        settings["functions"]["told"] = {"handler": "told.handler", "timeout": 30}
        settings["mappings"].append({"EventSourceArn": queues["told"].arn, "FunctionName": "told"})
        settings["tracing"] = {
            "endpoint": f"{telemetry.endpoint}/",
            "headers": {"Authorization": "${FUNCTION_KEY}"},
            "service": "orders",
            "attributes": {"team": "stock"},
        }
        running = stack.enter_context(watched(settings, folder=folder, environment=QUICK))
        yield AtWork(running, telemetry, stubs)


def xray_of(span: Span) -> str:
    return f"Root=1-{span.trace_id[:8]}-{span.trace_id[8:]};Parent={span.span_id};Sampled=1"


def test_a_message_and_its_invocation_are_one_trace(at_work: AtWork) -> None:
    invocation, batch = at_work.one("invoke one"), at_work.batch_of("one")
    assert (batch.trace_id, batch.parent, batch.kind) == (TRACE, PRODUCER, CONSUMER)
    assert (TRACE, PRODUCER) in batch.links
    assert (invocation.trace_id, invocation.kind) == (TRACE, CLIENT)
    told = at_work.told("one")
    assert told["x-amzn-trace-id"] == xray_of(invocation)
    assert told["traceparent"] == f"00-{TRACE}-{invocation.span_id}-01"
    attributes = invocation.attributes
    assert attributes["faas.invocation_id"] == told["x-amzn-requestid"]
    assert (attributes["faas.invoked_name"], attributes["faas.trigger"]) == ("one", "pubsub")
    assert attributes["messaging.system"] == "aws_sqs"
    assert attributes["messaging.batch.message_count"] == 1


def test_a_batch_of_several_traces_links_to_them(at_work: AtWork) -> None:
    invocation, batch = at_work.one("invoke several"), at_work.batch_of("several")
    began = int(batch.trace_id[:8], 16)
    assert abs(began - time.time()) < 600, "X-Ray takes ids that begin with the time"
    assert batch.parent == ""
    assert {(TRACE, PRODUCER), (OTHER_TRACE, PRODUCER)} <= set(batch.links)
    assert at_work.told("several")["x-amzn-trace-id"] == xray_of(invocation)
    assert batch.seconds >= invocation.seconds


def test_what_a_producer_does_not_record_is_not_recorded(at_work: AtWork) -> None:
    told = at_work.told("unsampled")["x-amzn-trace-id"]
    assert told.startswith("Root=1-5759e980-bd862e3fe1be46a994272793;Parent=")
    assert told.endswith(";Sampled=0")
    assert PRODUCER not in told
    at_work.one("invoke stream")
    assert not at_work.telemetry.named("invoke unsampled")


def test_a_stream_batch_links_to_the_poll_that_brought_it(at_work: AtWork) -> None:
    batch = at_work.batch_of("stream")
    poll = at_work.one(batch.name.replace("process", "poll"))
    assert batch.links == [(poll.trace_id, poll.span_id)]
    assert (poll.kind, poll.parent, batch.parent) == (CLIENT, "", "")
    for span in (poll, batch, at_work.one("invoke stream")):
        assert span.attributes["messaging.system"] == "aws_kinesis"
        assert span.attributes["messaging.destination.partition.id"].startswith("shardId-")
        assert span.attributes["messaging.batch.message_count"] == 3
    assert at_work.told("stream")["x-amzn-trace-id"] == xray_of(at_work.one("invoke stream"))


@pytest.mark.proves("S11.2.header")
def test_a_handler_is_told_its_trace(at_work: AtWork) -> None:
    invocation = at_work.one("invoke told")
    assert invocation.trace_id == TRACE
    await_line(at_work.running, "told", xray_of(invocation))


def test_spans_say_who_sends_them_and_with_which_headers(at_work: AtWork) -> None:
    span = at_work.one("invoke one")
    assert span.resource["service.name"] == "orders"
    assert (span.resource["team"], span.resource["deployment.environment"]) == ("stock", "test")
    path, headers = at_work.telemetry.requests[0]
    assert (path, headers["authorization"]) == ("/v1/traces", HEADER_VALUE)


def test_a_collector_that_is_away_is_one_line_and_holds_up_nothing(
    ministack_url: str, tmp_path: Path
) -> None:
    queue = new_queue(ministack_url)
    with contextlib.ExitStack() as stack:
        with collector() as gone:
            port = gone.port
        stub = stack.enter_context(function())
        settings = config(ministack_url, Mapped(queue.arn, stub), tracing=True)
        environment = {
            **QUICK,
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "0.5",
        }
        running = stack.enter_context(watched(settings, folder=tmp_path, environment=environment))
        for number in range(3):
            send(ministack_url, queue, f"lost {number}")
            stub.wait(lambda: len(stub.records) > number)  # noqa: B023 - waited for at once
            time.sleep(0.3)
        await_line(running, "spans do not reach the collector")
        telemetry = stack.enter_context(collector(port))
        send(ministack_url, queue, "arrives")
        telemetry.wait(lambda: telemetry.named("invoke f0"))
        await_line(running, "spans reach the collector again")
        assert len(lines(running, "do not reach the collector")) == 1
        assert "opentelemetry" not in running.log()
        send(ministack_url, queue, "last")
        stub.wait(lambda: len(stub.records) == 5)
        assert running.stop() == 0
        assert len(telemetry.named("invoke f0")) >= 2, "what is left is exported at the end"
