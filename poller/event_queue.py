"""The queue of asynchronous invocations: its events, and what keeps them (spec 12.4)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from poller.core.event_steps import QueuedEvent
from poller.core.model import Instant
from poller.wire.invocation_records import EventResponse


@dataclass(frozen=True, slots=True)
class AcceptedEvent:
    """An event as it was accepted.  `function`: the key that declares it."""

    function: str
    function_arn: str
    payload: bytes
    request_id: str
    trace_id: str
    client_context: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """Who is told of an event's result, decided with it at `since`: ARNs, None for nobody."""

    since: Instant
    destination: str | None = None
    dead_letter: str | None = None


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event, whole.

    `response`: how its last attempt went, if there was one.  `told`: None until it has a result.
    """

    state: QueuedEvent
    accepted: AcceptedEvent
    response: EventResponse | None = None
    told: Told | None = None


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many events wait, and the bytes of their payloads."""

    events: int = 0
    bytes: int = 0


class EventStore(Protocol):
    """Keeps events.  Raises StateError."""

    async def add_event(self, event: AcceptedEvent, now: Instant) -> None:
        """Returns once the event, accepted and due `now`, survives a kill of this process."""

    async def due_events(
        self, function: str, limit: int, *, by: Instant, held: Collection[int]
    ) -> tuple[Sequence[QueuedEvent], Instant | None]:
        """Up to `limit` events of a function due by then, the first due first, without those
        `held`; and when the first of the others is due that are not held either."""

    async def event(self, id: int) -> StoredEvent | None: ...

    async def note_event(
        self, state: QueuedEvent, response: EventResponse | None = None, told: Told | None = None
    ) -> None:
        """Change what decides about an event; without a new response the last one stays."""

    async def remove_event(self, id: int) -> None: ...

    async def backlogs(self) -> Mapping[str, Backlog]:
        """Of each function that has events."""
