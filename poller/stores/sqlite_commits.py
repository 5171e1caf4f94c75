"""One writer for all shards: what one turn of the event loop writes is one transaction."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from poller.errors import StateError

from .sqlite_file import explained, is_locked

LOCK_PATIENCE = 10.0  # seconds that a write waits for another program's lock
LOCK_RETRY_MIN = 0.002  # seconds, doubled at each try
LOCK_RETRY_MAX = 0.1

Statement = tuple[str, tuple[Any, ...]]
Write = tuple[Sequence[Statement], asyncio.Future[None]]


class Commits:
    """Collects writes and commits them together, in their order, in the next turn of the loop.

    It does so on the loop's own thread: a commit takes some ten microseconds, which is less than
    going to another thread.  While another program holds the file's lock, writes gather and are
    tried again.  Their number is bounded by the callers, each of which awaits its one write.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Write] = []
        self._next: asyncio.Handle | None = None
        self._locked_since: float | None = None
        self._retry_in = LOCK_RETRY_MIN
        self._finished = False

    def write(self, *statements: Statement) -> asyncio.Future[None]:
        """Done once `statements` are committed, in one transaction; raises StateError if not."""
        if self._finished:
            raise StateError(f"{self._path} is closed")
        done: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append((statements, done))
        if self._next is None:
            self._next = self._loop.call_soon(self._flush)
        return done

    def finish(self) -> None:
        """Commit what waits, with one try, and take no more."""
        self._finished = True
        if self._next is not None:
            self._next.cancel()
            self._settle_all(self._commit(self._waiting))

    def _flush(self) -> None:
        problem = self._commit(self._waiting)
        if problem is not None and is_locked(problem) and self._has_patience():
            self._next = self._loop.call_later(self._retry_in, self._flush)
            self._retry_in = min(2 * self._retry_in, LOCK_RETRY_MAX)
        else:
            self._settle_all(problem)

    def _has_patience(self) -> bool:
        now = self._loop.time()
        if self._locked_since is None:
            self._locked_since = now
        return now - self._locked_since < LOCK_PATIENCE

    def _settle_all(self, problem: Exception | None) -> None:
        group, self._waiting = self._waiting, []
        self._next, self._locked_since, self._retry_in = None, None, LOCK_RETRY_MIN
        for write in group:
            # Alone, so that one that cannot be written, such as a document too large for what is
            # left of the disk, does not take the others with it.
            alone = self._commit([write]) if problem is not None and len(group) > 1 else problem
            self._settle(write, alone)

    def _settle(self, write: Write, problem: Exception | None) -> None:
        _, done = write
        if done.done():  # its caller was cancelled
            return
        if problem is None:
            done.set_result(None)
        else:
            done.set_exception(explained(self._path, problem))

    def _commit(self, writes: Sequence[Write]) -> Exception | None:
        """Why nothing of `writes` was committed; None if all of it was."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                for statements, _ in writes:
                    for query, values in statements:
                        self._connection.execute(query, values)
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
        except (sqlite3.Error, ValueError, OverflowError) as error:
            return error  # the latter two: a value that SQLite has no form for
        return None
