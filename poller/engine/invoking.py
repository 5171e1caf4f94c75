"""One invocation: an event goes to the function, its reply becomes an outcome."""

from __future__ import annotations

import os
from collections.abc import Sequence

from poller.core.model import (
    Instant,
    MessageBatch,
    Outcome,
    Record,
    Refused,
    TooLarge,
    WindowTurn,
)
from poller.core.steps import Invoke
from poller.interfaces import Errored, Invocation, NotReached, Ran, Unit
from poller.wire.failures import InvocationReport
from poller.wire.response_lint import examine_queue, examine_stream
from poller.wire.responses import error_outcome, queue_outcome, stream_outcome, window_outcome
from poller.wire.windows import in_window

from .specs import QueueSpec, StreamSpec
from .tracing import Tracer


def new_id() -> str:
    """A random UUID (version 4), in a fifth of the time that the uuid module takes."""
    text = os.urandom(16).hex()
    variant = "89ab"[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"


def event_of(
    spec: StreamSpec, shard: str, records: Sequence[Record], window: WindowTurn | None
) -> bytes:
    """The JSON that the function receives for `records`, in a tumbling window or in none."""
    event = spec.source.event(shard, records)
    if window is None:
        return event
    return in_window(event, window, shard=shard, source_arn=spec.stored.source_arn)


async def invoke_records(
    spec: StreamSpec, unit: Unit, invoke: Invoke, tracer: Tracer, now: Instant
) -> Outcome:
    request_id, batch = new_id(), invoke.batch
    records = batch.records
    event = event_of(spec, unit.shard, records, invoke.window)
    trace, parent = tracer.invoking(unit, batch, request_id, now)
    reply = await spec.target.invoke(
        Invocation(event, request_id, spec.stored.function_arn, trace, traceparent=parent)
    )
    match reply:
        case Ran(body, version):
            report = InvocationReport(request_id, executed_version=version)
            # What ends the last window of a mapping that has none any more need not know of states.
            windowed = spec.policy.tumbling_window is not None
            judge = window_outcome if windowed else stream_outcome
            outcome = judge(body, records, reporting=spec.reporting, report=report)
            return examine_stream(
                outcome, body, records, reporting=spec.reporting, windowed=windowed
            )
        case Errored():
            return _errored(request_id, reply)
        case NotReached():
            return _refused(reply)


async def invoke_messages(
    spec: QueueSpec, unit: Unit, batch: MessageBatch, tracer: Tracer, now: Instant
) -> Outcome:
    request_id, messages = new_id(), batch.messages
    event = spec.source.event(messages)
    trace, parent = tracer.invoking(unit, batch, request_id, now)
    reply = await spec.target.invoke(
        Invocation(event, request_id, spec.stored.function_arn, trace, traceparent=parent)
    )
    match reply:
        case Ran(body):
            outcome = queue_outcome(body, messages, reporting=spec.reporting)
            return examine_queue(outcome, body, messages, reporting=spec.reporting)
        case Errored():
            return _errored(request_id, reply)
        case NotReached():
            return _refused(reply)


def _errored(request_id: str, reply: Errored) -> Outcome:
    report = InvocationReport(
        request_id, reply.status_code, reply.executed_version, reply.function_error
    )
    return error_outcome(reply.error_type, reply.message, report=report)


def _refused(reply: NotReached) -> Outcome:
    return TooLarge(reply.why) if reply.too_large else Refused(reply.why, reply.retry_after)
