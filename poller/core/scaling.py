"""How many invocations of one queue may run at once, over time (spec 8.1, 8.3).

| what happens                                   | the number of slots becomes                    |
| ---------------------------------------------- | ---------------------------------------------- |
| it starts                                      | `concurrency_start`                            |
| a period ago all were taken, nothing is owed   | a step more, `concurrency_max` at most         |
| a function error, where `backs_off`            | half a slot less, `concurrency_floor` at least |
| a refusal                                      | what runs beside it, the floor at least        |
| a period ago all were taken, after a refusal   | one more                                       |
| an idle period in which some were never taken  | what was taken, `concurrency_start` at least   |
| an idle period without a single invocation     | `concurrency_start`, and nothing is owed       |
| five of these in a row                         | `concurrency_quiet`                            |

Half a slot: where every invocation fails, a round of them halves the number; where one in a hundred
does, growth outweighs it.  For a function error ten successes are owed before there is growth
again, for all of them together one for each slot.  A refusal tells how many the function can take:
for it one for each slot is owed, two if the slot that came then is refused, too, and so on up to
sixteen.
"""

from __future__ import annotations

from .model import Instant
from .policy import POLLER_CONCURRENCY, QueuePolicy

SUCCESSES_OWED = 10
ROUNDS_OWED_MAX = 16
QUIET_PERIODS = 5


class ConcurrencyLimit:
    """`slots` is how many invocations may run.

    `granted` is more than that for a while after it fell: what runs, and what was asked of the
    queue already, keeps its slots, since waiting for one would spend the visibility timeout.
    """

    def __init__(self, policy: QueuePolicy) -> None:
        self._max = policy.concurrency_max
        self._start = min(policy.concurrency_start, self._max)
        self._floor = min(policy.concurrency_floor, self._start)
        self._quiet = min(policy.concurrency_quiet, self._start)
        self._policy = policy
        self._exact = float(self._start)
        self.slots = self._start
        self.granted = self._start
        self._owed = 0
        self._throttled = False  # there was a refusal since it grew
        self._probing = False  # the last growth came after a refusal
        self._rounds = 1  # of successes that are owed for a refusal
        self._grows_at: Instant | None = None  # the end of a period in which all were taken
        self._taken_most = 0  # in this idle period
        self._idle_until: Instant | None = None  # the end of this idle period
        self._idle_periods = 0  # without an invocation, in a row

    @property
    def pollers(self) -> int | None:
        """How many provisioned pollers the slots take."""
        least = self._policy.pollers_min
        return None if least is None else max(least, -(-self.slots // POLLER_CONCURRENCY))

    def deadline(self) -> Instant | None:
        """When it grows next, if all slots are taken."""
        return self._grows_at

    def pass_time(self, now: Instant) -> None:
        """Let periods end that are over by now."""
        if self._grows_at is not None and now >= self._grows_at:
            self._grows_at = None
            self._become(self._exact + (1 if self._throttled else self._policy.concurrency_step))
            self._probing, self._throttled = self._throttled, False
        if self._idle_until is None:
            self._idle_until = now + self._policy.idle_period
        elif now >= self._idle_until:
            self._idle_until = now + self._policy.idle_period
            self._end_idle_period()

    def observe(self, *, running: int, promised: int, refusing: bool, now: Instant) -> None:
        """So many batches run or wait to be tried again; so many more were asked for.

        All slots need not be taken throughout a period: where runs are short, some are always free
        for a moment.
        """
        self._taken_most = max(self._taken_most, running)
        self.granted = max(self.slots, min(self.granted, running + promised))
        full = running >= self.slots and not refusing
        if full and not self._owed and self._grows_at is None and self.slots < self._max:
            self._grows_at = now + self._policy.concurrency_period

    def succeeded(self) -> None:
        if self._owed:
            self._owed -= 1

    def failed(self) -> None:
        """The function was reached and failed."""
        if self._policy.backs_off:
            self._become(self._exact - 0.5)
            self._owe(self._owed + SUCCESSES_OWED)

    def refused(self, *, beside: int) -> None:
        """The function was not reached, while `beside` other batches ran."""
        self._become(min(self._exact, beside))
        if not self._throttled:
            self._rounds = min(2 * self._rounds, ROUNDS_OWED_MAX) if self._probing else 1
            self._throttled = True
        self._owe(self._owed_max())

    def _owe(self, successes: int) -> None:
        self._owed = min(successes, self._owed_max())
        self._grows_at = None

    def _owed_max(self) -> int:
        return self.slots * (self._rounds if self._throttled else 1)

    def _end_idle_period(self) -> None:
        taken, self._taken_most = self._taken_most, 0
        if taken:
            self._idle_periods = 0
            self._become(min(self._exact, max(taken, self._start)))
            return
        self._idle_periods += 1
        self._owed = 0
        self._throttled = self._probing = False
        is_quiet = self._idle_periods >= QUIET_PERIODS
        self._exact = float(self._quiet if is_quiet else self._start)
        self._become(self._exact)

    def _become(self, exact: float) -> None:
        low = min(self._floor, self._exact)
        self._exact = min(max(exact, low), float(self._max))
        self.slots = int(self._exact)
        self.granted = max(self.granted, self.slots)
