"""Moves the write-ahead log into the state file in a thread, so that no fsync holds up the loop."""

from __future__ import annotations

import logging
import sqlite3
import threading
from pathlib import Path

CHECK_PERIOD = 0.5  # seconds between looks at the log
WAL_BYTES_MAX = 4 * 1024 * 1024  # a log larger than this is moved
PATIENCE = 0.05  # seconds to wait for a writer or readers; the writer waits meanwhile

logger = logging.getLogger("poller.stores")


class Checkpointer:
    """A thread with a connection of its own, until closed.

    PASSIVE moves nearly all of a long log while the writer goes on.  TRUNCATE then moves the few
    frames written meanwhile and empties the log; only for that does the writer wait.  The first
    write to an emptied log syncs its header, so that is done here too.
    """

    def __init__(self, path: Path) -> None:
        """Raises sqlite3.Error."""
        self._path = path
        self._log = path.with_name(path.name + "-wal")
        self._failing = False
        self._closing = threading.Event()
        self._connection = sqlite3.connect(
            path, timeout=PATIENCE, isolation_level=None, check_same_thread=False
        )
        try:
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.execute("PRAGMA wal_autocheckpoint=0")
        except sqlite3.Error:
            self._connection.close()
            raise
        self._thread = threading.Thread(target=self._run, name="state-checkpoints", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread after the round that it is in.  Blocks."""
        self._closing.set()
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        while not self._closing.wait(CHECK_PERIOD):
            if self._log_bytes() <= WAL_BYTES_MAX:
                continue
            try:
                self._move()
            except sqlite3.Error as error:
                self._report(error)
            else:
                self._failing = False

    def _log_bytes(self) -> int:
        try:
            return self._log.stat().st_size
        except OSError:
            return 0

    def _move(self) -> None:
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        busy, _, _ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not busy:
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            self._connection.execute(f"PRAGMA user_version={version}")

    def _report(self, error: sqlite3.Error) -> None:
        """One line when it begins to fail; the log grows until it works again."""
        if not self._failing:
            logger.warning("moving the log of %s failed, it grows meanwhile: %s", self._path, error)
        self._failing = True
