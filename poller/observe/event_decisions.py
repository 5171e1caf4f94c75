"""One line in the log for each decision about queued events that a person would act on.

what happens                              level     how often
the function fails                        warning   the first, one a minute, and the end (info)
the function is not reached               warning   the same
an event is given up                      warning   each, up to ten a minute for a function

Lines say which function and request, and never what an event holds.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from poller.core.event_steps import (
    EventInvoked,
    NoteEvent,
    RemoveEvent,
)
from poller.core.model import Failed, Instant, Refused, Succeeded

from .decisions import DISCARD_LINES_MAX, DISCARD_PERIOD, REMINDER_PERIOD, as_field
from .episodes import Allowance, Episode
from .event_counts import given_up

logger = logging.getLogger("poller.decisions")


class EventDecisions:
    """Writes the log of all functions."""

    def __init__(self) -> None:
        self._functions: dict[str, _FunctionLog] = {}

    def saw_event(self, function: str, fact: Any, commands: Sequence[Any], now: Instant) -> None:
        log = self._functions.get(function)
        if log is None:
            log = self._functions[function] = _FunctionLog(function)
        for command in commands:
            if isinstance(command, NoteEvent | RemoveEvent):
                log.judged(fact, command, now)


class _FunctionLog:
    """What is remembered of one function between its lines."""

    def __init__(self, function: str) -> None:
        self._function = function
        self._errors = Episode(REMINDER_PERIOD)
        self._refusals = Episode(REMINDER_PERIOD)
        self._lines = Allowance(DISCARD_LINES_MAX, DISCARD_PERIOD)

    def judged(self, fact: Any, command: NoteEvent | RemoveEvent, now: Instant) -> None:
        if isinstance(fact, EventInvoked):
            self._invoked(fact, command, now)
        if (event := given_up(fact, command)) is None:
            return
        left_out = self._lines.spend(now)
        if left_out is None:
            return
        told = isinstance(command, NoteEvent)
        fate = "it is sent on" if told else "there is nowhere to send it, so it is dropped"
        fields: dict[str, object] = {
            "request": event.request_id,
            "reason": event.result,
            "attempts": event.attempts,
            "age": now - event.accepted_at,
        }
        if left_out:
            fields["not_logged"] = left_out
        self._line(logging.WARNING, f"a queued event is given up; {fate}", fields)

    def _invoked(self, fact: EventInvoked, command: NoteEvent | RemoveEvent, now: Instant) -> None:
        request: dict[str, object] = {"request": command.event.request_id}
        match fact.outcome:
            case Refused(error):
                if (times := self._refusals.failed(now)) is not None:
                    fields = {**request, "error": error, "times": times}
                    self._line(logging.WARNING, "the function is not reached", fields)
                return
            case Failed(error):
                if (times := self._errors.failed(now)) is not None:
                    fields = {**request, "error": error, "attempt": command.event.attempts}
                    if command.event.result is None:
                        fields["again_in"] = command.event.due_at - now
                    fields["failures"] = times
                    self._line(logging.WARNING, "the function failed", fields)
            case Succeeded():
                if over := self._errors.succeeded(now):
                    fields = {"failures": over.times, "after": over.seconds}
                    self._line(logging.INFO, "the function works again", fields)
        if over := self._refusals.succeeded(now):
            fields = {"times": over.times, "after": over.seconds}
            self._line(logging.INFO, "the function is reached again", fields)

    def _line(self, level: int, message: str, fields: dict[str, object]) -> None:
        extra = {name: as_field(value) for name, value in fields.items()}
        logger.log(level, message, extra={"function": self._function, **extra})
