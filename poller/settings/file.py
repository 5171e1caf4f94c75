"""A config file while it is read: its tree, and what was found to be wrong with it so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath

from poller.errors import InvalidConfig
from poller.wire.problems import Path, Problem

from .document import SyntaxProblem, parse
from .nodes import Node, line_at
from .variables import hide, substitute

BYTES_MAX = 1024 * 1024


@dataclass(slots=True)
class ConfigFile:
    """`name` is how the user called it."""

    name: str
    root: Node
    _found: list[tuple[int, Problem]] = field(default_factory=list)
    _unreadable: frozenset[Path] = frozenset()

    @classmethod
    def read(cls, path: FilePath, environ: Mapping[str, str]) -> ConfigFile:
        """The file at `path` with its variables replaced.  Raises InvalidConfig where there is no
        file or no YAML in it."""
        try:
            document = parse(hide(_read_text(path)))
        except SyntaxProblem as error:
            raise InvalidConfig([f"{path}:{error.line}: {error}"]) from None
        except OSError as error:
            raise InvalidConfig([f"{path}: cannot be read: {error.strerror}"]) from None
        problems: list[Problem] = []
        root = substitute(document.root, environ, (), problems)
        file = cls(str(path), root, list(document.twice))
        file.note(*problems)
        file._unreadable = frozenset(problem.path for problem in problems)
        return file

    def note(self, *problems: Problem) -> None:
        """Add problems; what is said about a value whose variable is missing says nothing new."""
        self._found += [
            (line_at(self.root, problem.path), problem)
            for problem in problems
            if problem.path not in self._unreadable
        ]

    def check(self) -> None:
        """Raises InvalidConfig if anything was noted: `FILE:LINE: PATH: what is wrong; what would
        be right`, in the order of the file."""
        ordered = sorted(self._found, key=lambda pair: pair[0])
        if ordered:
            raise InvalidConfig([f"{self.name}:{line}: {problem}" for line, problem in ordered])


def _read_text(path: FilePath) -> str:
    with path.open("rb") as file:
        content = file.read(BYTES_MAX + 1)
    if len(content) > BYTES_MAX:
        raise SyntaxProblem(f"more than {BYTES_MAX} bytes are no config", 1)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SyntaxProblem("this is not UTF-8 text; save it as UTF-8", line) from None
