"""State that lives and ends with the process: for tests, and for runs that need no resuming."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import count, islice

from poller.core.event_steps import QueuedEvent
from poller.core.model import Instant, Position
from poller.event_queue import AcceptedEvent, Backlog, StoredEvent, Told
from poller.interfaces import Failure, StoredMapping
from poller.wire.invocation_records import EventResponse


class MemoryStore:
    """A `Store` in dictionaries; never raises StateError."""

    def __init__(self) -> None:
        self._mappings: dict[str, StoredMapping] = {}
        self._positions: defaultdict[str, dict[str, Position]] = defaultdict(dict)
        self._pinned: set[str] = set()
        self._failures: dict[int, Failure] = {}
        self._events: dict[int, StoredEvent] = {}
        self._ids = count(1)

    async def positions(self, mapping: str) -> dict[str, Position]:
        return dict(self._positions.get(mapping, {}))

    async def save(self, mapping: str, shard: str, position: Position) -> None:
        self._positions[mapping][shard] = position

    async def forget(self, mapping: str, shards: Collection[str]) -> None:
        for shard in shards:
            self._positions[mapping].pop(shard, None)

    async def mappings(self) -> Sequence[StoredMapping]:
        """The oldest first."""
        kept = (_apart(mapping) for mapping in self._mappings.values())
        return sorted(kept, key=lambda mapping: (mapping.created_at, mapping.uuid))

    async def put(self, mapping: StoredMapping, pins: Mapping[str, Position] | None = None) -> None:
        self._mappings[mapping.uuid] = _apart(mapping)
        if pins is not None:
            await self.pin(mapping.uuid, pins)

    async def pinned(self, uuid: str) -> bool:
        return uuid in self._pinned

    async def pin(self, uuid: str, pins: Mapping[str, Position]) -> None:
        self._positions[uuid].update(pins)
        if uuid in self._mappings:
            self._pinned.add(uuid)

    async def note_results(self, results: Mapping[str, str]) -> None:
        for uuid in results.keys() & self._mappings.keys():
            self._mappings[uuid] = replace(self._mappings[uuid], result=results[uuid])

    async def remove(self, uuid: str) -> None:
        self._mappings.pop(uuid, None)
        self._positions.pop(uuid, None)
        self._pinned.discard(uuid)

    async def keep(self, failure: Failure) -> None:
        self._failures[next(self._ids)] = failure

    async def kept(self, limit: int, *, after: int = 0) -> Sequence[tuple[int, Failure]]:
        beyond = (entry for entry in self._failures.items() if entry[0] > after)
        return list(islice(beyond, limit))

    async def drop(self, ids: Collection[int]) -> None:
        for id in ids:
            self._failures.pop(id, None)

    async def count_kept(self) -> int:
        return len(self._failures)

    async def add_event(self, event: AcceptedEvent, now: Instant) -> None:
        state = QueuedEvent(next(self._ids), event.request_id, len(event.payload), now, now)
        self._events[state.id] = StoredEvent(state, event)

    async def due_events(
        self, function: str, limit: int, *, by: Instant, held: Collection[int]
    ) -> tuple[Sequence[QueuedEvent], Instant | None]:
        rest = sorted(
            (each.state for each in self._events.values() if each.accepted.function == function),
            key=lambda event: (event.due_at, event.id),
        )
        return first_due([event for event in rest if event.id not in held], limit, by)

    async def event(self, id: int) -> StoredEvent | None:
        return self._events.get(id)

    async def note_event(
        self, state: QueuedEvent, response: EventResponse | None = None, told: Told | None = None
    ) -> None:
        if stored := self._events.get(state.id):
            response = response or stored.response
            self._events[state.id] = replace(stored, state=state, response=response, told=told)

    async def remove_event(self, id: int) -> None:
        self._events.pop(id, None)

    async def backlogs(self) -> Mapping[str, Backlog]:
        found: defaultdict[str, Backlog] = defaultdict(Backlog)
        for stored in self._events.values():
            event = stored.accepted
            before = found[event.function]
            found[event.function] = Backlog(before.events + 1, before.bytes + len(event.payload))
        return dict(found)


def first_due(
    events: Sequence[QueuedEvent], limit: int, by: Instant
) -> tuple[Sequence[QueuedEvent], Instant | None]:
    """Of events in the order in which they are due: those to run, and when the next one is due."""
    due = [event for event in events[:limit] if event.due_at <= by]
    return due, next((event.due_at for event in events[len(due) :]), None)


def _apart(mapping: StoredMapping) -> StoredMapping:
    """The same value, sharing nothing that its owner may change later."""
    return replace(mapping, request=copy.deepcopy(mapping.request))
