"""Why a program cannot be started, in words that lead to the remedy."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def why_not_started(error: OSError, program: str, folder: Path) -> str:
    """`error` is what starting `program` in `folder` came to."""
    what = program
    if not folder.is_dir():
        what = str(folder)
    elif error.errno == errno.ENOEXEC:
        return f"{what}: {error.strerror}: it is for another machine, or a script without #!"
    elif error.errno == errno.ENOENT and os.sep in program and (folder / program).exists():
        return f"{what}: the interpreter or loader that it names is missing"
    return f"{what}: {error.strerror}"
