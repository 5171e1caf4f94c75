"""Spans recorded by OpenTelemetry's SDK.

Only a poller with `tracing` loads this.  Trace ids begin with the time, as X-Ray wants them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import (
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, NonRecordingSpan, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace import Span as SdkSpan
from opentelemetry.trace import SpanContext as SdkContext
from opentelemetry.trace import Tracer as SdkTracer
from opentelemetry.trace.propagation import set_span_in_context
from opentelemetry.trace.span import TraceState
from opentelemetry.util.types import Attributes as SdkAttributes

from poller.core.model import Instant
from poller.wire.traces import SpanContext

from .span_names import Attributes, Kind

_KINDS = {"client": SpanKind.CLIENT, "consumer": SpanKind.CONSUMER}
_ROOT = Context()  # an empty one: a span without a parent begins a trace


class SdkRecorder:
    """A Recorder."""

    def __init__(self, tracer: SdkTracer) -> None:
        self._tracer = tracer

    def start(
        self,
        name: str,
        kind: Kind,
        at: Instant,
        *,
        parent: SpanContext | None = None,
        links: Sequence[SpanContext] = (),
        attributes: Attributes,
    ) -> _Span:
        context = _ROOT
        if parent is not None:
            context = set_span_in_context(NonRecordingSpan(_to_sdk(parent)), _ROOT)
        span = self._tracer.start_span(
            name,
            context,
            _KINDS[kind],
            attributes,
            [Link(_to_sdk(link)) for link in links],
            _nanoseconds(at),
        )
        return _Span(span)


class _Span:
    def __init__(self, span: SdkSpan) -> None:
        self._span = span
        context = span.get_span_context()
        self.context = SpanContext(
            f"{context.trace_id:032x}", f"{context.span_id:016x}", context.trace_flags.sampled
        )

    def add(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def note(self, event: str, attributes: Attributes, at: Instant) -> None:
        self._span.add_event(event, attributes, _nanoseconds(at))

    def end(self, at: Instant, error: str = "") -> None:
        if error:
            self._span.set_status(Status(StatusCode.ERROR, error))
        self._span.end(_nanoseconds(at))


class XRayIds(RandomIdGenerator):
    """`now` gives seconds since the epoch."""

    def __init__(self, now: Callable[[], Instant]) -> None:
        self._now = now

    def generate_trace_id(self) -> int:
        return int(self._now()) << 96 | random.getrandbits(96)


def sampler(ratio: float, *, parent_based: bool) -> Sampler:
    """Records `ratio` of the traces; `parent_based`: of those that begin here.

    Then what goes on with a trace, or links to others, is recorded where they are.
    """
    by_ratio = TraceIdRatioBased(ratio)
    return ParentBased(_LinksDecide(by_ratio)) if parent_based else by_ratio


class _LinksDecide(Sampler):
    """A trace that links to others is recorded if one of them is.

    The spans of producers decide where there are any, else the poll that brought the records.
    """

    def __init__(self, otherwise: Sampler) -> None:
        self._otherwise = otherwise

    def should_sample(  # noqa: PLR0917 - the signature is that of the SDK
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: SdkAttributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        contexts = [link.context for link in links or ()]
        deciding = [context for context in contexts if context.is_remote] or contexts
        if not deciding:
            return self._otherwise.should_sample(
                parent_context, trace_id, name, kind, attributes, links, trace_state
            )
        if any(context.trace_flags.sampled for context in deciding):
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes)
        return SamplingResult(Decision.DROP)

    def get_description(self) -> str:
        return f"LinksDecide{{{self._otherwise.get_description()}}}"


def _to_sdk(context: SpanContext) -> SdkContext:
    return SdkContext(
        int(context.trace_id, 16),
        int(context.span_id, 16),
        is_remote=context.elsewhere,
        trace_flags=TraceFlags(TraceFlags.SAMPLED if context.sampled else TraceFlags.DEFAULT),
    )


def _nanoseconds(at: Instant) -> int:
    return int(at * 1e9)
