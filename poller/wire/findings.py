"""What can be odd about a function's response, and what is told of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

RIGHT_FORM = '{"batchItemFailures": [{"itemIdentifier": "..."}]}'
KEYS_MAX = 100  # of an object that is searched for a misspelt key
KEY_LENGTH_MAX = 40  # of what may be one
UNREADABLE = object()  # what is not JSON, parsed

_NO_LETTER = re.compile(r"[^a-z]")


class Kind(StrEnum):
    """A mistake; each is worth one warning for a mapping and its function."""

    REPORTING_OFF = "reporting-off"
    WRONG_KEY = "wrong-key"
    API_GATEWAY = "api-gateway"
    ERROR_AS_SUCCESS = "error-as-success"
    STATE_WITHOUT_WINDOW = "state-without-window"
    NOT_JSON = "not-json"
    JSON_IN_A_STRING = "json-in-a-string"
    LIST_AT_THE_TOP = "list-at-the-top"
    NOT_AN_OBJECT = "not-an-object"
    NOT_A_LIST = "not-a-list"
    ITEM_IS_NO_OBJECT = "item-is-no-object"
    WRONG_ITEM_KEY = "wrong-item-key"
    NO_IDENTIFIER = "no-identifier"
    OTHER_IDENTIFIER = "other-identifier"
    UNKNOWN_IDENTIFIER = "unknown-identifier"
    FIFO_ORDER = "fifo-order"


@dataclass(frozen=True, slots=True)
class Finding:
    """`text` is one line: what was seen, and so happened; a remedy.  Its "it" is the response."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Sent:
    """The batch that a response answers: each of it is known by one of `identifiers`.

    `name`: what such an identifier is called.  `other` tells of a wrong one what it is instead, as
    far as that can be told.  `done`: what a success did to the batch.
    """

    name: str
    identifiers: frozenset[str]
    other: Callable[[str], str | None]
    done: str


def letters(key: str) -> str:
    """A key as it is compared with what was meant: without signs and capitals."""
    return _NO_LETTER.sub("", key[:KEY_LENGTH_MAX].lower())


def parsed(text: bytes | str) -> Any:
    """The value of a JSON text; UNREADABLE if it has none."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return UNREADABLE
