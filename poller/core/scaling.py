"""How many invocations of one queue may run at once, over time (spec 8.1)."""

from __future__ import annotations

from .model import Instant
from .policy import QueuePolicy


class ConcurrencyLimit:
    """Starts low, and grows by a step at the end of each period in which all slots were taken.

    All slots need not be taken throughout: where runs are short, some are always free for a moment.
    """

    def __init__(self, policy: QueuePolicy) -> None:
        self.now = min(policy.concurrency_start, policy.concurrency_max)
        self._policy = policy
        self._grows_at: Instant | None = None  # the end of a period in which all were taken

    def deadline(self) -> Instant | None:
        """When it grows next, if all slots are taken."""
        return self._grows_at if self.now < self._policy.concurrency_max else None

    def observe(self, *, saturated: bool, now: Instant) -> None:
        if self._grows_at is not None and now >= self._grows_at:
            self.now = min(self.now + self._policy.concurrency_step, self._policy.concurrency_max)
            self._grows_at = None
        elif saturated and self._grows_at is None:
            self._grows_at = now + self._policy.concurrency_period
