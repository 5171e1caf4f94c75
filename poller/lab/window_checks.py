"""The invariants of tumbling windows, which the judge of a stream machine checks beside its own.

The function's state is the list of the records that it counted, so that every state can be compared
with what happened: no record is counted twice or left out, whatever fails, stops or crashes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from poller.core.model import (
    BEGINNING,
    EVERYTHING,
    Batch,
    Instant,
    Outcome,
    Succeeded,
    TooLarge,
    TumblingWindow,
    WindowTurn,
)
from poller.core.policy import StreamPolicy
from poller.core.steps import Fetched
from poller.core.windows import GRACE, QUIET_MAX

from .world import MadeRecord, counted


@dataclass(frozen=True, slots=True)
class Final:
    """A final invocation that succeeded: the window's bounds, the records it was told of."""

    start: Instant
    end: Instant
    early: bool
    counted: tuple[int, ...]
    at: Instant


class WindowChecker:
    """Watches the windows of one shard through any number of lives.

    `finals`: those whose success is stored.
    """

    def __init__(self, records: Sequence[MadeRecord]) -> None:
        self.finals: list[Final] = []
        self._records = records

    def begin(self, policy: StreamPolicy, stored: TumblingWindow | None) -> None:
        self._policy = policy
        self.open: tuple[Instant, Instant] | None = None
        self._counted: list[int] = []
        self._closed_to: Instant = BEGINNING
        if stored is not None and stored.state is not None:
            self.open, self._counted = (stored.start, stored.end), counted(stored.state)
        elif stored is not None:
            self._closed_to = stored.end
        self._turns: dict[int, WindowTurn | None] = {}  # by lanes, of what runs
        self._unsaved: list[Final] = []
        self._saving = 0
        self._failed_at: Instant = BEGINNING
        self._no_room_for: int | None = None  # the record whose event was too large by itself
        self._reach: Instant = BEGINNING  # what is read shows that time has come so far
        self._last_came_at: Instant | None = None

    def fetched(self, fact: Fetched) -> None:
        if fact.records or self._last_came_at is None:
            self._last_came_at = fact.asked_at
        is_quiet = fact.asked_at - self._last_came_at >= QUIET_MAX
        read_up_to = fact.asked_at if is_quiet else fact.read_up_to
        arrivals = [record.arrived_at for record in fact.records]
        end = EVERYTHING if fact.shard_ended else BEGINNING
        self._reach = max([self._reach, read_up_to - GRACE, end, *arrivals])

    def fetch_failed(self) -> None:
        self._last_came_at = None

    def invoke(
        self, batch: Batch, turn: WindowTurn | None, head: MadeRecord | None, now: Instant
    ) -> None:
        """`head`: the first record that was read and is not settled."""
        self._turns[batch.lane] = turn
        if batch.lane == 0:  # the one that has windows
            assert not self._unsaved, "goes on before the end of a window is durable"
        if turn is None:
            assert self._policy.tumbling_window is None
            assert batch.records
            return
        if self.open is None:
            assert batch.records, "the final invocation of no window"
            self.open, self._counted = self._window_of(batch.records[0].arrived_at), []
        assert (turn.start, turn.end) == self.open, "the wrong window"
        assert counted(turn.state) == self._counted, "the wrong state"
        assert turn.final is not bool(batch.records)
        if turn.final:
            assert now >= self._failed_at + self._policy.backoff_min / 2, "no backing off"
            self._may_end(turn, head, is_retry=batch.attempts > 0)
        else:
            self._may_go_on(turn, batch)

    def invoked(self, batch: Batch, outcome: Outcome, done: list[int], now: Instant) -> None:
        turn = self._turns.pop(batch.lane)
        if turn is None:
            return
        self._counted += done
        if not turn.final:
            alone = isinstance(outcome, TooLarge) and len(batch.records) == 1
            self._no_room_for = batch.records[0].index if alone else None  # type: ignore[attr-defined]
            return
        if not isinstance(outcome, Succeeded):
            self._failed_at = now
            return
        self._failed_at = BEGINNING
        self._unsaved.append(Final(turn.start, turn.end, turn.early, tuple(self._counted), now))
        self._counted = []
        if not turn.early or self._policy.tumbling_window is None:
            self.open, self._closed_to = None, turn.end

    def gave_up(self, batch: Batch) -> None:
        """A record that the function does not take was given up."""
        assert batch.lane or not self._counted, "given up although it may fit beside an empty state"

    def checkpoint(self, window: TumblingWindow | None) -> None:
        """A position that is stored holds the state of exactly what it covers."""
        self._saving = len(self._unsaved)
        if self.open is None:
            assert window is None or window.state is None, "a closed window is stored as open"
            if window is not None:
                assert window.end == self._closed_to
            elif self._policy.tumbling_window is not None:
                assert self._closed_to == BEGINNING
            return
        assert window is not None
        assert window.state is not None
        assert (window.start, window.end) == self.open
        assert counted(window.state) == self._counted, "state and watermark differ"

    def saved(self) -> None:
        self.finals += self._unsaved[: self._saving]
        del self._unsaved[: self._saving]

    def _may_go_on(self, turn: WindowTurn, batch: Batch) -> None:
        policy = self._policy
        assert not turn.early
        assert all(record.arrived_at < turn.end for record in batch.records), "crosses the end"
        assert len(turn.state) <= policy.state_bytes_max, "goes on with too large a state"
        size = len(turn.state) - len("{}") + sum(record.size for record in batch.records)
        assert size <= policy.batch_bytes_max, "a payload over the limit"

    def _may_end(self, turn: WindowTurn, head: MadeRecord | None, *, is_retry: bool) -> None:
        policy = self._policy
        if turn.early:
            added = len(turn.state) - len("{}")
            too_large = len(turn.state) > policy.state_bytes_max
            no_room = head is not None and head.size + added > policy.batch_bytes_max
            refused = head is not None and head.index == self._no_room_for
            needed = policy.tumbling_window is None or too_large or no_room or refused
            assert needed, "cut short for nothing"
            return
        assert policy.tumbling_window is not None
        if head is not None and not is_retry:  # what comes between its tries is late
            assert head.arrived_at >= turn.end, "ends with a record left"
        assert self._reach >= turn.end, "ends too soon"

    def _window_of(self, arrived_at: Instant) -> tuple[Instant, Instant]:
        length = self._policy.tumbling_window
        assert length is not None, "a window opens although there are none"
        counts_at = max(arrived_at, self._closed_to)
        start = counts_at // length * length
        return max(start, self._closed_to), start + length
