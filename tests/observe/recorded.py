"""A Recorder that keeps spans as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

from poller.core.model import Instant
from poller.observe.span_names import Attributes, Value
from poller.wire.traces import SpanContext


@dataclass
class Recorded:
    """One span; `ended` is None while it is open."""

    name: str
    kind: str
    began: Instant
    context: SpanContext
    parent: SpanContext | None
    links: Sequence[SpanContext]
    attributes: dict[str, Value]
    events: list[tuple[str, Attributes, Instant]] = field(default_factory=list)
    ended: Instant | None = None
    error: str = ""

    def add(self, attributes: Attributes) -> None:
        assert self.ended is None
        self.attributes.update(attributes)

    def note(self, event: str, attributes: Attributes, at: Instant) -> None:
        assert self.ended is None
        self.events.append((event, attributes, at))

    def end(self, at: Instant, error: str = "") -> None:
        assert self.ended is None, "a span ends once"
        assert at >= self.began
        self.ended, self.error = at, error


class MemoryRecorder:
    """Ids are numbers, in the order of the spans; what goes on with a trace has its id."""

    def __init__(self) -> None:
        self.spans: list[Recorded] = []
        self._ids = count(1)

    def start(
        self,
        name: str,
        kind: str,
        at: Instant,
        *,
        parent: SpanContext | None = None,
        links: Sequence[SpanContext] = (),
        attributes: Attributes,
    ) -> Recorded:
        number = next(self._ids)
        trace_id = f"{number:032x}" if parent is None else parent.trace_id
        context = SpanContext(trace_id, f"{number:016x}", sampled=True)
        span = Recorded(name, kind, at, context, parent, tuple(links), dict(attributes))
        self.spans.append(span)
        return span

    def of(self, verb: str) -> list[Recorded]:
        """The spans whose name begins with it: poll, process or invoke."""
        return [span for span in self.spans if span.name.startswith(f"{verb} ")]

    def children(self, span: Recorded) -> list[Recorded]:
        return [each for each in self.spans if each.parent == span.context]

    @property
    def open(self) -> list[Recorded]:
        return [span for span in self.spans if span.ended is None]
