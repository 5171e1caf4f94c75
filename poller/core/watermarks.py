"""The checkpoint rule: never pass a record that is not settled.

Records get ordinals, 0, 1, 2, ... in shard order.  Each lane settles its records in order, so the
watermark is simply the lowest unsettled ordinal of all lanes; what is kept here turns it back into
a sequence number.  The cost is per read, not per record.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from .model import Record


class Watermark:
    """Everything below ordinal `low` is settled; `sequence` is the last such record's."""

    def __init__(self, sequence: str | None) -> None:
        self.sequence = sequence
        self.low = 0
        self.next = 0
        self.bytes = 0
        self._runs: deque[tuple[int, Sequence[Record], int]] = deque()

    @property
    def unsettled(self) -> int:
        """How far reading is ahead of the watermark, in records."""
        return self.next - self.low

    def track(self, records: Sequence[Record], size: int) -> range:
        """Take in the records of one read; return their ordinals."""
        ordinals = range(self.next, self.next + len(records))
        if records:
            self._runs.append((self.next, records, size))
            self.next += len(records)
            self.bytes += size
        return ordinals

    def advance(self, low: int) -> None:
        """Every record below ordinal `low` is settled now."""
        assert self.low <= low <= self.next
        if low == self.low:
            return
        last: Record | None = None
        while self._runs and self._runs[0][0] + len(self._runs[0][1]) <= low:
            _, records, size = self._runs.popleft()
            last = records[-1]
            self.bytes -= size
        if self._runs and self._runs[0][0] < low:
            base, records, _ = self._runs[0]
            last = records[low - 1 - base]
        assert last is not None
        self.sequence = last.sequence
        self.low = low

    def oldest(self) -> Record | None:
        """The first record that is not settled."""
        if not self._runs:
            return None
        base, records, _ = self._runs[0]
        return records[self.low - base]
