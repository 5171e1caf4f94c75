"""Kills what functions left running; a script that poller starts by its path and talks to.

    PYTHON strays.py MARK

Processes of functions carry a mark in their environment, and what they start inherits it, also
what leads a session of its own or has lost its parent.  Standard input says, a line each:

    GROUP           a process group has begun
    -GROUP MARK     it has ended, and nothing that carries its mark may stay

At the end of standard input poller is gone, however it went: then nothing may stay whose mark
begins with the MARK of all.  Where there is no /proc, groups are all that is known.
What has changed its user, or has written over its environment *and* left its group, gets away.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable

VARIABLE = "POLLER_PROCESS"
ROUNDS_MAX = 100  # looks for processes that go on starting others
ROUND_PAUSE = 0.01
QUIET_ROUNDS = 2  # a look may miss what has just been forked


def main(mark: str) -> None:
    """Serve poller until it is gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups = set()
    for line in sys.stdin.buffer:
        text, _, marked = line.decode().strip().partition(" ")
        group = int(text)
        if group > 0:
            groups.add(group)
        else:
            groups.discard(-group)
            kill_marked(marked + "\0")
    for group in groups:
        kill(os.killpg, group)
    kill_marked(mark)


def kill_marked(mark: str) -> None:
    """Kill whatever carries a mark that begins with `mark`, until none is seen twice in a row."""
    wanted = f"\0{VARIABLE}={mark}".encode()
    quiet = 0
    for _ in range(ROUNDS_MAX):
        found = [pid for pid in processes() if wanted in environment(pid)]
        for pid in found:
            kill(os.kill, pid)
        quiet = 0 if found else quiet + 1
        if quiet == QUIET_ROUNDS:
            return
        time.sleep(ROUND_PAUSE)


def processes() -> list[int]:
    """All that there are; none where /proc is missing."""
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def environment(pid: int) -> bytes:
    """With a NUL before and behind each variable; empty for what has ended, or is another's."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return b"\0" + file.read()
    except OSError:
        return b""


def kill(send: Callable[[int, int], None], target: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # it ended, or changed its user
        send(target, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1])
