"""Trace headers, X-Ray's and W3C's: read with care, since producers wrote them, and written.

    Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1
    00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01

Both name a trace, a span in it, and whether somebody records it.  What is not well formed is as
good as absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from poller.core.model import Instant, Message

HEADER_LENGTH_MAX = 512  # beyond that it is no header, but something that is to hurt

_PRINTABLE = re.compile(rf"[\x20-\x7e]{{1,{HEADER_LENGTH_MAX}}}")
_ROOT = re.compile(r"1-([0-9a-f]{8})-([0-9a-f]{24})")
_SPAN = re.compile(r"[0-9a-f]{16}")
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_NO_TRACE = "0" * 32
_NO_SPAN = "0" * 16


class SentMessage(Message, Protocol):
    """A queue's message, with the headers of its producer, exactly as they came."""

    @property
    def trace_header(self) -> str | None:
        """X-Ray's: the system attribute AWSTraceHeader."""

    @property
    def traceparent(self) -> str | None:
        """W3C's: the message attribute of this name, as OpenTelemetry adds it."""


class TraceHeaders(NamedTuple):
    """The trace of an invocation, as X-Ray and (perhaps) W3C write it; each batch needs one."""

    xray: str
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class SpanContext:
    """A span that others belong to: 32 and 16 hexadecimal digits.  `sampled`: it is recorded.

    `elsewhere`: somebody else's, as a header told it.
    """

    trace_id: str
    span_id: str
    sampled: bool
    elsewhere: bool = False

    @property
    def xray(self) -> str:
        """As X-Amzn-Trace-Id has it."""
        root = f"1-{self.trace_id[:8]}-{self.trace_id[8:]}"
        return f"Root={root};Parent={self.span_id};Sampled={self.sampled:d}"

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.sampled:02d}"


@dataclass(frozen=True, slots=True)
class XRayHeader:
    """A header as it came.  `sampled` is None where that is left to whoever comes next."""

    text: str
    trace_id: str
    parent: str | None
    sampled: bool | None

    @property
    def context(self) -> SpanContext | None:
        """The span that it names, if any; what nobody has decided counts as sampled."""
        if self.parent is None:
            return None
        return SpanContext(self.trace_id, self.parent, self.sampled is not False, elsewhere=True)


def read_xray(text: str) -> XRayHeader | None:
    """An X-Ray header; None if it is not one.  Fields beyond Root, Parent and Sampled may be."""
    if not _PRINTABLE.fullmatch(text):
        return None
    fields: dict[str, str] = {}
    for field in text.split(";"):
        name, _, value = field.strip().partition("=")
        fields.setdefault(name, value)
    root, parent = _ROOT.fullmatch(fields.get("Root", "").lower()), fields.get("Parent")
    if root is None or (trace_id := root[1] + root[2]) == _NO_TRACE:
        return None
    if parent is not None:
        parent = parent.lower()
        if not _SPAN.fullmatch(parent) or parent == _NO_SPAN:
            return None
    sampled = {"1": True, "0": False}.get(fields.get("Sampled", ""))
    return XRayHeader(text, trace_id, parent, sampled)


def read_traceparent(text: str) -> SpanContext | None:
    """A W3C traceparent; None if it is not one."""
    # Versions to come may add fields behind these.
    known = text[:55] if text[:2] != "00" and text[55:56] == "-" else text
    match = _TRACEPARENT.fullmatch(known)
    if match is None or match[1] == _NO_TRACE or match[2] == _NO_SPAN:
        return None
    return SpanContext(match[1], match[2], bool(int(match[3], 16) & 1), elsewhere=True)


def untraced(request_id: str, now: Instant, *, sampled: bool = False) -> str:
    """The X-Ray header of an invocation in a trace of its own; `request_id` is a UUID."""
    digits = request_id.replace("-", "")
    return f"Root=1-{int(now):08x}-{digits[8:]};Parent={digits[:16]};Sampled={sampled:d}"


def passed_on(headers: Sequence[str | None], request_id: str, now: Instant) -> str:
    """The header of an invocation that poller does not trace, by those of its messages.

    the messages                               the function gets
    are all of one trace                       the first of their headers that is sampled, or else
                                               the first, as it came
    are of several traces, or some of none     a trace of its own; sampled if any of theirs is
    have no headers                            a trace of its own, not sampled
    """
    read = [None if header is None else read_xray(header) for header in headers]
    known = [header for header in read if header is not None]
    sampled = next((header for header in known if header.sampled), None)
    if known and len(known) == len(read) and len({each.trace_id for each in known}) == 1:
        return (sampled or known[0]).text
    return untraced(request_id, now, sampled=sampled is not None)


def common_trace(contexts: Iterable[SpanContext | None]) -> SpanContext | None:
    """Of messages that are all of one trace, the span that they go on from: the first sampled."""
    first: SpanContext | None = None
    for context in contexts:
        if context is None or (first is not None and context.trace_id != first.trace_id):
            return None
        if first is None or (context.sampled and not first.sampled):
            first = context
    return first
