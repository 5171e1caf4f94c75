"""The polls of one machine as spans: those that brought something, or failed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import cast

from poller.core.model import BEGINNING, Instant, Message
from poller.core.steps import Fetched, FetchFailed, Received, ReceiveFailed
from poller.wire.traces import SentMessage, SpanContext, read_traceparent, read_xray

from .recorder import Recorder
from .span_names import ERROR_LENGTH_MAX, ERROR_TYPE, UNKNOWN_ERROR, Names

LINKS_MAX = 128  # of one span, as in OpenTelemetry
KEPT_MAX = 64  # polls that the batches of what they brought can refer to


class PollSpans:
    def __init__(self, recorder: Recorder, names: Names) -> None:
        self._recorder = recorder
        self._names = names
        self._stopping = False
        self._kept: dict[Instant, SpanContext] = {}  # by when they were answered
        self._asked_at: Instant = BEGINNING
        self._receives: dict[int, deque[Instant]] = {}  # open ones, by their limit

    def stop(self) -> None:
        """A read that is given up is no failure any more."""
        self._stopping = True

    def answered_at(self, instant: Instant) -> SpanContext | None:
        """The poll that brought what was read then, if it is still known."""
        return self._kept.get(instant)

    def fetch(self, now: Instant) -> None:
        self._asked_at = now

    def fetched(self, fact: Fetched, now: Instant) -> None:
        if fact.records:
            self._brought(len(fact.records), fact.asked_at, now)

    def receive(self, limit: int, now: Instant) -> None:
        self._receives.setdefault(limit, deque()).append(now)

    def received(self, fact: Received, now: Instant) -> None:
        asked_at = self._answer(fact.limit, now)
        if fact.messages:
            links = distinct(map(sent_in, fact.messages))
            self._brought(len(fact.messages), asked_at, now, links)

    def fetch_failed(self, fact: FetchFailed, now: Instant) -> None:
        self._failed(fact.error, self._asked_at, now)

    def receive_failed(self, fact: ReceiveFailed, now: Instant) -> None:
        self._failed(fact.error, self._answer(fact.limit, now), now)

    def _failed(self, error: str, asked_at: Instant, now: Instant) -> None:
        if self._stopping:
            return
        attributes = {**self._names.of_poll(0), ERROR_TYPE: UNKNOWN_ERROR}
        span = self._recorder.start(self._names.poll, "client", asked_at, attributes=attributes)
        span.end(now, error[:ERROR_LENGTH_MAX])

    def _answer(self, limit: int, now: Instant) -> Instant:
        """When a receive was sent; of several like it that are open, the oldest was answered."""
        asked = self._receives.get(limit)
        return asked.popleft() if asked else now

    def _brought(
        self, count: int, asked_at: Instant, now: Instant, links: Sequence[SpanContext] = ()
    ) -> None:
        name, attributes = self._names.poll, self._names.of_poll(count)
        span = self._recorder.start(name, "client", asked_at, links=links, attributes=attributes)
        span.end(now)
        self._kept[now] = span.context
        if len(self._kept) > KEPT_MAX:
            del self._kept[next(iter(self._kept))]


def sent_in(message: Message) -> SpanContext | None:
    """The span in which a message was sent: what its sender itself wrote says it best."""
    sent = cast(SentMessage, message)
    context = read_traceparent(sent.traceparent) if sent.traceparent is not None else None
    if context is None and sent.trace_header is not None:
        header = read_xray(sent.trace_header)
        context = header.context if header is not None else None
    return context


def distinct(contexts: Iterable[SpanContext | None]) -> Sequence[SpanContext]:
    """Those that there are, each once, up to LINKS_MAX of them."""
    found = dict.fromkeys(context for context in contexts if context is not None)
    return list(found)[:LINKS_MAX]
