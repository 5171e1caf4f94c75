"""Which lane a record belongs to, now and when its shard was last read.

A record's lane is a stable hash of its key, so that a key never runs in two batches at once.  After
a restart the marks of the run before say which records beyond the position were settled already;
they hold by the lane count of that run, so each count's marks are kept until the watermark has
passed them.
"""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

from .model import LaneMarks, Record


def lane_of(record: Record, count: int) -> int:
    return lanes_of((record,), count)[0]


def lanes_of(records: Sequence[Record], count: int) -> list[int]:
    """The lane of each record of `count` lanes.

    A record without a key has no order to keep; its sequence number spreads it.
    """
    return [
        crc32((record.sequence if (key := record.key) is None else key).encode()) % count
        for record in records
    ]


class Ahead:
    """What earlier runs had settled beyond the position; one entry for each lane count."""

    def __init__(self, entries: Sequence[LaneMarks]) -> None:
        self._entries = tuple(entries)
        self._levels = [
            (entry.count, [_level(mark) for mark in entry.settled]) for entry in entries
        ]
        self._highest = max((max(levels) for _, levels in self._levels), default=-1)

    def __bool__(self) -> bool:
        return bool(self._entries)

    def covers(self, record: Record) -> bool:
        """Whether this record was settled before the restart."""
        sequence = int(record.sequence)
        return sequence <= self._highest and any(
            sequence <= levels[lane_of(record, count)] for count, levels in self._levels
        )

    def passed_by(self, sequence: str | None) -> bool:
        """Whether a watermark at `sequence` leaves nothing here to know."""
        return sequence is not None and int(sequence) >= self._highest

    def with_marks(
        self, marks: Sequence[str | None], sequence: str | None
    ) -> tuple[LaneMarks, ...]:
        """What to store beside a watermark at `sequence`, with the marks of this run's lanes."""
        count = len(marks)
        others = tuple(entry for entry in self._entries if entry.count != count)
        for entry in self._entries:
            if entry.count == count:
                marks = [max(pair, key=_level) for pair in zip(marks, entry.settled, strict=True)]
        low = _level(sequence)
        beyond = tuple(mark if _level(mark) > low else None for mark in marks)
        return (LaneMarks(count, beyond), *others) if any(beyond) else others


def _level(mark: str | None) -> int:
    return -1 if mark is None else int(mark)
