"""In which trace an invocation runs; here, where poller itself records nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

from poller.core.model import Batch, Instant, MessageBatch
from poller.interfaces import Unit
from poller.wire.traces import SentMessage, TraceHeaders, passed_on, untraced


class Tracer(Protocol):
    """Knows the trace of each invocation that is under way."""

    def invoking(
        self, unit: Unit, batch: Batch | MessageBatch, request_id: str, now: Instant
    ) -> TraceHeaders:
        """The invocation of `batch`, of which the observers know, begins."""


class Untraced:
    """Streams have no headers to go by; queues have those of producers who trace (spec 11.2)."""

    def invoking(
        self, unit: Unit, batch: Batch | MessageBatch, request_id: str, now: Instant
    ) -> TraceHeaders:
        if isinstance(batch, MessageBatch):
            messages = cast(Sequence[SentMessage], batch.messages)
            headers = [message.trace_header for message in messages]
            if any(headers):
                return TraceHeaders(passed_on(headers, request_id, now))
        return TraceHeaders(untraced(request_id, now))
