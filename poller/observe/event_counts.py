"""Counts how the events of asynchronous invocations fare, function by function.

What the numbers mean is Lambda's (namespace AWS/Lambda):

received             events accepted
dropped              events given up, by their condition, wherever they were sent then
age                  how long after it was accepted an event was sent to the function, each time
delivery_failures    attempts to send a record to a destination that failed
dead_letter_errors   the same of dead letters; AWS loses these, here they are kept and sent later
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from poller.core.event_steps import (
    EventAccepted,
    EventInvoked,
    EventResult,
    EventsLoaded,
    InvokeEvent,
    NoteEvent,
    QueuedEvent,
    RemoveEvent,
)
from poller.core.model import Instant
from poller.event_queue import Backlog
from poller.interfaces import Failure

from .counts import Histogram

# Seconds: at once, after the waits that follow errors, and on to the oldest that an event can be.
AGE_BOUNDS = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 65.0, 180.0, 190.0, 600.0, 1800.0, 7200.0, 21_600.0)


class EventCounts:
    """One function's."""

    __slots__ = ("age", "dead_letter_errors", "delivery_failures", "dropped", "received")

    def __init__(self) -> None:
        self.received = 0
        self.dropped: Counter[str] = Counter(
            {
                result.value: 0
                for result in (EventResult.RETRIES_EXHAUSTED, EventResult.EVENT_AGE_EXCEEDED)
            }
        )
        self.age = Histogram(AGE_BOUNDS)
        self.delivery_failures = 0
        self.dead_letter_errors = 0


class EventTally:
    """The counts of all functions that had events, by the key that declares them.

    `backlogs`: what is queued now, which somebody else keeps count of.
    """

    def __init__(self) -> None:
        self.backlogs: Mapping[str, Backlog] = {}
        self.functions: dict[str, EventCounts] = {}

    def of(self, function: str) -> EventCounts:
        return self.functions.setdefault(function, EventCounts())

    def keep(self, functions: Collection[str]) -> None:
        """Forget all but these, so that functions which come and go do not add up."""
        self.functions = {key: each for key, each in self.functions.items() if key in functions}

    def saw_event(self, function: str, fact: Any, commands: Sequence[Any], now: Instant) -> None:
        counts = self.of(function)
        if type(fact) is EventAccepted:
            counts.received += 1
        for command in commands:
            if type(command) is InvokeEvent:
                counts.age.observe(max(0.0, now - command.event.accepted_at))
            elif (event := given_up(fact, command)) is not None and event.result is not None:
                counts.dropped[event.result.value] += 1

    def delivery_failed(self, failure: Failure) -> None:
        """One attempt to deliver a document about an event went wrong."""
        counts = self.of(failure.function)
        if failure.notice is not None and failure.notice.dead_letter:
            counts.dead_letter_errors += 1
        else:
            counts.delivery_failures += 1


def given_up(fact: Any, command: Any) -> QueuedEvent | None:
    """The event that `command` gives up, because of `fact`; None if it gives up none."""
    if not isinstance(command, NoteEvent | RemoveEvent):
        return None
    decided = isinstance(fact, EventInvoked | EventsLoaded)
    failed = command.event.result not in {None, EventResult.SUCCESS}
    return command.event if decided and failed else None
