"""The steps of a queue of asynchronous invocations: its events, facts in, commands out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .model import Failed, Instant, Refused, Succeeded
from .policy import EventPolicy
from .steps import Finish, Started, Stopping, Ticked


class EventResult(StrEnum):
    """The `condition` of an invocation record."""

    SUCCESS = "Success"
    RETRIES_EXHAUSTED = "RetriesExhausted"
    EVENT_AGE_EXCEEDED = "EventAgeExceeded"


@dataclass(frozen=True, slots=True)
class QueuedEvent:
    """An event as decisions need to know it.

    `size`: the bytes of its payload.  `due_at`: when it may run.  `attempts`: how often the
    function ran it.  `refusals`: how often in a row it was not reached since.  `result`: what was
    decided; None: it is still to run.
    """

    id: int
    request_id: str
    size: int
    accepted_at: Instant
    due_at: Instant
    attempts: int = 0
    refusals: int = 0
    result: EventResult | None = None


# Facts, beside Started, Ticked and Stopping.


@dataclass(frozen=True, slots=True)
class EventAccepted:
    """The store has one more event, due at once."""


@dataclass(frozen=True, slots=True)
class PolicyChanged:
    """What is decided from now on goes by this."""

    policy: EventPolicy


@dataclass(frozen=True, slots=True)
class EventsLoaded:
    """`next_due`: when the first is due of those that were neither held nor loaded."""

    events: Sequence[QueuedEvent]
    next_due: Instant | None


@dataclass(frozen=True, slots=True)
class EventInvoked:
    """`response` is what is to be remembered of it, None: nothing new; only handed on here."""

    id: int
    outcome: Succeeded | Failed | Refused
    response: Any = None


@dataclass(frozen=True, slots=True)
class EventNoted:
    id: int


@dataclass(frozen=True, slots=True)
class EventDelivered:
    id: int


@dataclass(frozen=True, slots=True)
class EventRemoved:
    """The store does not have it any more; answers every command about an event that is gone."""

    id: int


EventFact = (
    Started
    | EventAccepted
    | PolicyChanged
    | EventsLoaded
    | EventInvoked
    | EventNoted
    | EventDelivered
    | EventRemoved
    | Ticked
    | Stopping
)


# Commands.  Each but Finish is answered by exactly one fact.


@dataclass(frozen=True, slots=True)
class LoadEvents:
    """Up to `limit` events that are due by `due_by` and not among `held`; the first due first.

    Answered by EventsLoaded.
    """

    limit: int
    due_by: Instant
    held: frozenset[int]


@dataclass(frozen=True, slots=True)
class InvokeEvent:
    """Answered by EventInvoked, or EventRemoved."""

    event: QueuedEvent


@dataclass(frozen=True, slots=True)
class NoteEvent:
    """Make what has become of an event durable.  Answered by EventNoted."""

    event: QueuedEvent
    response: Any = None


@dataclass(frozen=True, slots=True)
class DeliverEvent:
    """Tell the destinations of an event's result.  Answered by EventDelivered, or EventRemoved."""

    event: QueuedEvent


@dataclass(frozen=True, slots=True)
class RemoveEvent:
    """The event is settled.  Answered by EventRemoved."""

    event: QueuedEvent


EventCommand = LoadEvents | InvokeEvent | NoteEvent | DeliverEvent | RemoveEvent | Finish
