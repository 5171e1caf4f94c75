"""Installs a newer ministack into an environment of its own in `.ministack/`, once per lock.

The one in the development environment has no SubscribeToShard, and this one's dependencies do not
go with poller's.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import subprocess
import sys
from pathlib import Path

from tests.npm.install import INSTALL_TIMEOUT, Unavailable

LOCK = Path(__file__).with_name("requirements.lock")
FOLDER = LOCK.parents[2] / ".ministack"


@functools.cache
def installed() -> Path:
    """Its Python, installed first if the lock file changed.  Raises Unavailable."""
    FOLDER.mkdir(exist_ok=True)
    python, stamp = FOLDER / "bin" / "python", FOLDER / "installed"
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs may start at the same time
        if not stamp.exists() or stamp.read_text() != wanted:
            _run(sys.executable, "-m", "venv", str(FOLDER))
            pip = ("-m", "pip", "--disable-pip-version-check", "install", "--require-hashes")
            _run(str(python), *pip, "-r", str(LOCK))
            stamp.write_text(wanted)
    return python


def _run(*command: str) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT, check=False
    )
    if done.returncode != 0:
        reason = (done.stdout + done.stderr).strip().rpartition("\n")[2]
        raise Unavailable(f"cannot be installed: {reason}")
