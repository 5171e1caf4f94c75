"""How much memory processes use, as /proc says; where there is none, nobody knows.

Resident pages are counted, as the nearest thing to what Lambda's limit counts.  The limit of a
process's addresses (RLIMIT_AS) is another thing altogether: it stops programs that use a fraction
of what AWS would let them.
"""

from __future__ import annotations

import contextlib
import os

MB = 1024 * 1024
PROCESSES_MAX = 1000  # of one family

_PAGE = os.sysconf("SC_PAGE_SIZE")
_READ_BYTES = 16_384


def is_known() -> bool:
    """Whether this machine tells."""
    return os.path.exists("/proc/self/statm")


def peak(pid: int) -> int:
    """The most bytes that the process ever had; 0 if it has ended."""
    return _kilobytes(_read(f"/proc/{pid}/status"), b"VmHWM:")


def used_by_family(pid: int, limit: int | None) -> int:
    """The bytes that the process and its living descendants have now; 0 if it has ended.

    What they share counts once, which takes a closer look; it is taken where a simple sum would
    be beyond `limit`.
    """
    pids = _with_descendants(pid)
    used = sum(map(_resident, pids))
    if limit is not None and used > limit and len(pids) > 1:
        used = sum(map(_proportional, pids))
    return used


def _with_descendants(pid: int) -> list[int]:
    pids = [pid]
    for each in pids:  # it grows meanwhile
        if len(pids) < PROCESSES_MAX:
            pids += _children(each)
    return pids


def _children(pid: int) -> list[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    return [
        int(child)
        for thread in threads
        for child in _read(f"/proc/{pid}/task/{thread}/children").split()
    ]


def _resident(pid: int) -> int:
    fields = _read(f"/proc/{pid}/statm").split()
    return int(fields[1]) * _PAGE if fields else 0


def _proportional(pid: int) -> int:
    """With each page that is shared by n processes counting a nth."""
    shares = _read(f"/proc/{pid}/smaps_rollup")
    return _kilobytes(shares, b"\nPss:") if shares else _resident(pid)


def _kilobytes(text: bytes, name: bytes) -> int:
    start = text.find(name)
    if start < 0:
        return 0
    return int(text[start + len(name) : text.index(b"kB", start)]) * 1024


def _read(path: str) -> bytes:
    with contextlib.suppress(OSError):
        file = os.open(path, os.O_RDONLY)
        try:
            return os.read(file, _READ_BYTES)
        finally:
            os.close(file)
    return b""
