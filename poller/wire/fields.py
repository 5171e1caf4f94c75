"""Reads typed values out of a request and notes everything that is wrong with them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import islice
from typing import Any

from .constraints import constraint, in_range, wrong_type
from .problems import Kind, Path, Problem, shown, unknown_key

UNKNOWN_MAX = 100  # keys of one block that are named


class Fields:
    """The keys of one block of a request; null counts as not given, as in AWS's own JSON.

    Every read returns a usable value: the default where the value is missing or wrong.  What is
    wrong is noted in `problems`, which blocks inside this one share.
    """

    def __init__(
        self, raw: Mapping[str, Any], path: Path = (), problems: list[Problem] | None = None
    ) -> None:
        self._raw = dict(raw)
        self._path = path
        self.problems: list[Problem] = [] if problems is None else problems

    def get(self, name: str) -> Any:
        return self._raw.get(name)

    def has(self, name: str) -> bool:
        return self._raw.get(name) is not None

    def note(self, name: str, message: str, remedy: str = "") -> None:
        self.problems.append(Problem((*self._path, name), message, remedy))

    def note_constraint(self, name: str, message: str, rule: str, remedy: str = "") -> None:
        """Note a value that AWS's model does not allow: ours and AWS's words for it."""
        path = (*self._path, name)
        aws = constraint(path, self._raw.get(name), rule)
        self.problems.append(Problem(path, message, remedy, Kind.CONSTRAINT, aws))

    def note_type(self, name: str, message: str, wanted: str) -> None:
        """Note a value of another JSON type than `wanted`."""
        aws = wrong_type(self._raw.get(name), wanted)
        self.problems.append(Problem((*self._path, name), message, "", Kind.TYPE, aws))

    def refuse(self, name: str, message: str, remedy: str = "") -> None:
        """Note this one problem about a key, which then counts as not given."""
        self.note(name, message, remedy)
        del self._raw[name]

    def sound(self, *names: str) -> bool:
        """Whether nothing was noted about any of these keys."""
        depth = len(self._path)
        noted = {problem.path[depth] for problem in self.problems if len(problem.path) > depth}
        return noted.isdisjoint(names)

    def refuse_unknown(self, known: Collection[str]) -> None:
        """Note keys that are none of `known`, as many as anybody would read."""
        unknown = (name for name in self._raw if name not in known)
        self.problems += [
            unknown_key((*self._path, name), known) for name in islice(unknown, UNKNOWN_MAX)
        ]

    def whole(
        self, name: str, low: int, high: int, *, default: int, unlimited: bool = False
    ) -> int:
        """A whole number from `low` to `high`; with `unlimited`, also -1."""
        value = self._raw.get(name)
        match value:
            case None:
                return default
            case bool():
                pass
            case int() if low <= value <= high or (unlimited and value == -1):
                return value
        allowed = f"a whole number from {low} to {high}"
        if unlimited:
            allowed = f"-1 (no limit) or {allowed}"
        message = f"must be {allowed}, not {shown(value)}"
        least = -1 if unlimited else low
        if isinstance(value, bool) or not isinstance(value, int):
            self.note_type(name, message, "Integer")
        elif least <= value <= high:  # AWS's model allows it, its rules do not
            self.note(name, message)
        else:
            self.note_constraint(name, message, in_range(least, high, value))
        return default

    def flag(self, name: str, *, default: bool) -> bool:
        match self._raw.get(name):
            case None:
                return default
            case bool(value):
                return value
            case other:
                self.note_type(name, f"must be true or false, not {shown(other)}", "Boolean")
                return default

    def text(self, name: str) -> str | None:
        match self._raw.get(name):
            case None:
                return None
            case str(value):
                return value
            case other:
                self.note_type(name, f"must be text, not {shown(other)}", "String")
                return None

    def items(self, name: str) -> list[Any]:
        match self._raw.get(name):
            case None:
                return []
            case list(value):
                return value
            case other:
                self.note_type(name, f"must be a list, not {shown(other)}", "List")
                return []

    def mapping(self, name: str) -> Mapping[str, Any]:
        """A block of any keys."""
        match self._raw.get(name):
            case None:
                return {}
            case Mapping() as value:
                return value
            case other:
                self.note_type(name, f"must be a block of keys, not {shown(other)}", "Map")
                return {}

    def block(self, name: str, known: Collection[str]) -> Fields:
        """The block of keys under `name`; empty where there is none."""
        fields = Fields(self.mapping(name), (*self._path, name), self.problems)
        fields.refuse_unknown(known)
        return fields

    def blocks(self, name: str, known: Collection[str]) -> list[Fields]:
        """The blocks of keys that the list under `name` holds."""
        found = []
        for index, item in enumerate(self.items(name)):
            inside = item if isinstance(item, Mapping) else {}
            fields = Fields(inside, (*self._path, name, index), self.problems)
            fields.refuse_unknown(known)
            found.append(fields)
            if inside is not item:
                path, message = (*self._path, name, index), "must be a block of keys"
                aws = wrong_type(item, "Map")
                self.problems.append(
                    Problem(path, f"{message}, not {shown(item)}", "", Kind.TYPE, aws)
                )
        return found
