"""The queue of asynchronous invocations in the state file.

What decides about an event is small and changes; its payload is large and does not, so it stands in
a table of its own, which no change writes again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from poller.core.event_steps import (
    EventResult,
    QueuedEvent,
)
from poller.core.model import Instant
from poller.errors import StateError
from poller.event_queue import AcceptedEvent, Backlog, StoredEvent, Told
from poller.wire.invocation_records import EventResponse

from .memory import first_due
from .sqlite_commits import Commits
from .sqlite_file import explained

ADD = (
    "INSERT INTO events (function, request_id, accepted_at, due_at, attempts, refusals, result,"
    " bytes, function_arn, trace_id, client_context, told, response)"
    " VALUES (?, ?, ?, ?, 0, 0, '', ?, ?, ?, ?, '', '')"
)
ADD_PAYLOAD = "INSERT INTO event_payloads VALUES (last_insert_rowid(), ?)"
DECIDES = "id, request_id, bytes, accepted_at, due_at, attempts, refusals, result"
DECIDING = 8  # of these columns
DUE = f"SELECT {DECIDES} FROM events WHERE function = ? ORDER BY due_at, id LIMIT ?"
EVENT = (
    f"SELECT {DECIDES}, function, function_arn, payload, request_id, trace_id, client_context,"
    " response, told FROM events JOIN event_payloads USING (id) WHERE id = ?"
)
NOTE = (
    "UPDATE events SET due_at = ?, attempts = ?, refusals = ?, result = ?, told = ?,"
    " response = coalesce(?, response) WHERE id = ?"
)
BACKLOGS = "SELECT function, count(*), sum(bytes) FROM events GROUP BY function"

T = TypeVar("T")
_Value = TypeVar("_Value", EventResponse, Told)


class SqliteEvents:
    """An `EventStore`; the whole store is one with more.  Its methods raise StateError."""

    def __init__(self, path: Path, connection: sqlite3.Connection, commits: Commits) -> None:
        self._path = path
        self._connection = connection
        self._commits = commits

    async def add_event(self, event: AcceptedEvent, now: Instant) -> None:
        row = (
            event.function,
            event.request_id,
            now,
            now,
            len(event.payload),
            event.function_arn,
            event.trace_id,
            event.client_context,
        )
        await self._commits.write((ADD, row), (ADD_PAYLOAD, (event.payload,)))

    async def due_events(
        self, function: str, limit: int, *, by: Instant, held: Collection[int]
    ) -> tuple[Sequence[QueuedEvent], Instant | None]:
        rows = self._rows(DUE, (function, limit + len(held) + 1))
        return first_due([_event(row) for row in rows if row[0] not in held], limit, by)

    async def event(self, id: int) -> StoredEvent | None:
        for row in self._rows(EVENT, (id,)):
            *accepted, response, told = row[DECIDING:]
            event = AcceptedEvent(*accepted)
            return StoredEvent(
                _event(row[:DECIDING]),
                event,
                self._value(response, EventResponse, event.request_id),
                self._value(told, Told, event.request_id),
            )
        return None

    async def note_event(
        self, state: QueuedEvent, response: EventResponse | None = None, told: Told | None = None
    ) -> None:
        row = (
            state.due_at,
            state.attempts,
            state.refusals,
            state.result or "",
            "" if told is None else msgspec.json.encode(told).decode(),
            None if response is None else msgspec.json.encode(response).decode(),
            state.id,
        )
        await self._commits.write((NOTE, row))

    async def remove_event(self, id: int) -> None:
        await self._commits.write(
            ("DELETE FROM events WHERE id = ?", (id,)),
            ("DELETE FROM event_payloads WHERE id = ?", (id,)),
        )

    async def backlogs(self) -> Mapping[str, Backlog]:
        return {name: Backlog(events, size) for name, events, size in self._rows(BACKLOGS)}

    # Reading.  No program can lock readers out of a file that this process has open.

    def _rows(self, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
        return self._read(lambda: self._connection.execute(query, values).fetchall())

    def _read(self, fetch: Callable[[], T]) -> T:
        try:
            return fetch()
        except sqlite3.Error as error:
            raise explained(self._path, error) from error

    def _value(self, text: str, kind: type[_Value], request_id: str) -> _Value | None:
        if not text:
            return None
        try:
            return msgspec.json.decode(text, type=kind)
        except msgspec.DecodeError as error:
            raise StateError(
                f"{self._path}, event of request {request_id}: {error}; delete that row"
            ) from error


def _event(row: Sequence[Any]) -> QueuedEvent:
    *decides, result = row
    event = QueuedEvent(*decides)
    return replace(event, result=EventResult(result)) if result else event
