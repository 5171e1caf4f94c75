"""Receives of a FIFO queue whose replies were lost on the way (spec 8.4).

SQS gives the messages of such a receive again to one that repeats its ReceiveRequestAttemptId, and
until then to nobody.
"""

from __future__ import annotations

import uuid
from collections import deque
from dataclasses import dataclass

from poller.core.model import Instant, Seconds

RETRY_MAX: Seconds = 300.0  # for which SQS remembers an attempt
LOST_MAX = 100


@dataclass(frozen=True, slots=True)
class Receive:
    """`attempt`: its ReceiveRequestAttemptId; None on a standard queue."""

    attempt: str | None
    limit: int
    began_at: Instant


class LostReceives:
    """Remembers what to ask for again."""

    def __init__(self, *, fifo: bool) -> None:
        self._fifo = fifo
        self._lost: deque[Receive] = deque(maxlen=LOST_MAX)

    def next(self, limit: int, now: Instant) -> Receive:
        """One that was lost, if there is any that fits in `limit`; else a new one."""
        for lost in tuple(self._lost):
            if now - lost.began_at >= RETRY_MAX:
                self._lost.remove(lost)
            elif lost.limit <= limit:
                self._lost.remove(lost)
                return lost
        return Receive(str(uuid.uuid4()) if self._fifo else None, limit, now)

    def lost(self, receive: Receive) -> None:
        """The reply to `receive` did not come."""
        if receive.attempt is not None:
            self._lost.append(receive)
