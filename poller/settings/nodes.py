"""A config file as a tree in which every node knows its line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from poller.wire.problems import Path

NUMBER_LENGTH_MAX = 100  # longer runs of digits are text

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)


@dataclass(frozen=True, slots=True)
class Scalar:
    """`plain`: written without quotes, so that it may be a number, a boolean or null.
    `substituted`: a part of the text came from the environment."""

    text: str
    line: int
    plain: bool = True
    substituted: bool = False

    @property
    def value(self) -> str | int | float | bool | None:
        return _resolve(self.text) if self.plain else self.text


@dataclass(frozen=True, slots=True)
class Items:
    items: tuple[Node, ...]
    line: int
    nodes: int
    depth: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A key's line, and what is there."""

    line: int
    node: Node


@dataclass(frozen=True, slots=True)
class Block:
    entries: dict[str, Entry]
    line: int
    nodes: int
    depth: int


Node = Scalar | Items | Block


def plain(node: Node) -> Any:
    """`node` as JSON values."""
    match node:
        case Scalar():
            return node.value
        case Items(items=items):
            return [plain(item) for item in items]
        case Block(entries=entries):
            return {key: plain(entry.node) for key, entry in entries.items()}


def line_at(root: Node, path: Path) -> int:
    """The line of the key or the item at `path`; of what is nearest above if it is not there."""
    node, line = root, root.line
    for step in path:
        match node, step:
            case Block(entries=entries), str() if step in entries:
                node, line = entries[step].node, entries[step].line
            case Items(items=items), int() if step < len(items):
                node, line = items[step], items[step].line
            case _:
                break
    return line


def _resolve(text: str) -> str | int | float | bool | None:
    """The core schema of YAML 1.2."""
    if text in _NULL:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if len(text) > NUMBER_LENGTH_MAX:
        return text
    if _INTEGER.fullmatch(text):
        return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)
    if _FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text
