"""Where the lines go that functions print, and those with which Lambda frames them.

    [orders 5f0c2d9e-0d5c-4a5b-9a3e-2f1b6c1d7e8f] a line
    [orders init] a line before the first invocation
    [orders idle] a line between two of them

They are written at once, so a function that prints without end is slowed down by whoever reads
standard error, and nothing of it is kept in memory.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal, Protocol

import msgspec

INIT = "init"
IDLE = "idle"

# What a terminal would obey, colours apart.
_CONTROL = re.compile(r"\x1b\[[0-9;]*m|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Output(Protocol):
    """Gets what functions print.

    `place`: the id of the invocation that it belongs to; outside of one INIT or IDLE.
    """

    def printed(self, function: str, place: str, lines: Sequence[str]) -> None:
        """`lines` of the function's own, without their ends."""

    def framed(self, function: str, place: str, lines: Sequence[str]) -> None:
        """`lines` that Lambda adds: START, END, REPORT and how an invocation went wrong."""


class StderrOutput:
    """Output on standard error; `frames`: also what Lambda adds."""

    def __init__(self, format: Literal["text", "json"] = "text", *, frames: bool = True) -> None:
        self._write = _write_text if format == "text" else _write_json
        self._frames = frames

    def printed(self, function: str, place: str, lines: Sequence[str]) -> None:
        self._write(function, place, lines)

    def framed(self, function: str, place: str, lines: Sequence[str]) -> None:
        if self._frames:
            self._write(function, place, lines)


def _write_text(function: str, place: str, lines: Sequence[str]) -> None:
    mark = f"[{function} {place}] "
    text = "".join([f"{mark}{line}\n" for line in lines])
    _write(_CONTROL.sub(_harmless, text))


def _harmless(found: re.Match[str]) -> str:
    return found[0] if len(found[0]) > 1 else "\ufffd"


def _write_json(function: str, place: str, lines: Sequence[str]) -> None:
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    where = {"phase": place} if place in {INIT, IDLE} else {"requestId": place}
    fields = {"time": at, "level": "info", "logger": "poller.function", "function": function}
    written = [msgspec.json.encode(fields | where | {"message": line}) for line in lines]
    _write(b"\n".join([*written, b""]).decode())


def _write(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody is there to read it
        sys.stderr.write(text)
