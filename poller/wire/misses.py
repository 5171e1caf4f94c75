"""Why an event does not match a pattern: which fields said no, what they hold, what was wanted."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from .pattern_fields import DEPTH_MAX, Field
from .pattern_values import shown_value
from .patterns import AllOf, AnyOf, Part, Pattern, wanted
from .problems import one_line

VALUES_SHOWN_MAX = 3

_INSIDE: Any = object()  # stands for an object where a value is looked for


def misses(
    pattern: Pattern, fields: dict[str, Any], *, allowed: int = -1, unfit: str = ""
) -> list[str]:
    """What kept a pattern from matching; nothing if it matches.

    Only the fields whose bits are `allowed` can match; `unfit` says of the others why.
    """
    choices = [each & allowed for each in pattern.choices(fields)]
    if any(map(wanted(pattern.whole), choices)):
        return []
    best = max(choices, key=int.bit_count)
    anywhere = 0
    for each in choices:
        anywhere |= each
    told = list(dict.fromkeys(_of_all(pattern.whole, fields, anywhere, allowed, unfit)))
    if told:
        return told
    # Every field matches somewhere.
    apart = [f.name for f in pattern.fields if not best & (f.matches | f.present)]
    names = " and ".join(one_line(name) for name in apart)
    return [f"{names} matches, but not in the list element where the other fields do"]


def _of_all(
    whole: AllOf, fields: dict[str, Any], found: int, allowed: int, unfit: str
) -> Iterator[str]:
    for part in whole.parts:
        if not wanted(part)(found):
            yield from _of(part, fields, found, allowed, unfit)


def _of(part: Part, fields: dict[str, Any], found: int, allowed: int, unfit: str) -> Iterator[str]:
    match part:
        case Field() if not part.matches & allowed:
            yield unfit
        case Field():
            yield f"{one_line(part.name)} {_held(fields, part.name)}, wanted {part.values.wanted}"
        case AllOf():
            yield from _of_all(part, fields, found, allowed, unfit)
        case AnyOf(branches):
            each = [_of_all(branch, fields, found, allowed, unfit) for branch in branches]
            told = dict.fromkeys(" and ".join(dict.fromkeys(why)) for why in each)
            yield f"no branch of $or: {' | '.join(told)}"


def _held(fields: dict[str, Any], name: str) -> str:
    """What stands at a name."""
    held = list(islice(_values(fields, name, 0), VALUES_SHOWN_MAX + 1))
    values = [value for value in held if value is not _INSIDE]
    if not values:
        return "has no value of its own" if held else "is missing"
    texts = [shown_value(value) for value in values[:VALUES_SHOWN_MAX]]
    more = ", ..." if len(values) > VALUES_SHOWN_MAX else ""
    return f"is {', '.join(texts)}{more}"


def _values(value: Any, name: str, depth: int) -> Iterator[Any]:
    """The values at a name with dots, as the matching of fields finds them."""
    if depth > DEPTH_MAX:
        return
    match value:
        case dict():
            for key, inner in value.items():
                if key == name:
                    yield from _leaves(inner, depth + 1)
                elif name.startswith(f"{key}."):
                    yield from _values(inner, name[len(key) + 1 :], depth + 1)
        case list():
            for inner in value:
                yield from _values(inner, name, depth + 1)


def _leaves(value: Any, depth: int) -> Iterator[Any]:
    match value:
        case dict():
            yield _INSIDE
        case list() if depth <= DEPTH_MAX:
            for inner in value:
                yield from _leaves(inner, depth + 1)
        case list():
            return
        case _:
            yield value
