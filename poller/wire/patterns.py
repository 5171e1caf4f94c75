"""Event patterns of filter criteria: parsed and compiled once, then matched with events (spec 9.2).

    {"data": {"City": ["Seattle"], "Degrees": [{"numeric": [">", 20]}]}}

All fields of an object must match, and of the values of a field any may.  An $or holds objects, of
which any may match; it is one where it lists two objects or more, none of whose names is an
operator's, and otherwise a field like any other.  A name that comes twice counts as AWS has it: the
last one alone, with a warning.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .pattern_fields import Field, FieldTree
from .pattern_values import PatternError, parse_values, shown_value
from .problems import one_line, shown

PATTERN_MAX = 4096  # characters
NESTING_MAX = 100  # levels of objects and lists, and names of a field

OR = "$or"
# What AWS's engine keeps for itself: an $or that holds a field of such a name is no $or.
_RESERVED = frozenset(
    [
        *("exactly", "equals-ignore-case", "prefix", "suffix", "anything-but", "exists"),
        *("wildcard", "numeric", "cidr", "=", "<", "<=", ">", ">=", "regex", "not-wildcard"),
        *("not-equals-ignore-case", "date-after", "date-on-or-after", "date-before"),
        *("date-on-or-before", "in-date-range", "ip-address-in-range", "ip-address-not-in-range"),
    ]
)


@dataclass(frozen=True, slots=True)
class AllOf:
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    parts: tuple[AllOf, ...]


Part = Field | AllOf | AnyOf


class Pattern:
    """A compiled pattern.  `whole` is what it asks for; `warnings` are about its text."""

    def __init__(self, text: str) -> None:
        """Raises PatternError."""
        grammar = _Grammar()
        self.text = text
        self.whole = grammar.pattern(text)
        self.fields = tuple(_fields(self.whole))
        self.warnings = tuple(dict.fromkeys(grammar.warnings))
        self.names = frozenset(field.name.split(".", 1)[0] for field in self.fields)
        self._tree = FieldTree(self.fields)
        self._wanted = wanted(self.whole)

    def matches(self, event: dict[str, Any], allowed: int = -1) -> bool:
        """Whether it matches an event of JSON values; of its fields only those that `allowed` has
        the bits of can."""
        return self._tree.any_choice(event, self._wanted, allowed)

    def choices(self, event: dict[str, Any]) -> list[int]:
        """The bits of the fields that are as wanted, for each choice of array elements."""
        return self._tree.choices(event)

    def bits(self, name: str, *, below: bool) -> int:
        """The bits of the fields below the name at the top, or of the one at it."""
        fields = (f for f in self.fields if f.name.startswith(f"{name}.") or f.name == name)
        bits = 0
        for field in fields:
            if (field.name != name) == below:
                bits |= field.matches | field.present
        return bits


def wanted(part: Part) -> Callable[[int], bool]:
    """Tells of a set of bits whether `part` is satisfied."""
    match part:
        case Field(matches=matches, present=present):
            either = matches | present
            return lambda bits: bits & either != 0
        case AnyOf(parts):
            return _any_of([wanted(each) for each in parts])
        case AllOf(parts):
            single = [p.matches for p in parts if isinstance(p, Field) and not p.present]
            needed = sum(single)
            rest = [p for p in parts if not (isinstance(p, Field) and not p.present)]
            return _all_of(needed, [wanted(each) for each in rest])


def _any_of(tests: Sequence[Callable[[int], bool]]) -> Callable[[int], bool]:
    return lambda bits: any(test(bits) for test in tests)


def _all_of(needed: int, rest: Sequence[Callable[[int], bool]]) -> Callable[[int], bool]:
    if not rest:
        return lambda bits: bits & needed == needed
    return lambda bits: bits & needed == needed and all(test(bits) for test in rest)


def _fields(part: Part) -> Iterator[Field]:
    if isinstance(part, Field):
        yield part
        return
    for each in part.parts:
        yield from _fields(each)


class _Grammar:
    """Reads one pattern."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self._next_bit = 1

    def pattern(self, text: str) -> AllOf:
        if len(text) > PATTERN_MAX:
            raise PatternError((), f"has {len(text)} characters; {PATTERN_MAX} are the most")
        try:
            raw = json.loads(text, object_pairs_hook=self._object, parse_constant=_no_constant)
        except RecursionError:
            raise _too_deep() from None
        except ValueError as error:
            reason = f"is not JSON: {error}, in {shown(text)}" if text.strip() else "is empty"
            raise PatternError((), reason) from None
        if not isinstance(raw, dict):
            reason = 'must be an object such as {"body": {"city": ["Seattle"]}}'
            raise PatternError((), f"{reason}, not {shown(raw)}")
        _check_depth(raw)
        return self._rivals_told(self._all_of(raw, ()))

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        for name, value in pairs:
            if name in entries:
                self._warn_of_twice(name)
                del entries[name]  # the order of the text is that of what counts
            entries[name] = value
        return entries

    def _warn_of_twice(self, name: str) -> None:
        self.warnings.append(f'"{one_line(name)}" comes twice in one object; the last one counts')

    def _all_of(self, raw: dict[str, Any], path: tuple[str, ...]) -> AllOf:
        """One object, those inside it included."""
        parts: dict[str | int, Part] = {}
        for index, part in enumerate(self._parts(raw, path)):
            if not isinstance(part, Field):
                parts[index] = part
                continue
            if parts.pop(part.name, None) is not None:
                self._warn_of_twice(part.name)
            parts[part.name] = part
        return AllOf(tuple(parts.values()))

    def _parts(self, raw: dict[str, Any], path: tuple[str, ...]) -> Iterator[Field | AnyOf]:
        if not raw:
            raise PatternError(path, "must not be an empty object")
        for name, value in raw.items():
            place = (*path, name)
            if name == OR and _is_or(value):
                yield AnyOf(tuple(self._all_of(branch, path) for branch in value))
            elif isinstance(value, dict):
                yield from self._parts(value, place)
            elif isinstance(value, list):
                yield self._field(place, value)
            else:
                reason = f"must list its values, as in [{shown_value(value)}], or be an object"
                raise PatternError(place, reason)

    def _field(self, path: tuple[str, ...], raw: list[Any]) -> Field:
        values = parse_values(raw, path)
        name = ".".join(path)
        if name.count(".") >= NESTING_MAX:
            raise _too_deep()
        matches = self._bit()
        return Field(name, values, matches, self._bit() if values.absent else 0)

    def _bit(self) -> int:
        bit = self._next_bit
        self._next_bit <<= 1
        return bit

    def _rivals_told(self, whole: AllOf, rivals: int = 0) -> AllOf:
        """The same with the `rivals` of each field."""
        parts: list[Part] = []
        for part in whole.parts:
            match part:
                case Field():
                    parts.append(replace(part, rivals=rivals))
                case AllOf():
                    parts.append(self._rivals_told(part, rivals))
                case AnyOf(branches):
                    bits = [sum(field.matches for field in _fields(each)) for each in branches]
                    parts.append(
                        AnyOf(
                            tuple(
                                self._rivals_told(branch, rivals | sum(bits) & ~own)
                                for branch, own in zip(branches, bits, strict=True)
                            )
                        )
                    )
        return AllOf(tuple(parts))


def _is_or(value: Any) -> bool:
    if not isinstance(value, list) or len(value) < 2:
        return False
    return all(isinstance(each, dict) and not _names_operator(each) for each in value)


def _names_operator(raw: dict[str, Any]) -> bool:
    """Whether a field of this object, or of one inside it, has the name of an operator."""
    for name, value in raw.items():
        branches = value if name == OR and isinstance(value, list) else [value]
        inside = (each for each in branches if isinstance(each, dict))
        if name in _RESERVED or any(_names_operator(each) for each in inside):
            return True
    return False


def _check_depth(raw: Any) -> None:
    level = [raw]
    for _ in range(NESTING_MAX):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> PatternError:
    return PatternError((), f"nests more than {NESTING_MAX} levels deep")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
