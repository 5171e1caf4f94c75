"""The shape of the blocks of a config file that are not AWS's own: each key and how it is read.

What is wrong is told without the value where that may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from poller.targets.runtime_environment import RESERVED
from poller.wire.arns import is_role
from poller.wire.problems import Path, Problem, shown, unknown_key

from .addresses import parse_account, parse_region, parse_url
from .nodes import Block, Items, Node, Scalar

SERVICES = frozenset(
    (
        "cloudwatch",
        "dynamodb",
        "dynamodbstreams",
        "events",
        "kinesis",
        "lambda",
        "s3",
        "sns",
        "sqs",
        "sts",
    )
)
URLS_MAX = 1_000

# What every invocation says itself, and what frames it.
RESERVED_HEADERS = frozenset(
    (
        "connection",
        "content-length",
        "content-type",
        "lambda-runtime-deadline-ms",
        "transfer-encoding",
        "x-amz-invoked-function-arn",
        "x-amzn-requestid",
        "x-amzn-trace-id",
    )
)

_HANDLER = re.compile(r"[^\s.]+(?:\.[^\s.]+)*\.[A-Za-z_][A-Za-z0-9_]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

Check = Callable[[str], str]
"""Text as it is to be, mostly unchanged.  Raises ValueError."""

Reader = Callable[[Node], Any]
"""What a node says.  Raises ValueError, or Wrong for what lies further down."""


class Wrong(ValueError):
    """`problems` in a block or a list, their paths from there."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__()
        self.problems = problems


def _attempt(read: Callable[[Any], Any], given: Any, path: Path, problems: list[Problem]) -> Any:
    """What `read` makes of what stands at `path`; None where it is wrong, which is noted."""
    try:
        return read(given)
    except Wrong as wrong:
        problems += [problem.below(*path) for problem in wrong.problems]
    except ValueError as error:
        problems.append(Problem(path, str(error)))
    return None


def _text(check: Check = str) -> Reader:
    """A scalar's text as it is written, so that an account id may stand without quotes."""

    def read(node: Node) -> str:
        match node:
            case Scalar(substituted=False, value=None):
                raise ValueError('has no value; "" would be empty text')
            case Scalar(text=text):
                return check(text)
            case _:
                raise ValueError(f"must be text, not {_kind(node)}")

    return read


def _number(low: int, high: int, kind: type[int] | type[float]) -> Reader:
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
        given = shown(number) if isinstance(node, Scalar) else _kind(node)
        raise ValueError(f"must be {what} from {low} to {high}, not {given}")

    return read


def _block(name: Check, value: Reader) -> Reader:
    """A block of any keys that `name` takes."""

    def read(node: Node) -> dict[str, Any]:
        if not isinstance(node, Block):
            raise ValueError(f"must be a block of keys, not {_kind(node)}")
        problems: list[Problem] = []
        values = {
            _attempt(name, key, (key,), problems): _attempt(value, entry.node, (key,), problems)
            for key, entry in node.entries.items()
        }
        if problems:
            raise Wrong(problems)
        return values

    return read


def _urls(node: Node) -> tuple[str, ...]:
    url = _text(lambda text: parse_url(text, user_allowed=True))
    match node:
        case Scalar():
            return (url(node),)
        case Items(items=items) if 0 < len(items) <= URLS_MAX:
            problems: list[Problem] = []
            read = tuple(
                _attempt(url, item, (index,), problems) for index, item in enumerate(items)
            )
            if problems:
                raise Wrong(problems)
            return read
        case _:
            raise ValueError(f"must be a URL or a list of 1 to {URLS_MAX} of them")


def _matching(pattern: re.Pattern[str], message: str) -> Check:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(message)
        return text

    return check


def _endpoint(text: str) -> str:
    return parse_url(text, user_allowed=False)


def _role(text: str) -> str:
    if not is_role(text):
        raise ValueError("must be a role's ARN, such as arn:aws:iam::123456789012:role/poller")
    return text


def _variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise ValueError("is no name of a variable: letters, digits and _, not a digit first")
    if name in RESERVED:
        raise ValueError("is set by poller, as Lambda does; remove it")
    return name


def _header(name: str) -> str:
    if not _HEADER.fullmatch(name):
        raise ValueError("is no name of a header")
    if name.lower() in RESERVED_HEADERS:
        raise ValueError("is set by poller; remove it")
    return name


def _header_value(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("has a control character; a header is one line")
    return text


def _variable_value(text: str) -> str:
    if "\0" in text:
        raise ValueError("has a NUL character, which no environment can")
    return text


def _service(name: str) -> str:
    if name not in SERVICES:
        problem = unknown_key((name,), SERVICES)
        raise ValueError(f"{problem.message}; {problem.remedy}")
    return name


def _key(read: Reader) -> Any:
    """A key that `read` reads; None where it is absent."""
    return field(default=None, metadata={"read": read})


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsEntry:
    region: str | None = _key(_text(parse_region))
    account_id: str | None = _key(_text(parse_account))
    endpoint_url: str | None = _key(_text(_endpoint))
    endpoints: Mapping[str, str] | None = _key(_block(_service, _text(_endpoint)))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class FunctionEntry:
    """Every key of a function that is built; `functions` knows which go together."""

    handler: str | None = _key(
        _text(_matching(_HANDLER, "must be MODULE.NAME, such as app.orders.handler"))
    )
    url: tuple[str, ...] | None = _key(_urls)
    timeout: float | None = _key(_number(1, 900, float))
    concurrency: int | None = _key(_number(1, 10_000, int))
    role: str | None = _key(_text(_role))
    environment: Mapping[str, str] | None = _key(_block(_variable, _text(_variable_value)))
    path: str | None = _key(_text())
    python: str | None = _key(_text())
    memory: int | None = _key(_number(128, 10_240, int))
    headers: Mapping[str, str] | None = _key(_block(_header, _text(_header_value)))


Entry = TypeVar("Entry", AwsEntry, FunctionEntry)


def read_entry(kind: type[Entry], node: Block) -> Entry | list[Problem]:
    """`node` as `kind`, or everything that is wrong with it: known keys first, in their order."""
    readers: dict[str, Reader] = {each.name: each.metadata["read"] for each in fields(kind)}
    problems: list[Problem] = []
    values = {
        key: _attempt(read, node.entries[key].node, (key,), problems)
        for key, read in readers.items()
        if key in node.entries
    }
    problems += [unknown_key((key,), readers.keys()) for key in node.entries if key not in readers]
    return problems or kind(**values)


def _kind(node: Node) -> str:
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
