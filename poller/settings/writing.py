"""Values as YAML text that a config file reads back as the very same, `${` included."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .nodes import Scalar

INDENT = "  "

_PLAIN = re.compile(r"[A-Za-z/](?:[\w./@+=-]|:(?=\S))*(?<!:)", re.ASCII)
_SINGLE = re.compile(r"[\x20-\x26\x28-\x7e]+")  # text that needs no escapes in single quotes
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")


def write_entries(entries: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """The lines of a block of keys."""
    for name, value in entries.items():
        yield from write_entry(name, value, indent)


def write_entry(name: str, value: Any, indent: str = "") -> Iterator[str]:
    """The lines of one key of a block."""
    key = f"{indent}{_text(name)}:"
    match value:
        case Mapping() if value:
            yield key
            yield from write_entries(value, indent + INDENT)
        case list() if any(isinstance(item, Mapping | list) for item in value):
            yield key
            for item in value:
                yield from write_item(item, indent + INDENT)
        case _:
            yield f"{key} {_flow(value)}"


def write_item(value: Any, indent: str = "") -> Iterator[str]:
    """The lines of one item of a list."""
    match value:
        case Mapping() if value:
            first, *rest = write_entries(value, indent + INDENT)
            yield f"{indent}- {first.removeprefix(indent + INDENT)}"
            yield from rest
        case _:
            yield f"{indent}- {_flow(value)}"


def write_scalar(value: str | float | bool | None) -> str:
    match value:
        case None | bool():
            return json.dumps(value)
        case int() | float():
            return repr(value)
        case str():
            return _text(value.replace("${", "$${"))


def _flow(value: Any) -> str:
    match value:
        case Mapping():
            inside = (f"{_text(name)}: {_flow(each)}" for name, each in value.items())
            return f"{{{', '.join(inside)}}}"
        case list():
            return f"[{', '.join(map(_flow, value))}]"
        case _:
            return write_scalar(value)


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and Scalar(text, 1).value == text:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    if '"' in text and _SINGLE.fullmatch(text):
        return f"'{text}'"
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", quoted)
