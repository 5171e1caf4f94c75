"""How many receives to keep open: few while a queue is quiet, as many as slots while it is busy.

Receive only what can be invoked soon: a message that waits here spends its visibility timeout, and
one that is given back has spent a receive (spec 8.1).  Provisioned pollers are limited in how often
and how much each receives, too.
"""

from __future__ import annotations

from collections.abc import Iterator

from .model import BEGINNING, Instant
from .paces import MessagePace, Pace
from .policy import POLLER_BYTES_PER_SECOND, POLLER_RECEIVES_PER_SECOND, QueuePolicy
from .scaling import ConcurrencyLimit


class Receiving:
    """Open receives, what they asked for, and when the next may be sent.

    `limit` says how many slots there are, `pace` how soon messages may run in them.
    """

    def __init__(
        self, policy: QueuePolicy, limit: ConcurrencyLimit, pace: MessagePace | None
    ) -> None:
        self.open = 0
        self.failures = 0
        self._asked = 0
        self._wanted = 1
        self._not_before: Instant = BEGINNING
        self._policy = policy
        self._limit_max = _limit_max(policy)
        self._limit = limit
        self._pace = pace
        self._polls = Pace(POLLER_RECEIVES_PER_SECOND)  # of provisioned pollers
        self._bytes = Pace(POLLER_BYTES_PER_SECOND)

    def promised(self, waiting: int) -> int:
        """The slots that messages will take which were asked for, or have come and wait."""
        return -(-(self._asked + waiting) // self._policy.batch_size)

    def answered(self, limit: int, *, count: int, size: int, now: Instant) -> None:
        """Each answer with messages opens one more receive, an empty one closes all but one."""
        self._closed(limit)
        self.failures = 0
        self._wanted = min(self._wanted + 1, self._policy.receives_max) if count else 1
        pollers = self._limit.pollers
        if pollers is not None:
            self._bytes.rate = pollers * POLLER_BYTES_PER_SECOND
            self._bytes.take(size, now)

    def failed(self, limit: int, now: Instant) -> None:
        """Receives that were open together fail together, and count as one failure."""
        self._closed(limit)
        self.failures += now >= self._not_before
        self._wanted = 1

    def wait_until(self, at: Instant) -> None:
        self._not_before = max(self._not_before, at)

    def deadline(self, *, running: int, waiting: int, now: Instant) -> Instant | None:
        """When a receive may be sent that had to wait `now`, after `next_limits`."""
        if self.open >= self._wanted:
            return None
        if self._room(running, waiting, now) > 0:
            return self._opens_at()
        if self._pace is None or running >= self._limit.slots:
            return None
        return self._pace.opens_at(self._asked + waiting, now)

    def next_limits(self, *, running: int, waiting: int, now: Instant) -> Iterator[int]:
        """Limits of the receives to open now, while so many batches run and messages wait."""
        room = self._room(running, waiting, now) if self.open < self._wanted else 0
        while room > 0 and self.open < self._wanted and now >= self._opens_at():
            limit = min(self._limit_max, room)
            room -= limit
            self.open += 1
            self._asked += limit
            if (pollers := self._limit.pollers) is not None:
                self._polls.rate = pollers * POLLER_RECEIVES_PER_SECOND
                self._polls.take(1, now)
            yield limit

    def _room(self, running: int, waiting: int, now: Instant) -> int:
        """How many more messages may be asked for: as many as can run soon."""
        pledged = self._asked + waiting
        room = (self._limit.slots - running) * self._policy.batch_size - pledged
        return room if self._pace is None else min(room, self._pace.room(pledged, now))

    def _opens_at(self) -> Instant:
        return max(self._not_before, self._polls.free_at, self._bytes.free_at)

    def _closed(self, limit: int) -> None:
        self.open -= 1
        self._asked -= limit


def _limit_max(policy: QueuePolicy) -> int:
    """A FIFO receive asks for one batch, others for whole batches where several fit."""
    size, most = policy.batch_size, policy.receive_max
    if policy.fifo or size >= most:
        return min(size, most)
    return most - most % size
