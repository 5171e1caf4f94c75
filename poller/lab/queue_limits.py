"""Judges how much a queue machine does at one time: slots, receives, bytes, messages a second.

Told what it does, as it does it; each method asserts.
"""

from __future__ import annotations

from poller.core.model import Instant, Seconds
from poller.core.policy import (
    POLLER_BYTES_PER_SECOND,
    POLLER_CONCURRENCY,
    POLLER_RECEIVES_PER_SECOND,
    QueuePolicy,
)

SLACK = 1e-6
SECOND: Seconds = 1.0


class QueueLimits:
    """What one machine may do by its policy."""

    def __init__(self, policy: QueuePolicy) -> None:
        self._policy = policy
        self._began_at: Instant | None = None
        self._pollers = 0  # most so far
        self._slots_allowed = 0.0
        self._open = 0
        self.open_most = 0
        self._received: list[tuple[Instant, int]] = []
        self._receives: list[Instant] = []
        self._handed: list[tuple[Instant, int]] = []

    def allows(self, slots: int, pollers: int | None, now: Instant) -> None:
        """The machine says that it has so many slots and pollers."""
        policy = self._policy
        self._began_at = now if self._began_at is None else self._began_at
        periods = (now - self._began_at) / policy.concurrency_period + SLACK
        most = policy.concurrency_start + int(periods) * policy.concurrency_step
        self._slots_allowed = min(most, policy.concurrency_max)
        assert 1 <= slots <= self._slots_allowed, "grows too fast"
        if policy.pollers_min is None:
            assert pollers is None
            return
        assert pollers is not None
        assert policy.pollers_min <= pollers
        assert slots <= pollers * POLLER_CONCURRENCY < slots + POLLER_CONCURRENCY or (
            pollers == policy.pollers_min
        )
        self._pollers = max(self._pollers, pollers)

    def runs(self, running: int) -> None:
        """So many batches have a slot."""
        assert running <= self._slots_allowed, "more at a time than allowed"

    def receives(self, now: Instant) -> None:
        self._open += 1
        self.open_most = max(self.open_most, self._open)
        assert self._open <= self._policy.receives_max, "too many receives at one time"
        if self._policy.pollers_min is None:
            return
        self._receives.append(now)
        recent = sum(at > now - SECOND + SLACK for at in self._receives)
        assert recent <= self._pollers * POLLER_RECEIVES_PER_SECOND, "receives too often"
        if self._received:
            at, size = self._received[-1]
            pause = size / (self._pollers * POLLER_BYTES_PER_SECOND)
            assert now >= at + pause - SLACK, "receives more bytes than its pollers may"

    def received(self, size: int, now: Instant) -> None:
        """A receive was answered, by messages of so many bytes."""
        self._open -= 1
        if size:
            self._received.append((now, size))

    def handed(self, count: int, now: Instant) -> None:
        """A batch of so many messages goes to the function for the first time."""
        rate = self._policy.messages_per_second
        if rate is None:
            return
        self._handed.append((now, count))
        total = count
        for at, size in reversed(self._handed[:-1]):
            total += size
            allowed = (now - at) * rate + count
            assert total <= allowed + SLACK, "more messages a second than allowed"
