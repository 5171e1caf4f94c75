"""Where the lines go that functions print."""

from __future__ import annotations

import sys


def to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")
