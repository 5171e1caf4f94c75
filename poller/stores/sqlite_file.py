"""The state file: claimed for one poller, checked, brought to this version, opened and closed.

The claim is an flock on a descriptor of the file itself.  It is taken before SQLite opens the file
and given back after SQLite has closed it, since closing any descriptor of a file drops all the
locks that a process holds on it through fcntl, which are the locks SQLite uses.  For that reason a
file that this process has claimed already is not even opened to find that out.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from poller.errors import StateError

from .sqlite_checkpoints import Checkpointer

APPLICATION_ID = 0x706F6C6C  # "poll" in the file's header; `file` shows it
OPEN_PATIENCE = 2.0  # seconds to wait at open for another program's lock

# One entry leads from each version to the next; the file's user_version counts those it has had.
MIGRATIONS = (
    (
        """CREATE TABLE mappings (
            uuid TEXT PRIMARY KEY, source_arn TEXT NOT NULL, function_arn TEXT NOT NULL,
            origin TEXT NOT NULL, request TEXT NOT NULL, created_at REAL NOT NULL,
            pinned INTEGER NOT NULL) WITHOUT ROWID""",
        """CREATE TABLE positions (
            mapping TEXT, shard TEXT, position TEXT NOT NULL,
            PRIMARY KEY (mapping, shard)) WITHOUT ROWID""",
        # AUTOINCREMENT: the id of a document that was dropped never comes back for another one.
        """CREATE TABLE failures (
            id INTEGER PRIMARY KEY AUTOINCREMENT, mapping TEXT NOT NULL, function TEXT NOT NULL,
            shard TEXT NOT NULL, destination TEXT NOT NULL, document TEXT NOT NULL,
            payload TEXT NOT NULL, key TEXT NOT NULL, records INTEGER NOT NULL)""",
    ),
    (
        "ALTER TABLE mappings ADD COLUMN modified_at REAL NOT NULL DEFAULT 0",
        "ALTER TABLE mappings ADD COLUMN result TEXT NOT NULL DEFAULT ''",
        "UPDATE mappings SET modified_at = created_at",
    ),
    (
        """CREATE TABLE events (
            id INTEGER PRIMARY KEY AUTOINCREMENT, function TEXT NOT NULL, request_id TEXT NOT NULL,
            accepted_at REAL NOT NULL, due_at REAL NOT NULL, attempts INTEGER NOT NULL,
            refusals INTEGER NOT NULL, result TEXT NOT NULL, bytes INTEGER NOT NULL,
            function_arn TEXT NOT NULL, trace_id TEXT NOT NULL, client_context TEXT NOT NULL,
            told TEXT NOT NULL, response TEXT NOT NULL)""",
        "CREATE INDEX events_due ON events (function, due_at, id)",
        "CREATE TABLE event_payloads (id INTEGER PRIMARY KEY, payload BLOB NOT NULL)",
        "ALTER TABLE failures ADD COLUMN notice TEXT NOT NULL DEFAULT ''",
    ),
)


_claimed: set[tuple[int, int]] = set()  # device and inode of each file this process has open


class StateFile:
    """A state file that this process has for itself; `connection` is in autocommit mode."""

    path: Path
    connection: sqlite3.Connection

    def __init__(self, path: Path) -> None:
        """Open `path`, creating it (mode 0600) if it is not there.  Blocks.

        Raises StateError, and leaves the file as it is, if another poller or program holds it, if
        it cannot be written, is damaged, is something else, or is of a newer version.
        """
        self.path = path.absolute()
        with ExitStack() as opening:
            opening.enter_context(_claim(self.path))
            try:
                self.connection = opening.enter_context(closing(_connect(self.path)))
                opening.enter_context(closing(Checkpointer(self.path)))
            except sqlite3.Error as error:
                raise explained(self.path, error) from error
            self._open = opening.pop_all()

    def close(self) -> None:
        """Move everything into the one file and give it back.  Blocks, for an fsync or two."""
        self._open.close()


def is_locked(error: BaseException) -> bool:
    """Whether another program has the file, so that the same may succeed later."""
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def explained(path: Path, error: Exception) -> StateError:
    """What `error` means for the person who runs this poller."""
    match _code(error):
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            line = f"{path} is locked by another program: end the one that has it open"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            line = f"{path} cannot be written: give this user the file and its folder ({error})"
        case sqlite3.SQLITE_NOTADB:
            line = f"{path} is not an SQLite database: name another file as `state`"
        case sqlite3.SQLITE_CORRUPT:
            line = _damaged(path, str(error))
        case sqlite3.SQLITE_FULL:
            line = f"no room to write {path}: free some space on its disk"
        case sqlite3.SQLITE_IOERR:
            line = f"reading or writing {path} failed: check its disk and the free space ({error})"
        case _:
            line = f"{path} cannot be used as state: {error}"
    return StateError(line)


def _code(error: BaseException) -> int:
    """SQLite's primary result code; 0 if the error is not SQLite's own."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _damaged(path: Path, finding: str) -> str:
    return (
        f"{path} is damaged: put a copy of it in its place, or move it away to start anew from each"
        f" mapping's StartingPosition ({' '.join(finding.split())})"
    )


