"""How the nodes of a config file are read: text, numbers, lists and blocks of keys.

What is wrong is told without the value where that may be a secret.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field, fields
from typing import TYPE_CHECKING, Any, TypeVar

from poller.wire.problems import Path, Problem, shown, unknown_key

from .nodes import Block, Items, Node, Scalar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Check = Callable[[str], str]
"""Text as it is to be, mostly unchanged.  Raises ValueError."""

Reader = Callable[[Node], Any]
"""What a node says.  Raises ValueError, or Wrong for what lies further down."""


class Wrong(ValueError):
    """`problems` in a block or a list, their paths from there."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__()
        self.problems = problems


def attempt(read: Callable[[Any], Any], given: Any, path: Path, problems: list[Problem]) -> Any:
    """What `read` makes of what stands at `path`; None where it is wrong, which is noted."""
    try:
        return read(given)
    except Wrong as wrong:
        problems += [problem.below(*path) for problem in wrong.problems]
    except ValueError as error:
        problems.append(Problem(path, str(error)))
    return None


def text(check: Check = str) -> Reader:
    """A scalar's text as it is written, so that an account id may stand without quotes."""

    def read(node: Node) -> str:
        match node:
            case Scalar(substituted=False, value=None):
                raise ValueError('has no value; "" would be empty text')
            case Scalar(text=text):
                return check(text)
            case _:
                raise ValueError(f"must be text, not {kind_of(node)}")

    return read


def number(low: int, high: int, kind: type[int] | type[float]) -> Reader:
    def read(node: Node) -> int | float:
        number = node.value if isinstance(node, Scalar) else None
        match number:
            case bool():
                pass
            case int() if low <= number <= high:
                return kind(number)
            case float() if low <= number <= high and kind is float:
                return number
        what = "a whole number" if kind is int else "a number"
        given = shown(number) if isinstance(node, Scalar) else kind_of(node)
        raise ValueError(f"must be {what} from {low} to {high}, not {given}")

    return read


def block(name: Check, value: Reader) -> Reader:
    """A block of any keys that `name` takes."""

    def read(node: Node) -> dict[str, Any]:
        if not isinstance(node, Block):
            raise ValueError(f"must be a block of keys, not {kind_of(node)}")
        problems: list[Problem] = []
        values = {
            attempt(name, key, (key,), problems): attempt(value, entry.node, (key,), problems)
            for key, entry in node.entries.items()
        }
        if problems:
            raise Wrong(problems)
        return values

    return read


def items(value: Reader, *, most: int, what: str) -> Reader:
    """A list of up to `most` that `value` reads; `what` says what it must be."""

    def read(node: Node) -> tuple[Any, ...]:
        if not isinstance(node, Items) or len(node.items) > most:
            raise ValueError(f"must be {what}")
        problems: list[Problem] = []
        values = [attempt(value, item, (index,), problems) for index, item in enumerate(node.items)]
        if problems:
            raise Wrong(problems)
        return tuple(values)

    return read


def key(read: Reader, name: str | None = None) -> Any:
    """A key that `read` reads, known as the field is or as `name`; None where it is absent."""
    return field(default=None, metadata={"read": read, "name": name})


def keys_of(kind: type[DataclassInstance]) -> dict[str, str]:
    """The field of each key of `kind`."""
    return {each.metadata["name"] or each.name: each.name for each in fields(kind)}


Entry = TypeVar("Entry", bound="DataclassInstance")


def read_entry(kind: type[Entry], node: Block) -> Entry | list[Problem]:
    """`node` as `kind`, or everything that is wrong with it: known keys first, in their order."""
    readers: dict[str, Reader] = {each.name: each.metadata["read"] for each in fields(kind)}
    known = keys_of(kind)
    problems: list[Problem] = []
    values = {
        name: attempt(readers[name], node.entries[key].node, (key,), problems)
        for key, name in known.items()
        if key in node.entries
    }
    problems += [unknown_key((key,), known) for key in node.entries if key not in known]
    return problems or kind(**values)


def kind_of(node: Node) -> str:
    """What kind of value it is, without showing it."""
    match node:
        case Items():
            return "a list"
        case Block():
            return "a block of keys"
        case Scalar(value=None):
            return "nothing"
        case Scalar(value=str()):
            return "text"
        case Scalar(value=bool()):
            return "true or false"
        case Scalar():
            return "a number"
