"""Tumbling windows: which one a record counts in, its state, and when it is over (spec 4.2).

nothing open   the first batch of a window is invoked with an empty state, which opens it
open           each batch is invoked with the state that was returned before it in this window
over           the next record is of a later window, or time has moved past the end: the final
               invocation comes, without records, and its success closes the window
cut short      the state has outgrown its limit, or leaves no room for the next record: the final
               invocation comes early, and the window goes on with an empty state

Windows only move forward.  A record that turns up after its window has closed, or after a later one
has opened, counts in the one that is open, or else in the next.  A window that is open when the
length of windows changes keeps its end; where windows are turned off, it is cut short and closed.
"""

from __future__ import annotations

from dataclasses import replace

from .model import (
    BEGINNING,
    EVERYTHING,
    Batch,
    Instant,
    Record,
    Seconds,
    TumblingWindow,
    WindowTurn,
)
from .policy import StreamPolicy
from .steps import Fetched

EMPTY_STATE = b"{}"
GRACE: Seconds = 2.0  # how far the clock that stamps records may be behind ours
QUIET_MAX: Seconds = 120.0  # a shard that brings nothing for so long has been read up to now


def windows_of(policy: StreamPolicy, latest: TumblingWindow | None) -> Windows | None:
    """None where windows do not tumble, and none is still open from when they did."""
    if policy.tumbling_window is None and (latest is None or latest.state is None):
        return None
    return Windows(policy, latest)


class Windows:
    """The windows of one shard.  `latest`, open or closed, is what a position stores."""

    def __init__(self, policy: StreamPolicy, latest: TumblingWindow | None) -> None:
        assert policy.tumbling_window is None or policy.lanes == 1, "lanes cannot share a state"
        self.latest = latest
        self._length = policy.tumbling_window
        self._state_bytes_max = policy.state_bytes_max
        self._next: TumblingWindow | None = None  # while none is open: what the next record opens
        self._lacks_room = False
        self._passed: Instant = BEGINNING  # nothing from before this instant is still to come
        self._quiet_since: Instant | None = None

    @property
    def are_off(self) -> bool:
        """What is open is all that is left of them."""
        return self._length is None

    @property
    def open(self) -> TumblingWindow | None:
        return None if self.latest is None or self.latest.state is None else self.latest

    @property
    def state(self) -> bytes:
        """What the next invocation gets."""
        opened = self.open
        return EMPTY_STATE if opened is None or opened.state is None else opened.state

    @property
    def cut_short(self) -> bool:
        """Whether the final invocation is due before anything else, and before its time."""
        if self.open is None:
            return False
        return self._lacks_room or self.are_off or len(self.state) > self._state_bytes_max

    # How far reading has come.

    def fetched(self, fact: Fetched) -> None:
        """The last record counts even if a filter rejects it: it shows that time has moved on."""
        if fact.records or self._quiet_since is None:
            self._quiet_since = fact.asked_at
        is_quiet = fact.asked_at - self._quiet_since >= QUIET_MAX
        reach = max(fact.read_up_to, fact.asked_at) if is_quiet else fact.read_up_to
        last = fact.records[-1].arrived_at if fact.records else BEGINNING
        self._passed = EVERYTHING if fact.shard_ended else max(self._passed, last, reach - GRACE)

    def fetch_failed(self) -> None:
        """Nothing was heard of the shard, which is not the same as quiet."""
        self._quiet_since = None

    # Which batch is next.

    def is_over(self, head: Record | None) -> bool:
        """Whether the final invocation is due; `head` is the next record, if one waits."""
        if self.open is None:
            return False
        return (self._passed if head is None else head.arrived_at) >= self.open.end

    def end_for(self, head: Record) -> Instant:
        """The end of the window that `head`, the next record, counts in."""
        if self.open is None:
            self._next = self._window_of(head)
        return self._current().end

    def is_past(self, end: Instant) -> bool:
        """Whether nothing from before `end` is still to come."""
        return self._passed >= end

    def make_room(self) -> None:
        """The next record does not fit beside the state."""
        self._lacks_room = True

    # What an invocation is told, and what comes of it.

    def enter(self, batch: Batch) -> WindowTurn:
        """`batch` is invoked now: it gets the state of now, whenever it was formed."""
        self.latest = self._current()
        return self.turn(batch)

    def turn(self, batch: Batch) -> WindowTurn:
        """What is told of `batch`; where a window is cut short, that can only be the final one."""
        window, final = self._current(), not batch.records
        return WindowTurn(window.start, window.end, self.state, final, early=self.cut_short)

    def keep(self, state: bytes) -> None:
        self.latest = replace(self._current(), state=state)

    def close(self) -> None:
        """The final invocation has succeeded."""
        goes_on = self.cut_short and not self.are_off
        closed = replace(self._current(), state=EMPTY_STATE if goes_on else None)
        self.latest = None if self.are_off else closed
        self._lacks_room = False

    def _current(self) -> TumblingWindow:
        window = self.open or self._next
        assert window is not None
        return window

    def _window_of(self, record: Record) -> TumblingWindow:
        assert self._length is not None
        closed_to = BEGINNING if self.latest is None else self.latest.end
        counts_at = max(record.arrived_at, closed_to)
        start = counts_at - counts_at % self._length
        return TumblingWindow(max(start, closed_to), start + self._length, EMPTY_STATE)
