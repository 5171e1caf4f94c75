"""AWS's words for values that its model of the Lambda API does not allow (recorded 1.2).

Every service that is described by a model answers so, before it looks at what a request means.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .problems import Path, one_line

SHOWN_MAX = 300  # characters of a value that a message repeats; AWS repeats all of it

_KINDS: dict[type, str] = {
    bool: "TRUE_VALUE",
    int: "NUMBER_VALUE",
    float: "NUMBER_VALUE",
    str: "STRING_VALUE",
}


def constraint(path: Path, value: Any, rule: str) -> str:
    """What is wrong with one value, to be put together by `validation_errors`."""
    where = f"Value {_shown(value)} at '{member(path)}'"
    return f"{where} failed to satisfy constraint: Member must {rule}"


def in_range(low: int, high: int, value: int) -> str:
    """The rule that a number outside of its range breaks."""
    if value < low:
        return f"have value greater than or equal to {low}"
    return f"have value less than or equal to {high}"


def validation_errors(constraints: Sequence[str]) -> str:
    """The message about all constraints that a request breaks."""
    noun = "validation error" if len(constraints) == 1 else "validation errors"
    return f"{len(constraints)} {noun} detected: {'; '.join(constraints)}"


def wrong_type(value: Any, wanted: str) -> str:
    """A JSON value where one of another type is `wanted`: String, Integer, Boolean, List, Map."""
    if type(value) in _KINDS and wanted in {"String", "Integer", "Boolean"}:
        return f"{_KINDS[type(value)]} can not be converted to {_article(wanted)} {wanted}"
    if isinstance(value, list):
        return "Start of list found where not expected"
    if isinstance(value, dict):
        return "Start of structure or map found where not expected."
    return "Expected list or null" if wanted == "List" else "Expected null"


def member(path: Path) -> str:
    """A place as AWS names it: `filterCriteria.filters.1.member.pattern`."""
    parts = (
        f"{part + 1}.member" if isinstance(part, int) else part[:1].lower() + part[1:]
        for part in path
    )
    return ".".join(parts)


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    text = f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)
    return f"'{one_line(text, SHOWN_MAX)}'"


def _article(noun: str) -> str:
    return "an" if noun[0] in "AEIOU" else "a"
