"""The files of a function's code: which there are, and which of them have changed since."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

FILES_MAX = 50_000  # of one folder; what lies beyond is not looked at

# What tools keep beside the code: folders whose names begin with a dot, and these.
_FOLDERS = frozenset({"__pycache__", "node_modules", "venv"})
# What programs write while they run, and editors until they rename it.
_ENDINGS = (".pyc", ".pyo", ".log", ".tmp", ".swp", ".swx", "~", "-journal", "-wal", "-shm")

Files = Mapping[str, tuple[int, int, int]]
"""By path: time of the last change, size and inode."""


def files_below(folder: Path, state: str) -> Files:
    """The files of code, as they are now.

    `state`: the path of poller's own state, which is none of them; nor are files whose paths begin
    with it, nor what poller prints into.
    """
    printed = _printed_into()
    found: dict[str, tuple[int, int, int]] = {}
    for entry in _entries(folder):
        if len(found) == FILES_MAX:
            break
        if not state or not entry.path.startswith(state):
            try:
                now = entry.stat()
            except OSError:  # it has just gone, or is a link to nothing
                continue
            if (now.st_dev, now.st_ino) not in printed:
                found[entry.path] = (now.st_mtime_ns, now.st_size, now.st_ino)
    return found


def changed(before: Files, after: Files) -> list[str]:
    """The paths that are new, gone or different, in order."""
    return sorted(
        path for path in before.keys() | after.keys() if before.get(path) != after.get(path)
    )


def _printed_into() -> set[tuple[int, int]]:
    """Device and inode of standard output and error: a line about a change must be none."""
    places = set()
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):  # it is closed
            now = os.fstat(descriptor)
            places.add((now.st_dev, now.st_ino))
    return places


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    waiting = [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                here = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in here:
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in _FOLDERS and not entry.name.startswith("."):
                    waiting.append(entry.path)
            elif not entry.name.endswith(_ENDINGS):
                yield entry
