"""What spans are recorded with: a Protocol, so that nothing but its adapter knows of the SDK."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from poller.core.model import Instant
from poller.wire.traces import SpanContext

from .span_names import Attributes, Kind


class Span(Protocol):
    """One that has begun.  `context` is what others say to belong to it."""

    @property
    def context(self) -> SpanContext: ...

    def add(self, attributes: Attributes) -> None: ...

    def note(self, event: str, attributes: Attributes, at: Instant) -> None: ...

    def end(self, at: Instant, error: str = "") -> None:
        """`error`: what went wrong, if anything did."""


class Recorder(Protocol):
    """Where spans go; none of it waits, or fails."""

    def start(
        self,
        name: str,
        kind: Kind,
        at: Instant,
        *,
        parent: SpanContext | None = None,
        links: Sequence[SpanContext] = (),
        attributes: Attributes,
    ) -> Span: ...
