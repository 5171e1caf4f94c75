"""Builds Lambda's Runtime Interface Emulator into `.emulator/`, once per go.sum.

It takes half a minute where Go has built nothing of it before, and a second or two elsewhere.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from tests.npm.install import INSTALL_TIMEOUT, Unavailable

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parents[1] / ".emulator"
PACKAGE = "github.com/aws/aws-lambda-runtime-interface-emulator/cmd/aws-lambda-rie"


@functools.cache
def installed() -> Path:
    """The emulator, built first if go.sum changed.  Raises Unavailable without a Go that can."""
    go = shutil.which("go")
    if go is None:
        raise Unavailable("Go is not installed")
    FOLDER.mkdir(exist_ok=True)
    emulator, stamp = FOLDER / "aws-lambda-rie", FOLDER / "installed"
    wanted = hashlib.sha256((HERE / "go.sum").read_bytes()).hexdigest()
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs may start at the same time
        if not stamp.exists() or stamp.read_text() != wanted:
            _build(go, emulator)
            stamp.write_text(wanted)
    return emulator


def _build(go: str, emulator: Path) -> None:
    command = [go, "build", "-mod=readonly", "-trimpath", "-ldflags", "-s -w"]
    try:
        done = subprocess.run(
            [*command, "-o", str(emulator), PACKAGE],
            cwd=HERE,
            env={**os.environ, "CGO_ENABLED": "0"},
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"is not built within {INSTALL_TIMEOUT:.0f} s") from None
    if done.returncode != 0:
        raise Unavailable(f"cannot be built: {done.stderr.strip().rpartition(chr(10))[2]}")
