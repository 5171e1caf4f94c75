"""Spans of all that happens, made from the steps of the machines: an Observer, and a Tracer.

poll      a root                                     links: where its messages were sent
batch     goes on with the trace of its messages if  links: the poll that brought the first
          all are of one, and is a root otherwise           of it; where its messages were sent
invoke    a child of its batch; the function is told to go on from it
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from poller.core.model import BEGINNING, Batch, Instant, MessageBatch
from poller.core.steps import (
    Deliver,
    Delivered,
    Extended,
    Fetch,
    Fetched,
    FetchFailed,
    Finish,
    Invoke,
    Invoked,
    InvokeMessages,
    Receive,
    Received,
    ReceiveFailed,
    Started,
    Stopping,
)
from poller.interfaces import Unit
from poller.wire.traces import TraceHeaders

from .batch_spans import BatchSpans
from .poll_spans import PollSpans
from .recorder import Recorder
from .span_names import REQUEST, Names


class Spans:
    """`close` ends what is under way, at the end of all."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._units: dict[Unit, _UnitSpans] = {}

    def saw(self, unit: Unit, fact: Any, commands: Sequence[Any], now: Instant) -> None:
        spans = self._units.get(unit)
        if spans is None or type(fact) is Started:
            spans = self._begin(unit)
        spans.seen_at = now
        for step in (fact, *commands):
            see = _SEE.get(type(step))
            if see is not None:
                see(spans, step, now)
            if type(step) is Finish:
                self._end(unit)

    def forget(self, mapping: str) -> None:
        """What was cut off has left something; what finished has not."""
        for unit in [unit for unit in self._units if unit.mapping == mapping]:
            self._end(unit)

    def close(self) -> None:
        for unit in tuple(self._units):
            self._end(unit)

    def invoking(
        self, unit: Unit, batch: Batch | MessageBatch, request_id: str, now: Instant
    ) -> TraceHeaders:
        """The invocation of `batch`, which was seen as a command, begins."""
        span = self._units[unit].batches.running(batch.id)
        span.add({REQUEST: request_id})
        return TraceHeaders(span.context.xray, span.context.traceparent)

    def _begin(self, unit: Unit) -> _UnitSpans:
        """An earlier machine of this unit may have ended by accident."""
        if unit in self._units:
            self._end(unit)
        spans = self._units[unit] = _UnitSpans(self._recorder, unit)
        return spans

    def _end(self, unit: Unit) -> None:
        spans = self._units.pop(unit)
        spans.batches.cut_off(spans.seen_at)


class _UnitSpans:
    """What is under way of one machine."""

    def __init__(self, recorder: Recorder, unit: Unit) -> None:
        names = Names(unit)
        self.seen_at: Instant = BEGINNING
        self.polls = PollSpans(recorder, names)
        self.batches = BatchSpans(recorder, names, self.polls)


# Facts and commands that are not named here have no part in any span.
_SEE: dict[type, Callable[[_UnitSpans, Any, Instant], None]] = {
    Stopping: lambda unit, fact, now: unit.polls.stop(),
    Fetch: lambda unit, command, now: unit.polls.fetch(now),
    Fetched: lambda unit, fact, now: unit.polls.fetched(fact, now),
    FetchFailed: lambda unit, fact, now: unit.polls.fetch_failed(fact, now),
    Receive: lambda unit, command, now: unit.polls.receive(command.limit, now),
    Received: lambda unit, fact, now: unit.polls.received(fact, now),
    ReceiveFailed: lambda unit, fact, now: unit.polls.receive_failed(fact, now),
    Invoke: lambda unit, command, now: unit.batches.invoke(command.batch, now),
    InvokeMessages: lambda unit, command, now: unit.batches.invoke(command.batch, now),
    Invoked: lambda unit, fact, now: unit.batches.invoked(fact, now),
    Extended: lambda unit, fact, now: unit.batches.extended(fact),
    Deliver: lambda unit, command, now: unit.batches.deliver(command.discard, now),
    Delivered: lambda unit, fact, now: unit.batches.delivered(fact, now),
}
