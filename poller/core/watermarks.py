"""The checkpoint rule: never pass a record that is not settled.

Records get ordinals, 0, 1, 2, ... in shard order.  Each lane settles its records in order, so the
watermark is simply the lowest unsettled ordinal of all lanes; what is kept here turns it back into
a sequence number.  The cost is per read, not per record.

Records that came out of one aggregate share its sequence number and are read together.  Reading can
begin only before or after all of them, so a sequence number counts once all its records are
settled, and until then `begun` counts them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from .model import Begun, Position, Record


class Watermark:
    """Everything below ordinal `low` is settled: all up to `sequence`, and what `begun` counts."""

    def __init__(self, resume: Position) -> None:
        self.sequence = resume.sequence
        self.begun = resume.begun
        self.low = 0
        self.next = 0
        self.bytes = 0
        self._runs: deque[tuple[int, Sequence[Record], int]] = deque()

    @property
    def unsettled(self) -> int:
        """How far reading is ahead of the watermark, in records."""
        return self.next - self.low

    def track(self, records: Sequence[Record], size: int) -> range:
        """Take in the records of one read; return the ordinals of those that are not settled yet.

        These are all but the first ones of a run, if the run before stopped within an aggregate.
        """
        start = self.next
        if records:
            if start == 0 and self.begun is not None:
                start = self.begun.settled if self.begun.sequence == records[0].sequence else 0
                self.begun = None
            self._runs.append((self.next, records, size))
            self.next += len(records)
            self.bytes += size
        return range(start, self.next)

    def advance(self, low: int) -> None:
        """Every record below ordinal `low` is settled now."""
        assert self.low <= low <= self.next
        if low == self.low:
            return
        while self._runs and self._runs[0][0] + len(self._runs[0][1]) <= low:
            _, records, size = self._runs.popleft()
            self.sequence, self.begun = records[-1].sequence, None
            self.bytes -= size
        if self._runs and self._runs[0][0] < low:
            base, records, _ = self._runs[0]
            self._enter(records[max(self.low - base, 0) : low - base], records[low - base])
        self.low = low

    def oldest(self) -> Record | None:
        """The first record that is not settled."""
        if not self._runs:
            return None
        base, records, _ = self._runs[0]
        return records[self.low - base]

    def _enter(self, settled: Sequence[Record], following: Record) -> None:
        """These records are settled too, and `following`, from the same read, is not."""
        whole = count_whole(settled, following)
        count = len(settled) - whole
        if whole:
            self.sequence = settled[whole - 1].sequence
        elif self.begun is not None:
            count += self.begun.settled
        self.begun = Begun(following.sequence, count) if count else None


def count_whole(records: Sequence[Record], following: Record | None) -> int:
    """How many of `records`, the last ones aside, have another sequence number than `following`,
    the record after them."""
    count = len(records)
    while following is not None and count and records[count - 1].sequence == following.sequence:
        count -= 1
    return count
