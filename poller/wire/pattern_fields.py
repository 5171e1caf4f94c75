"""Finds a pattern's fields in an event: which of them match, for each way to choose from arrays.

A field is found by its names joined with dots, in a pattern as in an event, so a name that has dots
itself is as good as nesting.  Arrays are looked into, and fields that match together must come from
the same element of each array: the tags {"k": "a", "v": 1} and {"k": "b", "v": 2} have no k that is
"a" with a v that is 2.  Values that stand in an array by themselves are there all at once.

What is found is a set of bits.  Each field has one that says "it has a value that matches"; one
that may be absent has another that says "it has a value at all".  The sets of an object's members
unite, an array gives the set of each element as a choice.  A choice that is no better than another
is dropped, which leaves one for most events.  Beyond CHOICES_MAX, what any of them has counts as
found, whether or not it goes together: better a record too many than one lost.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .pattern_values import Test, Values

CHOICES_MAX = 32  # sets of fields that the elements of an array may differ in
DEPTH_MAX = 200  # arrays in arrays and objects that are looked into; patterns are less deep

_NOTHING: Any = object()

Choices = list[Collection[int]]  # of each array that was met, the sets that its elements give
Wanted = Callable[[int], bool]  # whether a set of bits is what the pattern asks for


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """One field of a pattern.  `name` has the names joined with dots.

    `matches`: the bit for a value that matches.  `present`: the bit for any value; 0 where absence
    does not matter.  `rivals`: the bits of fields in other branches of an $or, whose choice of
    elements is not this one's.
    """

    name: str
    values: Values
    matches: int
    present: int
    rivals: int = 0

    @property
    def order(self) -> bytes:
        """Java's order of strings, in which AWS's engine goes through fields."""
        return self.name.encode("utf-16-be", "surrogatepass")


class _Node:
    """What is looked for at one place of an event.

    `tests`: of a value there.  `deep`: whether a name with dots could lead past the children.
    `absences`: for each field at or below this place that may be absent, its bit and the bits of
    the fields there that come before it.  `presence`: the bits `present` of the whole pattern.
    """

    __slots__ = ("absences", "children", "deep", "fields", "presence", "tests")

    def __init__(self, presence: int) -> None:
        self.fields: list[Field] = []
        self.children: dict[str, _Node] = {}
        self.presence = presence
        self.tests: tuple[tuple[Test, int, int], ...] = ()
        self.deep = False
        self.absences: tuple[tuple[int, int], ...] = ()

    def finish(self) -> list[Field]:
        """Prepare this place and those below it; the fields of all of them."""
        fields = self.fields + [
            field for child in self.children.values() for field in child.finish()
        ]
        self.tests = tuple((f.values.accepts, f.matches, f.present) for f in self.fields)
        self.deep = any(child.children for child in self.children.values())
        self.absences = tuple(
            (
                field.present,
                _union(f.matches for f in fields if f.order < field.order) & ~field.rivals,
            )
            for field in fields
            if field.present
        )
        return fields


class FieldTree:
    """The fields of one pattern.

    Sets of bits that it gives out say of each field whether it is as wanted: there `present` is set
    where the field has no value.
    """

    def __init__(self, fields: Sequence[Field]) -> None:
        self._presence = _union(field.present for field in fields)
        self._root = _Node(self._presence)
        for field in fields:
            node = self._root
            for name in field.name.split("."):
                if name not in node.children:
                    node.children[name] = _Node(self._presence)
                node = node.children[name]
            node.fields.append(field)
        self._root.finish()

    def any_choice(self, event: dict[str, Any], wanted: Wanted, allowed: int) -> bool:
        """Whether there is a choice of array elements whose set is `wanted`; bits that are not
        `allowed` are not looked at."""
        choices: Choices = []
        found = _in_object(self._root, event, choices, 0)
        presence = self._presence
        if not choices:
            return wanted((found ^ presence) & allowed)
        hopes = [_hope(elements, presence) for elements in choices]
        for at, elements in enumerate(choices):
            others = found | _union(hopes[:at] + hopes[at + 1 :])
            choices[at] = [e for e in elements if wanted(((e | others) ^ presence) & allowed)]
            if not choices[at]:
                return False
        return any(
            wanted((each ^ presence) & allowed) for each in _united(found, choices, presence)
        )

    def choices(self, event: dict[str, Any]) -> list[int]:
        """The sets of all choices that could matter."""
        choices: Choices = []
        found = _in_object(self._root, event, choices, 0)
        return [each ^ self._presence for each in _united(found, choices, self._presence)]


def _in_object(node: _Node, event: dict[str, Any], choices: Choices, depth: int) -> int:
    found = 0
    for name, child in node.children.items():
        value = event.get(name, _NOTHING)
        if value is not _NOTHING:
            found |= _in_value(child, value, choices, depth)
    if node.deep:
        for name, value in event.items():
            if "." in name and (past := _past(node, name)) is not None:
                found |= _in_value(past, value, choices, depth)
    return found


def _in_value(node: _Node, value: Any, choices: Choices, depth: int) -> int:
    kind = type(value)
    if kind is dict:
        return _in_object(node, value, choices, depth + 1) if node.children else 0
    if kind is list:
        return _in_array(node, value, choices, depth + 1) if depth < DEPTH_MAX else 0
    found = 0
    for accepts, matches, present in node.tests:
        found |= present
        if accepts(value):
            found |= matches
    return found


def _in_array(node: _Node, items: list[Any], choices: Choices, depth: int) -> int:
    """What its plain values give; what its objects and arrays give is one more of `choices`."""
    found = 0
    elements: set[int] = set()
    for item in items:
        kind = type(item)
        if kind is dict or kind is list:
            inside: Choices = []
            each = _in_value(node, item, inside, depth)
            elements.update(_united(each, inside, node.presence))
        else:
            found |= _in_value(node, item, choices, depth)
    if elements:
        if node.absences:
            elements = {_judged(node, each, elements) for each in elements}
        choices.append(_best(elements, node.presence))
    return found


def _past(node: _Node, name: str) -> _Node | None:
    """The place to which a name with dots leads."""
    for part in name.split("."):
        child = node.children.get(part)
        if child is None:
            return None
        node = child
    return node


def _judged(node: _Node, each: int, elements: Collection[int]) -> int:
    """An element is asked whether a field is absent once an earlier field has chosen it; until then
    the field is present if it is in any element."""
    anywhere = _union(elements)
    for present, earlier in node.absences:
        if not each & earlier:
            each |= anywhere & present
    return each


def _united(found: int, choices: Choices, presence: int) -> Collection[int]:
    """One element of each array, in every combination that could matter."""
    united: Collection[int] = (found,)
    for elements in choices:
        united = _best({one | other for one in united for other in elements}, presence)
    return united


def _best(sets: Collection[int], presence: int) -> Collection[int]:
    """The sets without those that another one contains, absences counted as members."""
    if len(sets) < 2:
        return sets
    best: list[int] = []
    for each in sets:
        one = each ^ presence
        if all(one & ~other for other in best):
            best = [other for other in best if other & ~one]
            best.append(one)
            if len(best) > CHOICES_MAX:
                return (_hope(sets, presence),)
    return [one ^ presence for one in best]


def _hope(sets: Collection[int], presence: int) -> int:
    """What any of the sets has, in one set: as good as all of them or better."""
    return _union(each ^ presence for each in sets) ^ presence


def _union(sets: Iterable[int]) -> int:
    union = 0
    for each in sets:
        union |= each
    return union
