"""The invariants of a stream machine, checked on every command it gives.

Order per key, nothing settled runs again, no checkpoint passes an unsettled record, progress is
durable before a lane goes on, quotas, ages and bounds; what tumbling windows add is judged by
`window_checks`.  The simulator and the property tests share this judge.
"""

from __future__ import annotations

from collections.abc import Sequence

from poller.core.model import (
    BEGINNING,
    Batch,
    ClosedBy,
    Discard,
    DiscardReason,
    Failed,
    Instant,
    Outcome,
    PartlyFailed,
    Position,
    Refused,
    Succeeded,
    TooLarge,
)
from poller.core.policy import StreamPolicy
from poller.core.routing import lane_of
from poller.core.steps import Checkpoint, Command, Deliver, Fetch, Fetched, Finish, Invoke

from .window_checks import WindowChecker
from .world import MadeRecord


class StreamChecker:
    """Watches one shard through any number of lives."""

    def __init__(self, policy: StreamPolicy, records: Sequence[MadeRecord]) -> None:
        self.settled: set[int] = set()
        self.ran: set[int] = set()  # by any life, successfully
        self.lost: dict[int, DiscardReason] = {}
        self.reached: dict[int, int] = {}  # invocations in this life, by record
        self._tries: dict[int, int] = {}  # the same since the last split or progress
        self._records = records
        self._before = _earlier_of_key(records)
        self.windows = WindowChecker(records)
        self.begin(policy, None)

    def begin(self, policy: StreamPolicy, stored: Position | None) -> None:
        """A new life: what was settled is what the stored position says, and nothing else."""
        self.policy = policy
        self.stored = stored
        self.settled = self.covered(stored)
        self.busy: dict[int, Batch] = {}
        self.reached = {}
        self._tries = {}
        self._failed_at: dict[int, Instant] = {}
        self._idle_since: Instant | None = None
        self._fetch_failed_at = BEGINNING
        low = -1 if stored is None or stored.sequence is None else int(stored.sequence)
        self._read = sum(int(record.sequence) <= low for record in self._records)
        self._came_at: dict[int, Instant] = {}
        self._free_since: dict[int, Instant] = {}
        self.windows.begin(policy, None if stored is None else stored.window)

    def command(self, command: Command, now: Instant) -> None:
        match command:
            case Invoke(batch, window):
                self.windows.invoke(batch, window, self._next_unsettled(), now)
                self._invoke(batch, now)
            case Deliver(discard):
                self._deliver(discard, now)
            case Checkpoint(position):
                uncovered = self.covered(position) - self.settled
                assert not uncovered, "a checkpoint passes an unsettled record"
                self.windows.checkpoint(position.window)
            case Fetch(limit):
                self._fetch(limit, now)
            case Finish(shard_ended=True):
                assert len(self.settled) == len(self._records), "finished with work left"
                assert self.stored is not None
                assert self.stored.ended, "finished before the end was stored"
                assert self.covered(self.stored) == self.settled
                assert not self.windows.open, "finished with an open window"

    def fetch_failed(self, now: Instant) -> None:
        self.windows.fetch_failed()
        self._fetch_failed_at = now

    def fetched(self, fact: Fetched, now: Instant) -> None:
        self._read += len(fact.records)
        self._came_at.update((r.index, now) for r in fact.records)  # type: ignore[attr-defined]
        idle = not fact.records and fact.read_up_to >= fact.asked_at
        self._idle_since = fact.asked_at if idle else None
        self.windows.fetched(fact)

    def invoked(self, batch: Batch, outcome: Outcome, now: Instant) -> None:
        del self.busy[batch.lane]
        if batch.records:  # a batch that was due may wait for the end of a tumbling window
            self._free_since[batch.lane] = now
        indexes = _indexes(batch)
        if not isinstance(outcome, Refused | TooLarge):
            for index in indexes:
                self.reached[index] = self.reached.get(index, 0) + 1
                self._tries[index] = self._tries.get(index, 0) + 1
        done: list[int] = []
        match outcome:
            case Succeeded():
                done = indexes
            case PartlyFailed(failed):
                done = indexes[: min(failed)]
        self.windows.invoked(batch, outcome, done, now)
        bisected = isinstance(outcome, Failed) and outcome.bisectable and self.policy.bisect
        split = bisected or isinstance(outcome, TooLarge)
        if done or (split and len(indexes) > 1):
            self._tries.update(dict.fromkeys(indexes, 0))
        self.ran.update(done)
        self.settled.update(done)
        self._failed_at.update(dict.fromkeys(indexes[len(done) :], now))

    def delivered(self, discard: Discard, now: Instant) -> None:
        del self.busy[discard.batch.lane]
        self._free_since[discard.batch.lane] = now
        self.settled.update(_indexes(discard.batch))
        self.lost.update(dict.fromkeys(_indexes(discard.batch), discard.reason))

    def saved(self, position: Position) -> None:
        self.stored = position
        self.windows.saved()

    def ignored(self, index: int) -> None:
        """The filter rejects this record."""
        self.settled.add(index)

    def _invoke(self, batch: Batch, now: Instant) -> None:
        indexes = _indexes(batch)
        self._take_lane(batch, indexes)
        durable = self.covered(self.stored)
        for index in self._done_in_lane(batch.lane) - durable:
            begun = self.policy.lanes > 1 and self.is_begun(index)
            assert begun, "a lane went on before its progress was durable"
        if batch.records:
            self._invoke_records(batch, indexes, now)

    def _invoke_records(self, batch: Batch, indexes: list[int], now: Instant) -> None:
        policy = self.policy
        assert len(batch.records) <= policy.batch_size
        size = sum(record.size for record in batch.records)
        assert size <= policy.batch_bytes_max, "a payload over the limit"
        self._is_whole(batch, indexes, size, now)
        for index, record in zip(indexes, batch.records, strict=True):
            since = now - self._failed_at.get(index, -1e9)
            assert since >= policy.backoff_min / 2, "a retry without backing off"
            if policy.record_age_max is not None:
                assert now < record.arrived_at + policy.record_age_max, "a stale record ran"
        quota = policy.retries_max
        assert quota is None or batch.invocations <= quota, "more tries than allowed"

    def _is_whole(self, batch: Batch, indexes: list[int], size: int, now: Instant) -> None:
        """A batch closed by a limit has reached it."""
        if batch.closed_by is ClosedBy.WINDOW and self.policy.record_age_max is None:
            opened = max(self._came_at[indexes[0]], self._free_since.get(batch.lane, 0.0))
            assert now >= opened + self.policy.batch_window - 1e-6, "closed before its window"
        if batch.closed_by is ClosedBy.COUNT and self.policy.record_age_max is None:
            assert len(batch.records) == self.policy.batch_size
        if batch.closed_by is ClosedBy.BYTES and self.policy.lanes == 1:
            rest = (r for r in self._records[indexes[-1] + 1 :] if r.index not in self.settled)
            following = next(rest, None)
            assert following is not None
            stale = self.policy.record_age_max is not None
            reserved = 0 if self.policy.tumbling_window is None else self.policy.state_bytes_max
            assert stale or size + following.size > self.policy.batch_bytes_max - reserved

    def _deliver(self, discard: Discard, now: Instant) -> None:
        batch, policy = discard.batch, self.policy
        assert batch.records, "an empty discard"
        assert (discard.window is None) is (policy.tumbling_window is None)
        self._take_lane(batch, _indexes(batch))
        match discard.reason:
            case DiscardReason.RETRIES_EXHAUSTED:
                assert batch.invocations == (policy.retries_max or 0) + 1
                split = policy.bisect and isinstance(discard.outcome, Failed)
                assert isinstance(discard.outcome, Failed | PartlyFailed)
                if split and isinstance(discard.outcome, Failed) and discard.outcome.bisectable:
                    assert len(batch.records) == 1, "given up before it was split"
            case DiscardReason.RECORD_AGE_EXCEEDED:
                assert policy.record_age_max is not None
                for record in batch.records:
                    assert now >= record.arrived_at + policy.record_age_max, "given up too young"
            case DiscardReason.RECORD_TOO_LARGE:
                [record] = batch.records
                if isinstance(discard.outcome, TooLarge):
                    self.windows.gave_up(batch)
                else:
                    assert record.size > policy.batch_bytes_max

    def _take_lane(self, batch: Batch, indexes: list[int]) -> None:
        assert batch.lane not in self.busy, "two batches in one lane"
        self.busy[batch.lane] = batch
        assert indexes == sorted(set(indexes))
        if not batch.records:
            return
        tries = {self._tries.get(index, 0) for index in indexes}
        assert tries == {batch.invocations}, "the count of tries is wrong"
        for index, record in zip(indexes, batch.records, strict=True):
            assert index not in self.settled, "a settled record comes again"
            assert lane_of(record, self.policy.lanes) == batch.lane
            earlier = self._before[index]
            assert earlier is None or earlier in self.settled or earlier in indexes, "key order"

    def _fetch(self, limit: int, now: Instant) -> None:
        assert 0 < limit <= self.policy.fetch_max
        first = self._next_unsettled()
        held = [] if first is None else self._records[first.index : self._read]
        assert len(held) + limit <= self.policy.unsettled_max, "reads more than may be unsettled"
        size = sum(record.size for record in held)
        assert size < self.policy.unsettled_bytes_max, "reads although it holds enough bytes"
        wait = now - self._fetch_failed_at
        assert wait >= self.policy.backoff_min / 2, "reads again without backing off"
        if self._idle_since is not None:
            wait = now - self._idle_since
            assert wait >= self.policy.poll_interval - 1e-6, "polls an idle shard too fast"

    def _next_unsettled(self) -> MadeRecord | None:
        """The first record that was read and is not settled."""
        read = self._records[: self._read]
        return next((record for record in read if record.index not in self.settled), None)

    def _done_in_lane(self, lane: int) -> set[int]:
        return {
            index
            for index in self.settled & (self.ran | set(self.lost))
            if lane_of(self._records[index], self.policy.lanes) == lane
        }

    def is_begun(self, index: int) -> bool:
        """Whether a record came out of an aggregate that is not wholly settled."""
        aggregate = self._of_sequence(self._records[index].sequence)
        return not self.settled.issuperset(record.index for record in aggregate)

    def _of_sequence(self, sequence: str) -> list[MadeRecord]:
        return [record for record in self._records if record.sequence == sequence]

    def covered(self, position: Position | None) -> set[int]:
        """The records that a run from this position would not see again."""
        if position is None:
            return set()
        low = -1 if position.sequence is None else int(position.sequence)
        covered = {record.index for record in self._records if int(record.sequence) <= low}
        if position.begun is not None:
            begun = self._of_sequence(position.begun.sequence)
            assert begun[0].index == len(covered), "an aggregate is begun before what precedes it"
            assert position.begun.settled < len(begun), "an aggregate is begun and whole"
            covered.update(record.index for record in begun[: position.begun.settled])
        for entry in position.ahead:
            for record in self._records:
                mark = entry.settled[lane_of(record, entry.count)]
                if mark is not None and int(record.sequence) <= int(mark):
                    covered.add(record.index)
        return covered


def _indexes(batch: Batch) -> list[int]:
    return [record.index for record in batch.records]  # type: ignore[attr-defined]


def _earlier_of_key(records: Sequence[MadeRecord]) -> list[int | None]:
    """For each record the one before it with the same key; none without a key."""
    last: dict[str, int] = {}
    earlier: list[int | None] = []
    for record in records:
        earlier.append(None if record.key is None else last.get(record.key))
        if record.key is not None:
            last[record.key] = record.index
    return earlier
