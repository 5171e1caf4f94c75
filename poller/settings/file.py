"""A config file or a template while it is read: its tree, and what was found wrong so far."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath

from poller.errors import InvalidConfig
from poller.wire.problems import Path, Problem

from .document import Document, SyntaxProblem, parse
from .nodes import Block, Node, line_at
from .variables import hide, substitute

BYTES_MAX = 1024 * 1024


@dataclass(slots=True)
class ConfigFile:
    """`name` is how the user called it."""

    name: str
    root: Node
    _found: dict[tuple[int, Problem], None] = field(default_factory=dict)
    _warned: list[Problem] = field(default_factory=list)
    _unreadable: frozenset[Path] = frozenset()

    @classmethod
    def read(cls, path: FilePath, environ: Mapping[str, str]) -> ConfigFile:
        """The file at `path` with its variables replaced.  Raises InvalidConfig where there is no
        file or no YAML in it."""
        document = _document(path, lambda text: parse(hide(text)))
        problems: list[Problem] = []
        root = substitute(document.root, environ, (), problems)
        file = cls(str(path), root, dict.fromkeys(document.twice))
        file.note(*problems)
        file._unreadable = frozenset(problem.path for problem in problems)
        return file

    @classmethod
    def read_template(cls, path: FilePath, tags: Mapping[str, str]) -> ConfigFile:
        """The template at `path`, as it is.  Raises InvalidConfig as `read` does."""
        document = _document(path, lambda text: parse(text, tags=tags))
        return cls(str(path), document.root, dict.fromkeys(document.twice))

    @classmethod
    def empty(cls, name: FilePath) -> ConfigFile:
        """A file that says nothing; `name` stands in what is wrong all the same."""
        return cls(str(name), Block({}, 1, nodes=1, depth=1))

    def note(self, *problems: Problem) -> None:
        """Add problems; what is said about a value whose variable is missing says nothing new."""
        for problem in problems:
            if problem.path not in self._unreadable:
                self._found[line_at(self.root, problem.path), problem] = None

    def warn(self, *warnings: Problem) -> None:
        """Add what is valid, and probably not meant."""
        self._warned += warnings

    @property
    def warnings(self) -> Sequence[str]:
        """Lines of these, in the order of the file."""
        return self.as_lines(self._warned)

    @property
    def lines(self) -> Sequence[str]:
        """`FILE:LINE: PATH: what is wrong; what would be right`, in the order of the file."""
        return self._in_order(self._found)

    def as_lines(self, remarks: Iterable[Problem]) -> Sequence[str]:
        """Lines like these of what is not wrong."""
        return self._in_order((line_at(self.root, remark.path), remark) for remark in remarks)

    def _in_order(self, found: Iterable[tuple[int, Problem]]) -> Sequence[str]:
        ordered = sorted(found, key=lambda pair: pair[0])
        return [f"{self.name}:{line}: {problem}" for line, problem in ordered]


def _document(path: FilePath, read: Callable[[str], Document]) -> Document:
    try:
        return read(_read_text(path))
    except SyntaxProblem as error:
        raise InvalidConfig([f"{path}:{error.line}: {error}"]) from None
    except OSError as error:
        raise InvalidConfig([f"{path}: cannot be read: {error.strerror}"]) from None


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
