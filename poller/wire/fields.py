"""Reads typed values out of a request and notes everything that is wrong with them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from .problems import Path, Problem, shown, unknown_key


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
        self.problems += [
            unknown_key((*self._path, name), known) for name in self._raw if name not in known
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
        self.note(name, f"must be {allowed}, not {shown(value)}")
        return default

    def flag(self, name: str, *, default: bool) -> bool:
        match self._raw.get(name):
            case None:
                return default
            case bool(value):
                return value
            case other:
                self.note(name, f"must be true or false, not {shown(other)}")
                return default

    def text(self, name: str) -> str | None:
        match self._raw.get(name):
            case None:
                return None
            case str(value):
                return value
            case other:
                self.note(name, f"must be text, not {shown(other)}")
                return None

    def items(self, name: str) -> list[Any]:
        match self._raw.get(name):
            case None:
                return []
            case list(value):
                return value
            case other:
                self.note(name, f"must be a list, not {shown(other)}")
                return []

    def block(self, name: str, known: Collection[str]) -> Fields:
        """The block of keys under `name`; empty where there is none."""
        inside: Mapping[str, Any] = {}
        match self._raw.get(name):
            case None:
                pass
            case Mapping() as value:
                inside = value
            case other:
                self.note(name, f"must be a block of keys, not {shown(other)}")
        fields = Fields(inside, (*self._path, name), self.problems)
        fields.refuse_unknown(known)
        return fields
