"""One life of one function's queue of events: its machine, and how its commands are carried out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from poller.core.event_steps import (
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
from poller.core.invocations import EventMachine
from poller.core.model import Failed, Fate, Instant, Refused, Seconds, Succeeded
from poller.core.policy import EventPolicy
from poller.core.steps import Finish
from poller.event_queue import EventStore, StoredEvent, Told
from poller.interfaces import Errored, Failure, Invocation, NotReached, Ran, Reply, Target
from poller.wire.invocation_records import (
    EventResponse,
    Notice,
    dead_letter,
    dead_letter_attributes,
    error_payload,
    invocation_record,
    record_key,
)

from .driver import Driver
from .insisting import insist
from .invoking import new_id

THROTTLED, UNREACHABLE, TOO_LARGE = 429, 500, 413  # the ErrorCode of what never ran


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFunction:
    """A function that is invoked asynchronously.  `key` declares it; the ARNs are those who are
    told what its events came to, None for nobody."""

    key: str
    target: Target
    policy: EventPolicy
    timeout: Seconds
    on_success: str | None = None
    on_failure: str | None = None
    dead_letter: str | None = None


class EventObserver(Protocol):
    def saw_event(
        self, function: str, fact: Any, commands: Sequence[Any], now: Instant
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class EventSurroundings:
    """What all queues share.  `removed` is called with each event that has left the store."""

    now: Callable[[], Instant]
    store: EventStore
    deliver: Callable[[Failure], Awaitable[Fate]]
    observers: Sequence[EventObserver]
    removed: Callable[[str, QueuedEvent], None]


class EventRun:
    """Runs the events of a function until it is stopped."""

    def __init__(self, function: EventFunction, around: EventSurroundings) -> None:
        self._function = function
        self._around = around
        self._machine = EventMachine(function.policy)
        self._driver = Driver(self._machine, self._perform, clock=around.now, saw=self._saw)
        self._seen_at = around.now()

    async def run(self) -> None:
        """Raises what nobody expected."""
        await self._driver.run()

    def accepted(self) -> None:
        """The store has one more event."""
        self._driver.post(EventAccepted())

    def change(self, function: EventFunction) -> None:
        """Invocations from now on are of this function; its key is the same."""
        self._function = function
        self._driver.post(PolicyChanged(function.policy))

    def stop(self, until: Instant) -> None:
        self._driver.stop(until)

    @property
    def held(self) -> int:
        return self._machine.held

    @property
    def overdue(self) -> Seconds:
        """How long ago something should have happened; 0 while all is well."""
        deadline = self._machine.deadline()
        if deadline is None or self.held:
            return 0.0
        return max(0.0, self._around.now() - max(deadline, self._seen_at))

    def _saw(self, fact: Any, commands: Sequence[Any], now: Instant) -> None:
        self._seen_at = now
        for observer in self._around.observers:
            observer.saw_event(self._function.key, fact, commands, now)

    async def _perform(self, command: EventCommand) -> EventFact:
        store, what = self._around.store, f"the queue of function {self._function.key}"
        match command:
            case LoadEvents(limit, due_by, held):
                key = self._function.key
                events, next_due = await insist(
                    lambda: store.due_events(key, limit, by=due_by, held=held), what
                )
                return EventsLoaded(events, next_due)
            case InvokeEvent(event):
                stored = await insist(lambda: store.event(event.id), what)
                return EventRemoved(event.id) if stored is None else await self._invoke(stored)
            case NoteEvent(event, response):
                told = None if event.result is None else self._told(event.result)
                await insist(lambda: store.note_event(event, response, told), what)
                return EventNoted(event.id)
            case DeliverEvent(event):
                stored = await insist(lambda: store.event(event.id), what)
                return EventRemoved(event.id) if stored is None else await self._deliver(stored)
            case RemoveEvent(event):
                await insist(lambda: store.remove_event(event.id), what)
                self._around.removed(self._function.key, event)
                return EventRemoved(event.id)
            case Finish():
                raise AssertionError("Finish is the driver's")

    async def _invoke(self, stored: StoredEvent) -> EventFact:
        event = stored.accepted
        reply = await self._function.target.invoke(
            Invocation(
                event.payload,
                event.request_id,
                event.function_arn,
                event.trace_id,
                client_context=event.client_context,
            )
        )
        return _invoked(stored.state, reply)

    def _told(self, result: EventResult) -> Told:
        """Who is told of a result that is decided now."""
        function, now = self._function, self._around.now()
        if result is EventResult.SUCCESS:
            return Told(now, function.on_success)
        return Told(now, function.on_failure, function.dead_letter)

    async def _deliver(self, stored: StoredEvent) -> EventDelivered:
        notices = documents(stored, self._function.key)
        await asyncio.gather(*(self._around.deliver(notice) for notice in notices))
        return EventDelivered(stored.state.id)


def documents(stored: StoredEvent, function: str) -> list[Failure]:
    """The documents about an event that has a result, for those who are to be told."""
    event, told, state = stored.accepted, stored.told, stored.state
    assert told is not None
    succeeded = state.result is EventResult.SUCCESS
    made = []

    def make(arn: str, document: str, **more: Any) -> None:
        notice = Notice(event.request_id, event.function_arn, succeeded, event.trace_id, **more)
        key = record_key(event.function_arn, told.since, new_id())
        made.append(Failure("", function, "", arn, document, "", key, 1, notice))

    if told.destination is not None:
        record = invocation_record(
            state,
            function_arn=event.function_arn,
            payload=event.payload,
            response=stored.response,
            now=told.since,
        )
        make(told.destination, record)
    if told.dead_letter is not None:
        attributes = dead_letter_attributes(state, stored.response)
        letter = dead_letter(event.payload)
        make(told.dead_letter, letter, dead_letter=True, attributes=attributes)
    return made


def _invoked(event: QueuedEvent, reply: Reply) -> EventInvoked:
    match reply:
        case Ran(body, version):
            response = EventResponse(executed_version=version, payload=body)
            return EventInvoked(event.id, Succeeded(), response)
        case Errored(error_type, message):
            response = EventResponse(
                reply.status_code,
                reply.executed_version,
                reply.function_error,
                message,
                reply.payload or error_payload(error_type, message),
            )
            return EventInvoked(event.id, Failed(f"{error_type}: {message}"), response)
        case NotReached(why, too_large=True):
            # It never will take it, so this is an error like one of its own.
            payload = error_payload("RequestTooLarge", why)
            response = EventResponse(TOO_LARGE, message=why, payload=payload)
            return EventInvoked(event.id, Failed(why), response)
        case NotReached(why, throttled, retry_after):
            # What an attempt that ran came to says more.
            code = THROTTLED if throttled else UNREACHABLE
            refusal = None if event.attempts else EventResponse(code, message=why)
            return EventInvoked(event.id, Refused(why, retry_after), refusal)
