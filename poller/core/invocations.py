"""When the events of one function's asynchronous invocations run, and how they end (spec 12.4).

what an attempt came to        attempts  refusals  then
the function ran               +1        0         settled: Success
it failed, retries are left    +1        0         again after 1 minute, the next time after 2
it failed, none are left       +1        0         settled: RetriesExhausted
it was not reached             as it was +1        again after 1 s, doubled each time up to 300 s

An event is given up as EventAgeExceeded once it is `age_max` old, and already when its function
failed and the wait would end later than that (recorded).  One that was not reached gets a last try
a second before that age instead.  Events run in the order in which they are due, many at a time.

Where a result is to be told, it is noted before anything is delivered, so that what was decided
once is decided for good.  Every event that is held here has one command under way; all others are
in the store, and `_look_at` is no later than the first time at which one of them is due.  An empty
queue is the one state in which nothing is under way and there is no deadline.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from .event_steps import (
    DeliverEvent,
    EventAccepted,
    EventCommand,
    EventDelivered,
    EventFact,
    EventInvoked,
    EventNoted,
    EventRemoved,
    EventResult,
    EventsLoaded,
    InvokeEvent,
    LoadEvents,
    NoteEvent,
    PolicyChanged,
    QueuedEvent,
    RemoveEvent,
)
from .model import Failed, Instant, Refused, Seconds, Succeeded
from .policy import EventPolicy
from .steps import Finish, Started, Stopping, Ticked

ERROR_WAIT: Seconds = 60.0  # after the first error, twice that after the second
REFUSAL_WAIT_MIN: Seconds = 1.0
REFUSAL_WAIT_MAX: Seconds = 300.0
LAST_TRY_BEFORE: Seconds = 1.0  # before an event is too old
DELIVERIES_MAX = 100  # events that are held beyond those that run, while their results are told


class EventMachine:
    """The events of one function."""

    def __init__(self, policy: EventPolicy) -> None:
        self.finished = False
        self._policy = policy
        self._held: dict[int, QueuedEvent] = {}
        self._running: set[int] = set()
        self._look_at: Instant | None = None
        self._loading = False
        self._stopping = False

    @property
    def held(self) -> int:
        """Events with something under way: an invocation, or what follows it."""
        return len(self._held)

    def handle(self, fact: EventFact, now: Instant) -> list[EventCommand]:
        assert not self.finished
        commands = list(self._learn(fact, now))
        room = self._room()
        if room and self._look_at is not None and self._look_at <= now:
            self._loading, self._look_at = True, None
            commands.append(LoadEvents(room, now, frozenset(self._held)))
        if self._stopping and not self._held and not self._loading:
            self.finished = True
            commands.append(Finish())
        return commands

    def deadline(self) -> Instant | None:
        return self._look_at if self._room() else None

    def _room(self) -> int:
        """How many events may be loaded now."""
        if self._loading or self._stopping:
            return 0
        most = self._policy.concurrency_max
        return max(0, min(most - len(self._running), most + DELIVERIES_MAX - len(self._held)))

    def _learn(self, fact: EventFact, now: Instant) -> Iterator[EventCommand]:
        match fact:
            case Started() | EventAccepted():
                self._look_by(now)
            case EventsLoaded():
                yield from self._loaded(fact, now)
            case EventInvoked(id, outcome, response):
                self._running.remove(id)
                yield self._judge(self._held[id], outcome, response, now)
            case EventNoted(id):
                event = self._held[id]
                if event.result is None:
                    del self._held[id]
                    self._look_by(event.due_at)
                else:
                    yield DeliverEvent(event)
            case EventDelivered(id):
                yield RemoveEvent(self._held[id])
            case EventRemoved(id):
                self._running.discard(id)
                del self._held[id]
            case PolicyChanged(policy):
                self._policy = policy
            case Stopping():
                self._stopping = True
            case Ticked():
                pass

    def _loaded(self, fact: EventsLoaded, now: Instant) -> Iterator[EventCommand]:
        self._loading = False
        self._look_by(fact.next_due)
        for event in () if self._stopping else fact.events:
            assert event.id not in self._held
            self._held[event.id] = event
            yield self._begin(event, now)

    def _look_by(self, due_at: Instant | None) -> None:
        if due_at is not None:
            self._look_at = due_at if self._look_at is None else min(self._look_at, due_at)

    def _begin(self, event: QueuedEvent, now: Instant) -> EventCommand:
        if event.result is not None:
            return DeliverEvent(event)
        if now >= self._too_old_at(event):
            return self._settle(event, EventResult.EVENT_AGE_EXCEEDED)
        self._running.add(event.id)
        return InvokeEvent(event)

    def _judge(
        self,
        event: QueuedEvent,
        outcome: Succeeded | Failed | Refused,
        response: Any,
        now: Instant,
    ) -> EventCommand:
        """The table of this module."""
        match outcome:
            case Succeeded():
                ran = replace(event, attempts=event.attempts + 1, refusals=0)
                return self._settle(ran, EventResult.SUCCESS, response)
            case Failed():
                tried = replace(event, attempts=event.attempts + 1, refusals=0)
                if tried.attempts > self._policy.retries_max:
                    return self._settle(tried, EventResult.RETRIES_EXHAUSTED, response)
                due_at: Instant | None = now + ERROR_WAIT * tried.attempts
            case Refused(retry_after=asked):
                tried = replace(event, refusals=event.refusals + 1)
                due_at = self._after_refusal(tried, asked, now)
        if due_at is None or due_at >= self._too_old_at(event):
            return self._settle(tried, EventResult.EVENT_AGE_EXCEEDED, response)
        return self._note(replace(tried, due_at=due_at), response)

    def _after_refusal(
        self, event: QueuedEvent, asked: Seconds | None, now: Instant
    ) -> Instant | None:
        """When to try again; None where there is no time left for that."""
        doublings = min(event.refusals - 1, 32)
        wait = max(min(REFUSAL_WAIT_MIN * 2.0**doublings, REFUSAL_WAIT_MAX), asked or 0.0)
        due_at = min(now + wait, self._too_old_at(event) - LAST_TRY_BEFORE)
        return due_at if due_at >= now + REFUSAL_WAIT_MIN else None

    def _too_old_at(self, event: QueuedEvent) -> Instant:
        return event.accepted_at + self._policy.age_max

    def _settle(
        self, event: QueuedEvent, result: EventResult, response: Any = None
    ) -> EventCommand:
        settled = replace(event, result=result)
        policy = self._policy
        success = result is EventResult.SUCCESS
        if policy.tells_success if success else policy.tells_failure:
            return self._note(settled, response)
        return RemoveEvent(settled)

    def _note(self, event: QueuedEvent, response: Any) -> EventCommand:
        self._held[event.id] = event
        return NoteEvent(event, response)
