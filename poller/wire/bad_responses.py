"""Why a response condemned its batch, in more words than the outcome has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .findings import KEYS_MAX, RIGHT_FORM, UNREADABLE, Finding, Kind, Sent, letters, parsed
from .problems import shown

# Letters only, in lower case: what people write in the place of itemIdentifier.
_ITEM_KEYS = frozenset(
    ("eventid", "id", "identifier", "itemid", "itemidentifier", "messageid", "sequencenumber")
)


def condemned(response: Any, sent: Sent) -> Iterator[Finding]:
    """What is odd about a response after which all of `sent` failed; each kind once."""
    match response:
        case dict():
            failures = response.get("batchItemFailures")
            if isinstance(failures, list):
                found = (_bad_item(entry, sent) for entry in failures)
                yield from {each.kind: each for each in found if each is not None}.values()
            elif failures is not None:
                yield _bad(Kind.NOT_A_LIST, "batchItemFailures is no list", f"write {RIGHT_FORM}")
        case list():
            seen = "it is a list"
            yield _bad(Kind.LIST_AT_THE_TOP, seen, f"return {RIGHT_FORM}")
        case str() if isinstance(parsed(response), dict | list):
            seen = "it is a text with JSON in it"
            yield _bad(Kind.JSON_IN_A_STRING, seen, "return the object itself, not encoded before")
        case _ if response is UNREADABLE:
            seen = "it is not JSON"
            yield _bad(Kind.NOT_JSON, seen, f"return nothing, or {RIGHT_FORM}")
        case _:
            seen = "it is no object"
            yield _bad(Kind.NOT_AN_OBJECT, seen, f"return nothing, or {RIGHT_FORM}")


def _bad_item(entry: Any, sent: Sent) -> Finding | None:
    """What is wrong with one entry of batchItemFailures."""
    right = f'write {{"itemIdentifier": the {sent.name}}} for each that failed'
    match entry:
        case {"itemIdentifier": str(name)} if name in sent.identifiers:
            return None
        case {"itemIdentifier": str(name)} if name:
            if other := sent.other(name):
                seen = f"an itemIdentifier is {other} and no {sent.name}"
                return _bad(Kind.OTHER_IDENTIFIER, seen, right)
            seen = f"an itemIdentifier is no {sent.name} of the batch"
            return _bad(Kind.UNKNOWN_IDENTIFIER, seen, right)
        case {"itemIdentifier": _}:
            return _bad(Kind.NO_IDENTIFIER, "an itemIdentifier is empty or no text", right)
        case dict():
            instead = next(
                (key for key in list(entry)[:KEYS_MAX] if letters(key) in _ITEM_KEYS), ""
            )
            seen = "an item has no itemIdentifier" + (f" but {shown(instead)}" if instead else "")
            return _bad(Kind.WRONG_ITEM_KEY, seen, right)
        case _:
            return _bad(Kind.ITEM_IS_NO_OBJECT, "an item of batchItemFailures is no object", right)


def _bad(kind: Kind, seen: str, instead: str) -> Finding:
    return Finding(kind, f"{seen}, so the whole batch failed; {instead}")
