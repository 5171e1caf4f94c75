"""One lane: an ordered sub-stream with at most one batch in flight."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from .batches import Batcher, Taken
from .model import EVERYTHING, Batch, ClosedBy, Discard, DiscardReason, Instant, Outcome, Record
from .policy import StreamPolicy
from .steps import Deliver, Invoke
from .verdicts import part
from .watermarks import count_whole
from .windows import EMPTY_STATE, Windows


class Lane:
    """Work waits in two places: records not yet batched, and batches to (re)try.

    Batches to retry always go first, which is what keeps a lane in order.  A lane that has settled
    something invokes again only once that is durable: `unsaved` is the settlement to wait for.
    `windows`: the shard's tumbling windows, if it has any; they end with the final invocation, a
    batch without records.
    """

    def __init__(
        self,
        index: int,
        policy: StreamPolicy,
        new_id: Callable[[], int],
        windows: Windows | None = None,
    ) -> None:
        self.busy: Batch | None = None
        self.mark: str | None = None  # the last sequence number of which nothing is left here
        self.unsaved = 0
        self.blocked: str | None = None  # why the front batch is tried again
        self._index = index
        self._policy = policy
        self._new_id = new_id
        self._windows = windows
        # Every batch leaves room for the largest state, which may have grown when it is invoked.
        state_bytes = 0 if policy.tumbling_window is None else policy.state_bytes_max
        self._waiting = Batcher[Record, int](
            policy.batch_size, policy.batch_bytes_max - state_bytes, policy.batch_window
        )
        self._again: deque[Batch] = deque()
        self._again_at: Instant = 0.0
        self._free_since: Instant = 0.0
        self._last: Outcome | None = None

    @property
    def drained(self) -> bool:
        if self._windows is not None and self._windows.open is not None:
            return False
        return self.busy is None and not self._again and not self._waiting

    @property
    def hungry(self) -> bool:
        """Fewer records wait than the next two batches could take."""
        return len(self._waiting) < 2 * self._policy.batch_size

    def add(
        self, records: Sequence[Record], ordinals: Sequence[int], *, size: int, now: Instant
    ) -> None:
        self._waiting.add(records, ordinals, size=size, now=now)

    def lowest(self) -> int | None:
        """The ordinal of the first record that is not settled; None if nothing is here."""
        busy = self.busy
        if busy is not None and busy.ordinals:
            return busy.ordinals[0]
        if self._again:
            return self._first_again()
        return self._waiting.first_place()

    def next(self, now: Instant, *, saved: int, flush: bool) -> Invoke | Deliver | None:
        """What this lane, which is not busy, has to do now, if anything; that keeps it busy.

        `saved`: the last settlement that is durable.  `flush`: no more records can join.
        """
        assert self.busy is None
        if self.unsaved > saved:
            return None
        batch = self._front(now, flush)
        if batch is None:
            return None
        if self._too_large(batch):
            return self.give_up(batch, DiscardReason.RECORD_TOO_LARGE, None)
        expired, count = self._leading(batch, now)
        if count < len(batch.records):
            rest = part(batch, count, len(batch.records), anew=False)
            self._again.appendleft(replace(rest, id=self._new_id()))
            batch = part(batch, 0, count, anew=False)
        if expired:
            last = self._last if batch.attempts else None
            return self.give_up(batch, DiscardReason.RECORD_AGE_EXCEEDED, last)
        windows = self._windows
        if windows is None:
            self.busy = batch
            return Invoke(batch)
        if self._lacks_room(batch, windows):
            self._again.appendleft(batch)
            windows.make_room()
            batch = self._final()
        self.busy = batch
        return Invoke(batch, windows.enter(batch))

    def deadline(self, *, saved: int, flush: bool) -> Instant | None:
        if self.busy is not None or self.unsaved > saved:
            return None
        if self._again:
            return min(self._again_at, self._expires_at(self._again[0]))
        due_at = self._waiting.due_at(self._free_since)
        return 0.0 if flush and due_at is not None else due_at

    def settle(
        self, count: int, now: Instant, *, settlement: int, state: bytes | None = None
    ) -> None:
        """The lane is free again, and its batch's first `count` records are done for good.

        `state`: the state of the window that has them, if it has changed.
        """
        assert self.busy is not None
        done, self.busy = self.busy, None
        self._free_since = now
        self.blocked = None
        if count:
            following = self._following(done.records[count:])
            whole = count_whole(done.records[:count], following)
            self.mark = done.records[whole - 1].sequence if whole else self.mark
            self.unsaved = settlement
            if self._windows is not None and state is not None:
                self._windows.keep(state)

    def close_window(self, now: Instant, *, settlement: int) -> None:
        """The lane is free again: the final invocation of its window has succeeded."""
        assert self._windows is not None
        self.settle(0, now, settlement=settlement)
        self.unsaved = settlement
        self._windows.close()
        if self._windows.are_off:
            self._windows = None

    def retry(self, batches: Iterable[Batch], outcome: Outcome, *, why: str, at: Instant) -> None:
        """Try these next, in this order, but not before `at`."""
        renewed = [replace(batch, id=self._new_id()) for batch in batches]
        self._again.extendleft(reversed(renewed))
        self._again_at = at
        self._last, self.blocked = outcome, why

    def leaves_room(self) -> bool:
        """Whether a record was too large beside its window's state, and gets an empty one now."""
        windows = self._windows
        if windows is None or len(windows.state) <= len(EMPTY_STATE):
            return False
        windows.make_room()
        return True

    def give_up(self, batch: Batch, reason: DiscardReason, outcome: Outcome | None) -> Deliver:
        self.busy = batch
        window = None if self._windows is None else self._windows.turn(batch)
        return Deliver(Discard(reason, batch, outcome, window))

    def _following(self, rest: Sequence[Record]) -> Record | None:
        """The next record of this lane, of those that were read; `rest` is left of its batch."""
        if rest:
            return rest[0]
        return self._again[0].records[0] if self._again else self._waiting.first()

    def _front(self, now: Instant, flush: bool) -> Batch | None:
        windows = self._windows
        if windows is not None and windows.cut_short and not self._final_is_next():
            return self._final()
        if self._again:
            if now >= self._again_at:
                return self._again.popleft()
            # Records that are too old need not wait for the backoff of the others.
            return self._again.popleft() if now >= self._expires_at(self._again[0]) else None
        self._again_at = 0.0
        if windows is None:
            taken = self._waiting.take(now, opened_at=self._free_since, flush=flush)
        elif windows.is_over(self._waiting.first()):
            return self._final()
        else:
            taken = self._take_within(windows, now, flush)
        if taken is None:
            return None
        items, places, closed_by, added_at = taken
        return Batch(self._new_id(), self._index, items, places, closed_by, since=added_at)

    def _take_within(
        self, windows: Windows, now: Instant, flush: bool
    ) -> Taken[Record, int] | None:
        """What is due, up to the end of its window."""
        head = self._waiting.first()
        if head is None:
            return None
        end = windows.end_for(head)
        return self._waiting.take(
            now,
            opened_at=self._free_since,
            flush=flush or windows.is_past(end),
            joins=lambda record: record.arrived_at < end,
        )

    def _first_again(self) -> int | None:
        """A final invocation may be the first to try again; it has no records."""
        places = (batch.ordinals[0] for batch in self._again if batch.ordinals)
        return next(places, self._waiting.first_place())

    def _final(self) -> Batch:
        return Batch(self._new_id(), self._index, (), (), ClosedBy.FLUSH)

    def _final_is_next(self) -> bool:
        return bool(self._again) and not self._again[0].records

    def _lacks_room(self, batch: Batch, windows: Windows) -> bool:
        """Whether a record too large for a common batch must wait for an empty state."""
        added = len(windows.state) - len(EMPTY_STATE)
        size = batch.records[0].size if len(batch.records) == 1 else 0
        return added > 0 and size + added > self._policy.batch_bytes_max

    def _expires_at(self, batch: Batch) -> Instant:
        limit = self._policy.record_age_max
        if limit is None or not batch.records:
            return EVERYTHING
        return batch.records[0].arrived_at + limit

    def _too_large(self, batch: Batch) -> bool:
        limit = self._policy.batch_bytes_max
        return len(batch.records) == 1 and batch.records[0].size > limit

    def _leading(self, batch: Batch, now: Instant) -> tuple[bool, int]:
        """Whether the first record is too old, and how many records share that answer.

        Marks assume a settled prefix, so a batch is cut wherever the answer changes.
        """
        limit = self._policy.record_age_max
        if limit is None:
            return False, len(batch.records)
        expired = now >= self._expires_at(batch)
        for index, record in enumerate(batch.records):
            if (now >= record.arrived_at + limit) is not expired:
                return expired, index
        return expired, len(batch.records)
