"""The batches of one machine as spans, with their invocations.

A retry, a half of a split batch, the rest of one that failed in part: each is an invocation of the
batch that it came from.  What is kept has the bounds of the machine itself: a batch for each lane,
or for each slot.
"""

from __future__ import annotations

from dataclasses import dataclass

from poller.core.model import (
    BEGINNING,
    Batch,
    Discard,
    Instant,
    MessageBatch,
    Outcome,
    PartlyFailed,
    Refused,
    Succeeded,
)
from poller.core.steps import Delivered, Extended, Invoked
from poller.wire.traces import SpanContext, common_trace

from .poll_spans import PollSpans, distinct, sent_in
from .recorder import Recorder, Span
from .span_names import Names, Value, error_of, size_of

FINAL = -1  # in the place of a lane: the final invocation of its window


@dataclass(slots=True)
class _Running:
    batch: Batch | MessageBatch
    span: Span


@dataclass(slots=True)
class _Open:
    """A batch that is not settled.

    `last`: the place of its last record in the shard.  `expires_at`: when others may have its
    messages.  `error`: what became of some of it.
    """

    span: Span
    last: int
    expires_at: Instant
    error: str = ""


class BatchSpans:
    """`polls` know where what is in a batch came from."""

    def __init__(self, recorder: Recorder, names: Names, polls: PollSpans) -> None:
        self._recorder = recorder
        self._names = names
        self._polls = polls
        self._open: dict[int, _Open] = {}  # by lane, or FINAL; of a queue by batch
        self._running: dict[int, _Running] = {}  # by batch
        self._refused: set[int] = set()
        self._discards: dict[int, Discard] = {}

    def running(self, batch_id: int) -> Span:
        """The span of the invocation of a batch that runs."""
        return self._running[batch_id].span

    def invoke(self, batch: Batch | MessageBatch, now: Instant) -> None:
        key = _key(batch)
        self._refused.discard(key)
        self._settle_forgotten(now)
        open_batch = self._open.get(key) or self._begin(key, batch, now)
        span = self._recorder.start(
            self._names.invocation,
            "client",
            now,
            parent=open_batch.span.context,
            attributes=self._names.of_invocation(batch),
        )
        self._running[batch.id] = _Running(batch, span)

    def invoked(self, fact: Invoked, now: Instant) -> None:
        run = self._running.pop(fact.batch_id)
        error, attributes = error_of(fact.outcome)
        if attributes:
            run.span.add(attributes)
        run.span.end(now, error)
        key = _key(run.batch)
        if isinstance(run.batch, MessageBatch):
            self._ran(key, fact.outcome, error, now)
        elif isinstance(fact.outcome, Succeeded) and _last(run.batch) >= self._open[key].last:
            self._settle(key, now)

    def _ran(self, key: int, outcome: Outcome, error: str, now: Instant) -> None:
        """A queue's batch is settled by any outcome but a refusal, after which it may run again."""
        if isinstance(outcome, Refused):
            self._refused.add(key)
            return
        if isinstance(outcome, PartlyFailed):
            error = f"{len(outcome.failed)} messages failed and come again"
        self._open[key].error = error
        self._settle(key, now)

    def extended(self, fact: Extended) -> None:
        open_batch = self._open.get(fact.batch_id)
        if open_batch is not None and fact.expires_at is not None:
            open_batch.expires_at = fact.expires_at

    def deliver(self, discard: Discard, now: Instant) -> None:
        batch = discard.batch
        self._discards[batch.id] = discard
        if _key(batch) not in self._open:
            self._begin(_key(batch), batch, now)

    def delivered(self, fact: Delivered, now: Instant) -> None:
        discard = self._discards.pop(fact.batch_id)
        key = _key(discard.batch)
        open_batch = self._open[key]
        open_batch.error = f"records are given up: {discard.reason}"
        attributes: dict[str, Value] = {
            "poller.discard.reason": str(discard.reason),
            "poller.discard.fate": str(fact.fate),
            "poller.discard.record_count": size_of(discard.batch),
        }
        open_batch.span.note("records are given up", attributes, now)
        if _last(discard.batch) >= open_batch.last:
            self._settle(key, now)

    def cut_off(self, now: Instant) -> None:
        """The machine has ended; end what that left."""
        for run in self._running.values():
            run.span.end(now, "cut off")
        for open_batch in self._open.values():
            open_batch.span.end(now, open_batch.error or "stopped before it was settled")
        self._running.clear()
        self._open.clear()
        self._refused.clear()
        self._discards.clear()

    def _begin(self, key: int, batch: Batch | MessageBatch, now: Instant) -> _Open:
        contexts: list[SpanContext | None] = []
        last, expires_at = 0, BEGINNING
        if isinstance(batch, MessageBatch):
            contexts, expires_at = list(map(sent_in, batch.messages)), batch.expires_at
        else:
            last = _last(batch)
        span = self._recorder.start(
            self._names.batch,
            "consumer",
            batch.since if batch.since > BEGINNING else now,
            parent=common_trace(contexts),
            links=distinct([self._polls.answered_at(batch.since), *contexts]),
            attributes=self._names.of_batch(batch),
        )
        self._open[key] = open_batch = _Open(span, last, expires_at)
        return open_batch

    def _settle(self, key: int, now: Instant) -> None:
        open_batch = self._open.pop(key)
        open_batch.span.end(now, open_batch.error)

    def _settle_forgotten(self, now: Instant) -> None:
        """Refused messages that others may have by now will not run again; no command says so."""
        for key in [key for key in self._refused if self._open[key].expires_at <= now]:
            self._refused.discard(key)
            self._open[key].error = "the function was not reached in time"
            self._settle(key, now)


def _key(batch: Batch | MessageBatch) -> int:
    """A lane has one batch at a time, but for the final invocation of a window between tries."""
    if isinstance(batch, MessageBatch):
        return batch.id
    return batch.lane if batch.records else FINAL


def _last(batch: Batch) -> int:
    return batch.ordinals[-1] if batch.ordinals else 0
