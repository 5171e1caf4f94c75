"""The engine's one clock: comparable with record timestamps, and it never steps back."""

from __future__ import annotations

import time

from poller.core.model import Instant, Seconds

AHEAD_MAX: Seconds = 1.0  # wall time further ahead than this means that the machine slept


class Clock:
    """Wall time at the start plus what has passed since, anchored anew after a sleep."""

    def __init__(self) -> None:
        self._anchor = time.time() - time.monotonic()

    def now(self) -> Instant:
        """Seconds since the epoch."""
        monotonic = time.monotonic()
        ahead = time.time() - monotonic - self._anchor
        if ahead > AHEAD_MAX:
            self._anchor += ahead
        return self._anchor + monotonic
