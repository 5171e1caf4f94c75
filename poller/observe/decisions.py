"""One line in the log for each decision that a person would act on, and no line for the rest.

what happens                              level     how often
the function fails or reports failures    warning   the first, one a minute, and the end (info)
the function is not reached               warning   the same
a batch is too large for the function     warning   each, up to one a minute for a shard
a tumbling window is cut short            warning   the same
a poll fails                              warning   the first, and the end (info)
records are given up                      warning   each, up to ten a minute for a shard
messages cannot be deleted                warning   the first, one a minute, and the end (info)
a shard has ended                         info      each

Lines say which mapping, function, shard and batch, and never what a record holds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from poller.core.model import (
    Batch,
    Discard,
    Failed,
    Fate,
    Instant,
    MessageBatch,
    PartlyFailed,
    Refused,
    Seconds,
    Succeeded,
    TooLarge,
)
from poller.core.steps import (
    Deleted,
    Deliver,
    Delivered,
    Fetched,
    FetchFailed,
    Finish,
    Invoke,
    Invoked,
    InvokeMessages,
    Received,
    ReceiveFailed,
    Started,
    Stopping,
)
from poller.interfaces import Unit
from poller.wire.windows import iso

from .episodes import Allowance, Episode

REMINDER_PERIOD: Seconds = 60.0
DISCARD_LINES_MAX = 10
DISCARD_PERIOD: Seconds = 60.0
ERROR_LENGTH_MAX = 300  # of the text of an error in a line

_FATES = {
    Fate.SENT: "their destination has the failure document",
    Fate.KEPT: "the failure document is kept until its destination works",
    Fate.DROPPED: "there is no destination, so they are dropped",
}

logger = logging.getLogger("poller.decisions")


class Decisions:
    """The Observer that writes the log."""

    def __init__(self) -> None:
        self._units: dict[Unit, _UnitLog] = {}

    def saw(self, unit: Unit, fact: Any, commands: Sequence[Any], now: Instant) -> None:
        log = self._units.get(unit)
        if log is None:
            log = self._units[unit] = _UnitLog(unit)
        tell = _TELL.get(type(fact))
        if tell is not None:
            tell(log, fact, now)
        for command in commands:
            tell = _TELL.get(type(command))
            if tell is not None:
                tell(log, command, now)
            if type(command) is Finish:
                del self._units[unit]

    def forget(self, mapping: str) -> None:
        """What was cut off has left something; what finished has not."""
        for unit in [unit for unit in self._units if unit.mapping == mapping]:
            del self._units[unit]


class _UnitLog:
    """What is remembered of one unit between its lines."""

    def __init__(self, unit: Unit) -> None:
        self._fields = {"mapping": unit.mapping, "function": unit.function}
        if unit.shard:
            self._fields["shard"] = unit.shard
        self._what = "message" if not unit.shard else "record"
        self._running: dict[int, Invoke | InvokeMessages] = {}
        self._discards: dict[int, Discard] = {}
        self._errors = Episode(REMINDER_PERIOD)
        self._refusals = Episode(REMINDER_PERIOD)
        self._too_large_lines = Allowance(1, REMINDER_PERIOD)
        self._cut_short_lines = Allowance(1, REMINDER_PERIOD)
        self._fetch_failures = Episode(None)
        self._undeleted = Episode(REMINDER_PERIOD)
        self._discard_lines = Allowance(DISCARD_LINES_MAX, DISCARD_PERIOD)
        self._stopping = False

    # What is under way.

    def started(self, fact: Started, now: Instant) -> None:
        """A new machine: what an earlier one of this unit had under way ends unseen."""
        self._running.clear()
        self._discards.clear()
        self._stopping = False

    def stopping(self, fact: Stopping, now: Instant) -> None:
        self._stopping = True

    def invoke_messages(self, command: InvokeMessages, now: Instant) -> None:
        self._running[command.batch.id] = command

    def invoke(self, command: Invoke, now: Instant) -> None:
        self._running[command.batch.id] = command
        window = command.window
        if window is None or not window.early or command.batch.attempts:
            return
        left_out = self._cut_short_lines.spend(now)
        if left_out is not None:
            self._warn(
                "a tumbling window is cut short: its state is too large, or windows are turned off",
                window_ends=iso(window.end),
                state_bytes=len(window.state),
                **({"not_logged": left_out} if left_out else {}),
            )

    def deliver(self, command: Deliver, now: Instant) -> None:
        self._discards[command.discard.batch.id] = command.discard

    # Invocations.

    def invoked(self, fact: Invoked, now: Instant) -> None:
        command = self._running.pop(fact.batch_id, None)
        if command is None:
            return
        match fact.outcome:
            case Succeeded():
                self._reached(now)
                if over := self._errors.succeeded(now):
                    self._info("the function works again", failures=over.times, after=over.seconds)
            case PartlyFailed(failed):
                self._reached(now)
                what = f"the function reported {len(failed)} {self._what}s as failed"
                self._erred(what, command, now)
            case Failed(error):
                self._reached(now)
                self._erred(_failed(command), command, now, error=error)
            case Refused(error):
                times = self._refusals.failed(now)
                if times is not None:
                    self._warn("the function is not reached", error=error, times=times)
            case TooLarge(error):
                self._too_large(command, error, now)

    def _reached(self, now: Instant) -> None:
        if over := self._refusals.succeeded(now):
            self._info("the function is reached again", times=over.times, after=over.seconds)

    def _erred(
        self, what: str, command: Invoke | InvokeMessages, now: Instant, **fields: object
    ) -> None:
        times, batch = self._errors.failed(now), command.batch
        if times is not None:
            described = _describe(batch)
            self._warn(what, **fields, **described, attempt=batch.attempts + 1, failures=times)

    def _too_large(self, command: Invoke | InvokeMessages, error: str, now: Instant) -> None:
        left_out = self._too_large_lines.spend(now)
        if left_out is None:
            return
        described = _describe(command.batch)
        match described.get("records", described.get("messages")):
            case None:
                what = "the final invocation of a window is too large for the function"
            case 1:
                what = f"a {self._what} is too large for the function by itself"
            case _:
                what = "a batch is too large for the function and is split"
        more = {"not_logged": left_out} if left_out else {}
        self._warn(what, error=error, **described, **more)

    # Polls.

    def fetched(self, fact: Fetched | Received, now: Instant) -> None:
        if self._fetch_failures.going_on and (over := self._fetch_failures.succeeded(now)):
            self._info("the source is read again", failures=over.times, after=over.seconds)

    def fetch_failed(self, fact: FetchFailed | ReceiveFailed, now: Instant) -> None:
        if not self._stopping and self._fetch_failures.failed(now) is not None:
            self._warn("reading the source fails; trying again until it works", error=fact.error)

    # Records that leave.

    def delivered(self, fact: Delivered, now: Instant) -> None:
        discard = self._discards.pop(fact.batch_id, None)
        left_out = self._discard_lines.spend(now)
        if discard is None or left_out is None:
            return
        outcome = discard.outcome
        fields: dict[str, object] = {"reason": discard.reason, **_describe(discard.batch)}
        if isinstance(outcome, Failed | Refused | TooLarge):
            fields["error"] = outcome.error
        if left_out:
            fields["discards_not_logged"] = left_out
        if self._discard_lines.used_up:
            fields["next_line_in"] = DISCARD_PERIOD
        self._warn(f"records are given up; {_FATES[fact.fate]}", **fields)

    def deleted(self, fact: Deleted, now: Instant) -> None:
        if not fact.failed:
            if over := self._undeleted.succeeded(now):
                self._info("messages are deleted again", failures=over.times, after=over.seconds)
        elif (times := self._undeleted.failed(now)) is not None:
            self._warn(
                "messages could not be deleted and will come again",
                messages=fact.failed,
                times=times,
            )

    def finish(self, command: Finish, now: Instant) -> None:
        if command.shard_ended:
            self._info("the shard is read to its end")

    def _warn(self, message: str, **fields: object) -> None:
        self._line(logging.WARNING, message, fields)

    def _info(self, message: str, **fields: object) -> None:
        self._line(logging.INFO, message, fields)

    def _line(self, level: int, message: str, fields: dict[str, object]) -> None:
        shown = {name: as_field(value) for name, value in fields.items()}
        logger.log(level, message, extra={**self._fields, **shown})


def _failed(command: Invoke | InvokeMessages) -> str:
    if isinstance(command, Invoke) and not command.batch.records:
        return "the final invocation of a window failed, and its shard waits until it succeeds"
    return "the function failed"


def _describe(batch: Batch | MessageBatch) -> dict[str, object]:
    """A batch by its number, size and range."""
    if isinstance(batch, MessageBatch):
        return {"batch": batch.id, "messages": len(batch.messages)}
    if not batch.records:
        return {"batch": batch.id}
    first, last = batch.records[0].sequence, batch.records[-1].sequence
    return {"batch": batch.id, "records": len(batch.records), "first": first, "last": last}


def as_field(value: object) -> object:
    """A field of a line: cut to a length, and a length of time with its unit."""
    match value:
        case float():
            return f"{value:.1f}s"
        case str() if len(value) > ERROR_LENGTH_MAX:
            return f"{value[: ERROR_LENGTH_MAX - 3]}..."
        case _:
            return value


# Facts and commands that are not named here are not worth a line.
_TELL: dict[type, Callable[[_UnitLog, Any, Instant], None]] = {
    Started: _UnitLog.started,
    Stopping: _UnitLog.stopping,
    Fetched: _UnitLog.fetched,
    FetchFailed: _UnitLog.fetch_failed,
    Received: _UnitLog.fetched,
    ReceiveFailed: _UnitLog.fetch_failed,
    Invoked: _UnitLog.invoked,
    Delivered: _UnitLog.delivered,
    Deleted: _UnitLog.deleted,
    Invoke: _UnitLog.invoke,
    InvokeMessages: _UnitLog.invoke_messages,
    Deliver: _UnitLog.deliver,
    Finish: _UnitLog.finish,
}
