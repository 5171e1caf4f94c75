"""What is wrong with a setting, where, and what would be right."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

Path = tuple[str | int, ...]

SHOWN_MAX = 80  # characters of a value that a message repeats
KNOWN_SHOWN_MAX = 12  # keys that a message lists
HUGE_BITS = 128  # integers beyond are not spelled out


class Kind(StrEnum):
    """The error by which Lambda's API refuses a request."""

    INVALID = "InvalidParameterValueException"
    CONSTRAINT = "ValidationException"  # a value that AWS's model of the API does not allow
    TYPE = "SerializationException"  # a value of another JSON type


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong at `path`; as text `DestinationConfig.OnFailure: what is wrong; remedy`.

    `message` is AWS's own sentence where AWS has one, and then begins with a capital or a digit;
    `remedy` is always ours, and may be empty.  `aws`: AWS's words where they would not help a
    person, that is with the kinds CONSTRAINT and TYPE.
    """

    path: Path
    message: str
    remedy: str = ""
    kind: Kind = Kind.INVALID
    aws: str = ""

    @property
    def for_api(self) -> str:
        """What a client of the API reads: AWS's sentence, or the whole of ours."""
        first = self.message[:1]
        return self.aws or (self.message if first.isupper() or first.isdigit() else str(self))

    def __str__(self) -> str:
        message = f"{self.message.rstrip('.')}; {self.remedy}" if self.remedy else self.message
        return f"{dotted(self.path)}: {message}" if self.path else message

    def below(self, *path: str | int) -> Problem:
        """The same problem, seen from further up."""
        return replace(self, path=(*path, *self.path))


def unknown_key(path: Path, known: Collection[str]) -> Problem:
    """The key that ends `path` is none of `known`."""
    # A lot of memory for what a config without mistakes never needs.
    from difflib import get_close_matches  # noqa: PLC0415

    key = str(path[-1])
    by_lower = {name.lower(): name for name in sorted(known)}
    near = get_close_matches(key.lower()[:SHOWN_MAX], by_lower, n=1)
    if near:
        return Problem(path, "unknown key", f"did you mean {by_lower[near[0]]}?")
    if len(known) > KNOWN_SHOWN_MAX:
        return Problem(path, "unknown key", "remove it")
    return Problem(path, "unknown key", f"known here: {', '.join(sorted(known))}")


def not_yet(path: Path, what: str = "") -> Problem:
    """Something of AWS or of the contract that this version does not have."""
    return Problem(path, f"{what or path[-1]} is not supported yet", "remove it")


def dotted(path: Path) -> str:
    """`mappings[0].BatchSize`, on one line."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{one_line(part)}" for part in path)
    return "".join(parts).removeprefix(".")


def shown(value: Any) -> str:
    """A setting's value as a message repeats it: on one line, cut to a length."""
    match value:
        case None:
            text = "nothing"
        case bool():
            text = str(value).lower()
        case str():
            text = f'"{one_line(value)}"'
        case int() if value.bit_length() > HUGE_BITS:
            text = "a huge number"
        case int() | float():
            text = str(value)
        case list() | tuple():
            text = "a list"
        case _:
            text = "a block of keys"
    return text


def one_line(text: str, length_max: int = SHOWN_MAX) -> str:
    """`text` without what would break a line or a terminal, cut to a length."""
    cut = text if len(text) <= length_max else text[: length_max - 3] + "..."
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in cut)
