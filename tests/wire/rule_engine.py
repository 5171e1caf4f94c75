"""AWS's rule engine in its plainest form: fields in order of name, every consistent value tried.

Takes exponential time, and has no names with dots: for small patterns and events.  It works
the way the open source of that engine does: what arrays a value stands in, and where, goes along
with it; a field that must not exist is looked for in what the fields before it have chosen.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

Membership = dict[int, int]  # of arrays: the index of the element


def rule_engine_matches(pattern: dict[str, Any], event: dict[str, Any]) -> bool:
    found = list(_values(event, (), {}, count()))
    return any(_from(sorted(rule.items()), found, {}) for rule in _rules(pattern, ()))


def _rules(pattern: dict[str, Any], path: tuple[str, ...]) -> list[dict[str, list[Any]]]:
    """A rule without $or for each way through them."""
    rules: list[dict[str, list[Any]]] = [{}]
    for name, value in pattern.items():
        if name == "$or":
            ways = [way for branch in value for way in _rules(branch, path)]
        elif isinstance(value, dict):
            ways = _rules(value, (*path, name))
        else:
            ways = [{".".join((*path, name)): value}]
        rules = [rule | way for rule in rules for way in ways]
    return rules


def _values(
    value: Any, path: tuple[str, ...], member: Membership, ids: Iterator[int]
) -> Iterator[tuple[str, Any, Membership]]:
    match value:
        case dict():
            for name, inner in value.items():
                yield from _values(inner, (*path, name), member, ids)
        case list():
            array = next(ids)
            for index, inner in enumerate(value):
                inside = {**member, array: index} if isinstance(inner, dict | list) else member
                yield from _values(inner, path, inside, ids)
        case _:
            yield ".".join(path), value, member


def _from(fields: list[Any], found: list[Any], chosen: Membership) -> bool:
    if not fields:
        return True
    (name, wanted), *rest = fields
    here = [
        (value, member)
        for other, value, member in found
        if other == name and all(chosen.get(array, at) == at for array, at in member.items())
    ]
    if {"exists": False} in wanted and not here and _from(rest, found, chosen):
        return True
    return any(
        _accepts(value, wanted) and _from(rest, found, chosen | member) for value, member in here
    )


def _accepts(value: Any, wanted: list[Any]) -> bool:
    for each in wanted:
        match each:
            case {"exists": exists}:
                accepted = exists
            case {"anything-but": unwanted}:
                accepted = value != unwanted
            case _:
                accepted = value == each
        if accepted:
            return True
    return False
