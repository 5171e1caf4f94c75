"""How many invocations of one queue may run at once, over time (spec 8.1)."""

from __future__ import annotations

from .model import Instant
from .policy import QueuePolicy


class ConcurrencyLimit:
    """Starts low and grows by a step for each period in which all slots were taken."""

    def __init__(self, policy: QueuePolicy) -> None:
        self.now = min(policy.concurrency_start, policy.concurrency_max)
        self._policy = policy
        self._saturated_since: Instant | None = None

    def deadline(self) -> Instant | None:
        """When it grows next, if it stays saturated."""
        if self._saturated_since is None or self.now >= self._policy.concurrency_max:
            return None
        return self._saturated_since + self._policy.concurrency_period

    def observe(self, *, saturated: bool, now: Instant) -> None:
        if not saturated:
            self._saturated_since = None
        elif self._saturated_since is None:
            self._saturated_since = now
        elif now >= self._saturated_since + self._policy.concurrency_period:
            self.now = min(self.now + self._policy.concurrency_step, self._policy.concurrency_max)
            self._saturated_since = now