@contextmanager
def _claim(path: Path) -> Iterator[None]:
    """Hold an exclusive flock on the file, creating it if it is not there."""
    with suppress(OSError):  # what is wrong with the path, opening it says better
        if _identity(path.stat()) in _claimed:
            raise _in_use(path)
    descriptor = _open(path)
    try:
        _lock(path, descriptor)
        identity = _identity(os.fstat(descriptor))
        _claimed.add(identity)
        try:
            yield
        finally:
            _claimed.discard(identity)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    except IsADirectoryError:
        raise StateError(f"{path} is a folder: name a file in it as `state`") from None
    except (FileNotFoundError, NotADirectoryError):
        raise StateError(f"{path} cannot be created: there is no folder {path.parent}") from None
    except OSError as error:
        raise StateError(
            f"{path} cannot be written: give this user the file and its folder ({error.strerror})"
        ) from error


def _lock(path: Path, descriptor: int) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise StateError(f"{path} is not a regular file: name another one as `state`")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _in_use(path) from None
    except OSError as error:
        raise StateError(
            f"{path} cannot be locked: keep it on a local disk ({error.strerror})"
        ) from error


def _in_use(path: Path) -> StateError:
    return StateError(
        f"{path} is in use by another poller: stop that one, or name another file as `state`"
    )


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=OPEN_PATIENCE, isolation_level=None, check_same_thread=False
    )
    try:
        _check(path, connection)
        _prepare(path, connection)
        _migrate(connection)
        connection.execute("PRAGMA busy_timeout=0")  # the event loop never waits for a lock
    except BaseException:
        connection.close()
        raise
    return connection


def _check(path: Path, connection: sqlite3.Connection) -> None:
    """Raise StateError unless this is a sound state file of a version that is known, or new."""
    tables = _value(connection, "SELECT count(*) FROM sqlite_master")
    application = _value(connection, "PRAGMA application_id")
    version = _value(connection, "PRAGMA user_version")
    if application != APPLICATION_ID and (application or tables):
        raise StateError(f"{path} belongs to another program: name another file as `state`")
    if version > len(MIGRATIONS):
        raise StateError(
            f"{path} was written by a newer poller (version {version} of the file, this one knows"
            f" {len(MIGRATIONS)}): run that one, or name another file as `state`"
        )
    finding = _value(connection, "PRAGMA quick_check(1)")
    if finding != "ok":
        raise StateError(_damaged(path, finding))


def _prepare(path: Path, connection: sqlite3.Connection) -> None:
    if _value(connection, "PRAGMA journal_mode=WAL") != "wal":
        raise StateError(f"{path} cannot have a write-ahead log: keep it on a local disk")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA wal_autocheckpoint=0")  # the Checkpointer does it, off the loop


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring the file to this version.  Writes in any case, which proves that writing works."""
    version = _value(connection, "PRAGMA user_version")
    connection.execute("BEGIN IMMEDIATE")
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={len(MIGRATIONS)}")
    connection.execute("COMMIT")


def _value(connection: sqlite3.Connection, query: str) -> Any:
    return connection.execute(query).fetchone()[0]
