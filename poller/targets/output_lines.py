"""Cuts what a process prints into lines."""

from __future__ import annotations

from collections.abc import Callable

LINE_BYTES_MAX = 64 * 1024  # a longer line of output is broken up


class Lines:
    """Passes on lines without their ends; bytes that are no UTF-8 as replacement characters."""

    def __init__(self, on_lines: Callable[[list[str]], None]) -> None:
        self._on_lines = on_lines
        self._rest = b""

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_BYTES_MAX:
            whole = len(self._rest) - len(self._rest) % LINE_BYTES_MAX
            lines.append(self._rest[:whole])
            self._rest = self._rest[whole:]
        if lines:
            self._pass_on(lines)

    def end(self) -> None:
        """Pass on what has no line end."""
        if self._rest:
            rest, self._rest = self._rest, b""
            self._pass_on([rest])

    def _pass_on(self, lines: list[bytes]) -> None:
        self._on_lines([text for line in lines for text in _texts(line)])


def _texts(line: bytes) -> list[str]:
    # The Python runtime client ends the lines of its error reports with carriage returns.
    if len(line) <= LINE_BYTES_MAX:
        return line.decode("utf-8", "replace").rstrip("\r").split("\r")
    starts = range(0, len(line), LINE_BYTES_MAX)
    return [text for start in starts for text in _texts(line[start : start + LINE_BYTES_MAX])]
