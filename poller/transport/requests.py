"""The head of a request, as bytes; what could change its meaning is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
PATH = re.compile(r"/[\x21-\x7e]*")
FORBIDDEN = re.compile(r"[\r\n\0]")
KNOWN_NAMES_MAX = 128  # header names that are not checked anew

OURS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "upgrade", "expect", "te"}
)


def check_header(name: str, value: str) -> None:
    """Raise ValueError, which never shows the value, if this cannot be a request's header."""
    check_name(name)
    if FORBIDDEN.search(value):
        raise ValueError(f"the value of header {name} has a line end or a NUL in it")


@lru_cache(KNOWN_NAMES_MAX)
def check_name(name: str) -> None:
    """Raise ValueError if a caller cannot set this header."""
    if not TOKEN.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a header")
    if name.lower() in OURS:
        raise ValueError(f"header {name} belongs to the connection and cannot be set")


class HeadWriter:
    """Writes the heads of requests to one origin.

    `prefix` stands before each path (absolute-form, for a proxy); `fixed` are headers that every
    request has.
    """

    def __init__(self, prefix: str, fixed: Sequence[tuple[str, str]]) -> None:
        self._prefix = prefix
        self._fixed = "".join(f"{name}: {value}\r\n" for name, value in fixed)
        self._fixed_lines = len(fixed)

    def head(
        self, method: str, path: str, headers: Sequence[tuple[str, str]], body_bytes: int
    ) -> bytes:
        """The whole head with its Content-Length.  Raises ValueError."""
        if not TOKEN.fullmatch(method) or not PATH.fullmatch(path):
            raise ValueError("not a method, or not a path")
        lines = [f"{method} {self._prefix}{path} HTTP/1.1\r\n{self._fixed}"]
        for name, value in headers:
            check_name(name)
            lines.append(f"{name}: {value}\r\n")
        lines.append(f"Content-Length: {body_bytes}\r\n\r\n")
        text = "".join(lines)
        expected = len(headers) + self._fixed_lines + 3
        # Counting over the whole is cheaper than a search in each value.
        if text.count("\r") != expected or text.count("\n") != expected or "\0" in text:
            for name, value in headers:
                check_header(name, value)
        return text.encode()
