"""Counts how invocations of each declared function fare, from mappings, the API and queued ones.

What the numbers mean is Lambda's (namespace AWS/Lambda):

invocations   the function ran, whether it returned or failed
errors        those of them that failed: it raised, timed out, ended, answered garbage
throttles     there was no free slot within the patience, or the function itself said so
not_reached   it could not be reached for any other reason; on Lambda these have no metric
duration      how long those took that ran, with the start of a process where there was one

Throttled ones and those not reached are no invocations.
"""

from __future__ import annotations

from collections.abc import Collection

from poller.core.model import Seconds
from poller.interfaces import Errored, NotReached, Ran, Reply

from .counts import DURATION_BOUNDS, Histogram


class FunctionCounts:
    """One function's; what its `Limited` target tells.  `running`: invocations under way."""

    __slots__ = ("duration", "errors", "invocations", "not_reached", "running", "throttles")

    def __init__(self) -> None:
        self.running = 0
        self.invocations = 0
        self.errors = 0
        self.throttles = 0
        self.not_reached = 0
        self.duration = Histogram(DURATION_BOUNDS)

    def throttled(self) -> None:
        self.throttles += 1

    def began(self) -> None:
        self.running += 1

    def ended(self, reply: Reply | None, seconds: Seconds) -> None:
        self.running -= 1
        match reply:
            case Ran():
                self._ran(seconds)
            case Errored():
                self.errors += 1
                self._ran(seconds)
            case NotReached(throttled=True):
                self.throttles += 1
            case NotReached():
                self.not_reached += 1
            case None:
                pass  # how it would have ended is not known

    def _ran(self, seconds: Seconds) -> None:
        self.invocations += 1
        self.duration.observe(seconds)


class FunctionTally:
    """The counts of all declared functions, by the key that declares them."""

    def __init__(self) -> None:
        self.functions: dict[str, FunctionCounts] = {}

    def of(self, name: str) -> FunctionCounts:
        """A function's counts, from zero if it is new; they go on when its config changes."""
        return self.functions.setdefault(name, FunctionCounts())

    def keep(self, names: Collection[str]) -> None:
        """Forget all but `names`, so that functions which come and go do not add up."""
        self.functions = {name: each for name, each in self.functions.items() if name in names}
