"""When to hide the messages of a running batch for longer, so that nobody else receives them.

Halfway to the end of their visibility timeout; where that fails, halfway through what is left, and
so on.  SQS hides a message for twelve hours from its receive at most, of which a minute is left to
it: it does not count from when its reply was here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from heapq import heappop, heappush

from .model import Instant, MessageBatch, Seconds

HIDDEN_MAX: Seconds = (12 * 60 - 1) * 60.0
PAUSE_MIN: Seconds = 0.5


@dataclass(slots=True)
class _Beat:
    """`hidden_for`: how long each time.  `at`: when to ask next; None: not before an answer."""

    hidden_since: Instant
    hidden_for: Seconds
    at: Instant | None = None


class Heartbeats:
    """Of batches by their ids.  `working`: they are wanted, and SQS permits them."""

    def __init__(self, *, wanted: bool) -> None:
        self.working = wanted
        self.unanswered = 0
        self._beats: dict[int, _Beat] = {}
        self._queue: list[tuple[Instant, int]] = []  # what a beat's `at` was, perhaps not any more

    def began(self, batch: MessageBatch, now: Instant) -> None:
        """The batch runs for the first time, its messages being hidden since they came."""
        if self.working:
            since = batch.since
            self._beats[batch.id] = _Beat(since, batch.expires_at - since)
            self._plan(batch, now)

    def goes_on(self, batch: MessageBatch, now: Instant) -> None:
        """The batch runs again, or is hidden for longer now, or could not be."""
        if self.working and batch.id in self._beats:
            self._plan(batch, now)

    def rests(self, batch_id: int) -> None:
        """The batch waits to be tried again: that is SQS's affair (spec 8.3)."""
        if beat := self._beats.get(batch_id):
            beat.at = None

    def ended(self, batch_id: int) -> None:
        self._beats.pop(batch_id, None)

    def answered(self, *, permitted: bool) -> None:
        """Where SQS does not permit it, it goes on without."""
        self.unanswered -= 1
        if not permitted:
            self.working = False
            self._beats.clear()

    def deadline(self) -> Instant | None:
        while self._queue and self._is_outdated():
            heappop(self._queue)
        return self._queue[0][0] if self._queue else None

    def due(self, now: Instant) -> list[int]:
        """The batches to ask for now."""
        batches = []
        while (at := self.deadline()) is not None and at <= now:
            batch_id = heappop(self._queue)[1]
            self._beats[batch_id].at = None
            self.unanswered += 1
            batches.append(batch_id)
        return batches

    def seconds(self, batch: MessageBatch, now: Instant) -> int:
        """For how long to hide it."""
        beat = self._beats[batch.id]
        return math.ceil(min(beat.hidden_for, beat.hidden_since + HIDDEN_MAX - now))

    def _plan(self, batch: MessageBatch, now: Instant) -> None:
        beat = self._beats[batch.id]
        at = now + max(PAUSE_MIN, (batch.expires_at - now) / 2)
        ends_at = at + min(beat.hidden_for, beat.hidden_since + HIDDEN_MAX - at)
        beat.at = at if at < batch.expires_at < ends_at else None
        if beat.at is not None:
            heappush(self._queue, (at, batch.id))

    def _is_outdated(self) -> bool:
        at, batch_id = self._queue[0]
        beat = self._beats.get(batch_id)
        return beat is None or beat.at != at
