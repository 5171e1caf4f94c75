"""When do waiting items become a batch?

Items are kept in stretches, as they came: a batch is usually one slice of one stretch, so the cost
is per batch and not per item.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

from .model import ClosedBy, Instant, Seconds


class Sized(Protocol):
    @property
    def size(self) -> int: ...


ItemT = TypeVar("ItemT", bound=Sized)
PlaceT = TypeVar("PlaceT")


@dataclass(slots=True)
class _Stretch(Generic[ItemT, PlaceT]):
    """Items that came together; `places[i]` belongs to `items[i]`; those from `start` wait."""

    items: Sequence[ItemT]
    places: Sequence[PlaceT]
    size: int
    added_at: Instant
    start: int = 0


class Taken(NamedTuple, Generic[ItemT, PlaceT]):
    """A batch that is due: items, the place of each, why it closed, when its first item came."""

    items: Sequence[ItemT]
    places: Sequence[PlaceT]
    closed_by: ClosedBy
    added_at: Instant


class Batcher(Generic[ItemT, PlaceT]):
    """Holds items, in order, until a batch of them is due.

    A batch is due when it is full (count or bytes), when its window is over, or when `flush` says
    that nothing more will join it.  The window begins when its first item comes, but not before
    `opened_at`, where the invocation before it ended (spec 4.1).
    """

    def __init__(self, count_max: int, bytes_max: int, window: Seconds) -> None:
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._window = window
        self._stretches: deque[_Stretch[ItemT, PlaceT]] = deque()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(
        self, items: Sequence[ItemT], places: Sequence[PlaceT], *, size: int, now: Instant
    ) -> None:
        """`size` is at least the sum of the items' sizes."""
        if items:
            self._stretches.append(_Stretch(items, places, size, now))
            self._count += len(items)

    def first(self) -> ItemT | None:
        if not self._stretches:
            return None
        stretch = self._stretches[0]
        return stretch.items[stretch.start]

    def first_place(self) -> PlaceT | None:
        if not self._stretches:
            return None
        stretch = self._stretches[0]
        return stretch.places[stretch.start]

    def due_at(self, opened_at: Instant) -> Instant | None:
        """When the window of the next batch is over; None if nothing waits."""
        if not self._stretches:
            return None
        return max(self._stretches[0].added_at, opened_at) + self._window

    def take(
        self,
        now: Instant,
        *,
        opened_at: Instant = 0.0,
        flush: bool = False,
        joins: Callable[[ItemT], bool] | None = None,
    ) -> Taken[ItemT, PlaceT] | None:
        """Remove and return the due batch, or None.

        A batch ends before the first item that `joins` denies; the first one of all must join.
        """
        due_at = self.due_at(opened_at)
        if due_at is None:
            return None
        count, closed_by = self._measure(joins)
        if closed_by is None:
            if now >= due_at:
                closed_by = ClosedBy.WINDOW
            elif flush:
                closed_by = ClosedBy.FLUSH
            else:
                return None
        return self._remove(count, closed_by)

    def take_all(self) -> list[ItemT]:
        """Remove and return everything that waits."""
        items = [item for stretch in self._stretches for item in stretch.items[stretch.start :]]
        self._stretches.clear()
        self._count = 0
        return items

    def _measure(self, joins: Callable[[ItemT], bool] | None) -> tuple[int, ClosedBy | None]:
        """How many items fit in the next batch, and what keeps it from growing, if anything."""
        count = min(self._count, self._count_max)
        joining = count if joins is None else self._joining(count, joins)
        fits = self._fitting(joining)
        if fits < joining:
            return fits, ClosedBy.BYTES
        if joining < count:
            return joining, ClosedBy.FLUSH
        return count, ClosedBy.COUNT if count == self._count_max else None

    def _joining(self, count: int, joins: Callable[[ItemT], bool]) -> int:
        """How many of the first `count` items come before the first that does not join."""
        seen = 0
        for stretch in self._stretches:
            for item in stretch.items[stretch.start : stretch.start + count - seen]:
                if not joins(item):
                    return seen
                seen += 1
            if seen == count:
                break
        return seen

    def _fitting(self, count: int) -> int:
        """How many of the first `count` items fit in bytes; one always does."""
        if self._size_at_most(count) <= self._bytes_max:
            return count
        seen = size = 0
        for stretch in self._stretches:
            for index in range(stretch.start, len(stretch.items)):
                size += stretch.items[index].size
                if seen == count or (seen and size > self._bytes_max):
                    return seen
                seen += 1
        return seen

    def _size_at_most(self, count: int) -> int:
        """A bound that costs nothing: the sizes of whole stretches."""
        size = 0
        for stretch in self._stretches:
            size += stretch.size
            count -= len(stretch.items) - stretch.start
            if count <= 0:
                break
        return size

    def _remove(self, count: int, closed_by: ClosedBy) -> Taken[ItemT, PlaceT]:
        self._count -= count
        stretch = self._stretches[0]
        added_at = stretch.added_at
        end = stretch.start + count
        if end <= len(stretch.items):
            taken = stretch.items[stretch.start : end], stretch.places[stretch.start : end]
            self._advance(stretch, end)
            return Taken(*taken, closed_by, added_at)
        items: list[ItemT] = []
        places: list[PlaceT] = []
        while count:
            stretch = self._stretches[0]
            end = min(stretch.start + count, len(stretch.items))
            count -= end - stretch.start
            items += stretch.items[stretch.start : end]
            places += stretch.places[stretch.start : end]
            self._advance(stretch, end)
        return Taken(items, places, closed_by, added_at)

    def _advance(self, stretch: _Stretch[ItemT, PlaceT], end: int) -> None:
        if end == len(stretch.items):
            self._stretches.popleft()
        else:
            stretch.start = end
