"""How many receives to keep open: few while a queue is quiet, as many as slots while it is busy.

Receive only what can be invoked soon: a message that waits here spends its visibility timeout, and
one that is given back has spent a receive (spec 8.1).
"""

from __future__ import annotations

from collections.abc import Iterator

from .model import Instant
from .policy import QueuePolicy


class Receiving:
    """Open receives, and when the next may be sent."""

    def __init__(self, policy: QueuePolicy) -> None:
        self.open = 0
        self.failures = 0
        self._asked = 0
        self._wanted = 1
        self._not_before: Instant = 0.0
        self._policy = policy

    def answered(self, limit: int, *, count: int) -> None:
        """Each answer with messages opens one more receive, an empty one closes all but one."""
        self._closed(limit)
        self.failures = 0
        self._wanted = self._wanted + 1 if count else 1

    def failed(self, limit: int, now: Instant) -> None:
        """Receives that were open together fail together, and count as one failure."""
        self._closed(limit)
        self.failures += now >= self._not_before
        self._wanted = 1

    def wait_until(self, at: Instant) -> None:
        self._not_before = max(self._not_before, at)

    def deadline(self, room: int) -> Instant | None:
        """When a receive may be sent that must wait now; `room` as for `next_limits`."""
        waits = not self.open and next(self._limits(room), None) is not None
        return self._not_before if waits else None

    def next_limits(self, room: int, now: Instant) -> Iterator[int]:
        """Limits of the receives to open now; `room`: messages that free slots could take."""
        if now < self._not_before:
            return
        for limit in self._limits(room):
            self.open += 1
            self._asked += limit
            yield limit

    def _limits(self, room: int) -> Iterator[int]:
        room -= self._asked
        for _ in range(self._wanted - self.open):
            limit = min(self._limit_max(), room)
            if limit <= 0:
                return
            room -= limit
            yield limit

    def _limit_max(self) -> int:
        """A FIFO receive asks for one batch, others for whole batches where several fit."""
        size, most = self._policy.batch_size, self._policy.receive_max
        if self._policy.fifo or size >= most:
            return min(size, most)
        return most - most % size

    def _closed(self, limit: int) -> None:
        self.open -= 1
        self._asked -= limit
