"""Which of many like events are worth a line in the log.

What goes wrong goes wrong again and again; a person wants the first, a reminder now and then, and
the end.
"""

from __future__ import annotations

from dataclasses import dataclass

from poller.core.model import Instant, Seconds


@dataclass(frozen=True, slots=True)
class Over:
    """An episode that was announced has ended: how many times it happened, for how long."""

    times: int
    seconds: Seconds


class Episode:
    """A row of failures that ends with a success.

    The first failure is worth a line, and then one in each `reminder_period` (None: no more until
    it ends).  What flaps is announced once in `QUIET_PERIOD`, so two lines at most.
    """

    QUIET_PERIOD: Seconds = 60.0

    def __init__(self, reminder_period: Seconds | None) -> None:
        self._reminder_period = reminder_period
        self._began_at: Instant = 0.0
        self._said_at: Instant = float("-inf")
        self._times = 0
        self._announced = False

    @property
    def going_on(self) -> bool:
        return self._times > 0

    def failed(self, now: Instant) -> int | None:
        """Count one failure.  If it is worth a line: the number of failures so far."""
        if not self._times:
            self._began_at = now
        self._times += 1
        period = self._reminder_period if self._announced else self.QUIET_PERIOD
        if period is None or now - self._said_at < period:
            return None
        self._said_at, self._announced = now, True
        return self._times

    def succeeded(self, now: Instant) -> Over | None:
        """End the episode, if there is one; what was never announced ends in silence."""
        times, announced = self._times, self._announced
        self._times, self._announced = 0, False
        return Over(times, now - self._began_at) if announced else None


class Allowance:
    """At most `lines` in each `period`, and how many were left out since."""

    def __init__(self, lines: int, period: Seconds) -> None:
        self._lines = lines
        self._period = period
        self._since: Instant = float("-inf")
        self._used = 0
        self._left_out = 0

    def spend(self, now: Instant) -> int | None:
        """None if this one is left out, else how many were left out before it."""
        if now - self._since >= self._period:
            self._since, self._used = now, 0
        if self._used == self._lines:
            self._left_out += 1
            return None
        self._used += 1
        left_out, self._left_out = self._left_out, 0
        return left_out

    @property
    def used_up(self) -> bool:
        return self._used == self._lines
