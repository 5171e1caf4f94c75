"""State in one SQLite file: `SqliteStore`, the writes of one turn of the loop in one transaction.

Durability: when a write returns, its transaction is in the write-ahead log in the page cache.  That
survives the end of this process in any way, kill -9 included.  With synchronous=NORMAL the log is
not synced at every commit, so a power failure may take back the last commits, in order and whole:
the file is sound and records come again, which "at least once" allows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from anyio import to_thread

from poller.core.model import Position
from poller.errors import StateError
from poller.interfaces import Failure, StoredMapping
from poller.wire.invocation_records import Notice
from poller.wire.positions import decode_position, encode_position

from .sqlite_commits import Commits, Statement
from .sqlite_events import SqliteEvents
from .sqlite_file import StateFile

KEPT_BYTES_MAX = 16 * 1024 * 1024  # of documents and payloads in one answer, one document at least

SAVE = (
    "INSERT INTO positions VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET position = excluded.position"
)
KEEP = (
    "INSERT INTO failures (mapping, function, shard, destination, document, payload, key, records,"
    " notice) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
KEPT = (
    "SELECT id, mapping, function, shard, destination, document, payload, key, records,"
    " notice FROM failures WHERE id > ? ORDER BY id LIMIT ?"
)
MAPPINGS = (
    "SELECT uuid, source_arn, function_arn, origin, request, created_at, modified_at, result"
    " FROM mappings ORDER BY created_at, uuid"
)
PUT = (
    "INSERT INTO mappings (uuid, source_arn, function_arn, origin, request, created_at,"
    " modified_at, result, pinned) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0) ON CONFLICT DO UPDATE SET"
    " source_arn = excluded.source_arn, function_arn = excluded.function_arn,"
    " origin = excluded.origin, request = excluded.request, created_at = excluded.created_at,"
    " modified_at = excluded.modified_at, result = excluded.result"
)
PIN = "UPDATE mappings SET pinned = 1 WHERE uuid = ?"


@asynccontextmanager
async def open_sqlite(path: Path) -> AsyncIterator[SqliteStore]:
    """The store in the file at `path`, created if it is not there, for this process alone.

    Raises StateError: in use, locked, not writable, damaged, of another program or version.
    """
    file = await to_thread.run_sync(StateFile, path)
    store = SqliteStore(file)
    try:
        yield store
    finally:
        store.finish()
        await to_thread.run_sync(file.close)


class SqliteStore(SqliteEvents):
    """A `Store`.  Its methods raise StateError and belong to one event loop."""

    def __init__(self, file: StateFile) -> None:
        super().__init__(file.path, file.connection, Commits(file.path, file.connection))

    def finish(self) -> None:
        """Commit what still waits; writes fail from now on."""
        self._commits.finish()

    # Positions.

    async def positions(self, mapping: str) -> dict[str, Position]:
        query = "SELECT shard, position FROM positions WHERE mapping = ?"
        rows = self._rows(query, (mapping,))
        return {shard: self._decoded(mapping, shard, text) for shard, text in rows}

    async def save(self, mapping: str, shard: str, position: Position) -> None:
        await self._commits.write((SAVE, (mapping, shard, encode_position(position))))

    async def forget(self, mapping: str, shards: Collection[str]) -> None:
        delete = "DELETE FROM positions WHERE mapping = ? AND shard = ?"
        await self._commits.write(*((delete, (mapping, shard)) for shard in shards))

    # Mappings.

    async def mappings(self) -> Sequence[StoredMapping]:
        """The oldest first."""
        return [
            StoredMapping(
                uuid,
                source_arn,
                function_arn,
                origin,
                self._request(uuid, request),
                *times_and_result,
            )
            for uuid, source_arn, function_arn, origin, request, *times_and_result in self._rows(
                MAPPINGS
            )
        ]

    async def put(self, mapping: StoredMapping, pins: Mapping[str, Position] | None = None) -> None:
        row = (
            mapping.uuid,
            mapping.source_arn,
            mapping.function_arn,
            mapping.origin,
            msgspec.json.encode(mapping.request).decode(),
            mapping.created_at,
            mapping.modified_at,
            mapping.result,
        )
        pinning = () if pins is None else _pinning(mapping.uuid, pins)
        await self._commits.write((PUT, row), *pinning)

    async def pinned(self, uuid: str) -> bool:
        return bool(self._rows("SELECT 1 FROM mappings WHERE uuid = ? AND pinned", (uuid,)))

    async def pin(self, uuid: str, pins: Mapping[str, Position]) -> None:
        await self._commits.write(*_pinning(uuid, pins))

    async def note_results(self, results: Mapping[str, str]) -> None:
        update = "UPDATE mappings SET result = ? WHERE uuid = ?"
        await self._commits.write(*((update, (text, uuid)) for uuid, text in results.items()))

    async def remove(self, uuid: str) -> None:
        await self._commits.write(
            ("DELETE FROM mappings WHERE uuid = ?", (uuid,)),
            ("DELETE FROM positions WHERE mapping = ?", (uuid,)),
        )

    # Failure documents.

    async def keep(self, failure: Failure) -> None:
        row = (
            failure.mapping,
            failure.function,
            failure.shard,
            failure.destination,
            failure.document,
            failure.payload,
            failure.key,
            failure.records,
            "" if failure.notice is None else msgspec.json.encode(failure.notice).decode(),
        )
        await self._commits.write((KEEP, row))

    async def kept(self, limit: int, *, after: int = 0) -> Sequence[tuple[int, Failure]]:
        """Fewer than `limit` where they are large: about KEPT_BYTES_MAX at a time."""
        return self._read(lambda: self._fetch_kept(limit, after))

    async def drop(self, ids: Collection[int]) -> None:
        await self._commits.write(*(("DELETE FROM failures WHERE id = ?", (id,)) for id in ids))

    async def count_kept(self) -> int:
        ((count,),) = self._rows("SELECT count(*) FROM failures")
        return int(count)

    # Reading.

    def _fetch_kept(self, limit: int, after: int) -> list[tuple[int, Failure]]:
        found: list[tuple[int, Failure]] = []
        size = 0
        with closing(self._connection.execute(KEPT, (after, limit))) as rows:
            for row in rows:
                failure = self._failure(row)
                size += len(failure.document) + len(failure.payload)
                if found and size > KEPT_BYTES_MAX:
                    break
                found.append((row[0], failure))
        return found

    def _failure(self, row: Sequence[Any]) -> Failure:
        id, *members, notice = row
        failure = Failure(*members)
        if not notice:
            return failure
        try:
            return replace(failure, notice=msgspec.json.decode(notice, type=Notice))
        except msgspec.DecodeError as error:
            raise StateError(
                f"{self._path}, kept document {id}: {error}; delete that row"
            ) from error

    def _decoded(self, mapping: str, shard: str, text: str) -> Position:
        try:
            return decode_position(text)
        except ValueError as error:
            raise StateError(
                f"{self._path}, position of shard {shard} of mapping {mapping}: {error}; delete"
                " that row, or move the file away, to start anew from StartingPosition"
            ) from error

    def _request(self, uuid: str, text: str) -> dict[str, Any]:
        try:
            return msgspec.json.decode(text, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise StateError(
                f"{self._path}, settings of mapping {uuid}: {error}; delete that row"
            ) from error


def _pinning(uuid: str, pins: Mapping[str, Position]) -> Iterator[Statement]:
    yield PIN, (uuid,)
    for shard, position in pins.items():
        yield SAVE, (uuid, shard, encode_position(position))
