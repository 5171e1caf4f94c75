"""The shape of the blocks of a config file that are not AWS's own, as pydantic models.

What is wrong is told in our words, and without the value where that may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from poller.targets.runtime_environment import RESERVED
from poller.wire.arns import is_role
from poller.wire.problems import Problem, shown, unknown_key

from .addresses import parse_region, parse_url
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

_ACCOUNT = re.compile(r"\d{12}")
_HANDLER = re.compile(r"[^\s.]+(?:\.[^\s.]+)*\.[A-Za-z_][A-Za-z0-9_]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _text(value: Any) -> Any:
    """A scalar's text as it is written, so that an account id may stand without quotes."""
    match value:
        case Scalar(substituted=False, value=None):
            raise ValueError('has no value; "" would be empty text')
        case Scalar(text=text):
            return text
        case _:
            raise ValueError(f"must be text, not {_kind(value)}")


def _number(low: int, high: int, *, whole: bool) -> BeforeValidator:
    def check(value: Any) -> int | float:
        number = value.value if isinstance(value, Scalar) else None
        match number:
            case bool():
                pass
            case int() if low <= number <= high:
                return number
            case float() if low <= number <= high and not whole:
                return number
        what = "a whole number" if whole else "a number"
        given = shown(number) if isinstance(value, Scalar) else _kind(value)
        raise ValueError(f"must be {what} from {low} to {high}, not {given}")

    return BeforeValidator(check)


def _matching(pattern: re.Pattern[str], message: str) -> AfterValidator:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(message)
        return text

    return AfterValidator(check)


def _endpoint(text: str) -> str:
    return parse_url(text, user_allowed=False)


def _url(text: str) -> str:
    return parse_url(text, user_allowed=True)


def _listed(value: Any) -> Any:
    match value:
        case Scalar():
            return (value,)
        case list() if 0 < len(value) <= URLS_MAX:
            return tuple(value)
        case _:
            raise ValueError(f"must be a URL or a list of 1 to {URLS_MAX} of them")


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


Text = Annotated[str, BeforeValidator(_text)]
Endpoint = Annotated[Text, AfterValidator(_endpoint)]


class Entry(BaseModel):
    """A block whose keys are all known; an absent one is None."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class AwsEntry(Entry):
    region: Annotated[Text, AfterValidator(parse_region)] | None = None
    account_id: Annotated[Text, _matching(_ACCOUNT, "must be 12 digits")] | None = None
    endpoint_url: Endpoint | None = None
    endpoints: dict[Annotated[str, AfterValidator(_service)], Endpoint] | None = None


class FunctionEntry(Entry):
    """Every key of a function that is built; `functions` knows which go together."""

    handler: (
        Annotated[Text, _matching(_HANDLER, "must be MODULE.NAME, such as app.orders.handler")]
        | None
    ) = None
    url: (
        Annotated[tuple[Annotated[Text, AfterValidator(_url)], ...], BeforeValidator(_listed)]
        | None
    ) = None
    timeout: Annotated[float, _number(1, 900, whole=False)] | None = None
    concurrency: Annotated[int, _number(1, 10_000, whole=True)] | None = None
    role: Annotated[Text, AfterValidator(_role)] | None = None
    environment: (
        dict[
            Annotated[str, AfterValidator(_variable)],
            Annotated[Text, AfterValidator(_variable_value)],
        ]
        | None
    ) = None
    path: Text | None = None
    python: Text | None = None
    memory: Annotated[int, _number(128, 10_240, whole=True)] | None = None
    headers: (
        dict[
            Annotated[str, AfterValidator(_header)],
            Annotated[Text, AfterValidator(_header_value)],
        ]
        | None
    ) = None


Model = TypeVar("Model", bound=Entry)


def read_entry(model: type[Model], node: Block) -> Model | list[Problem]:
    """`node` as `model`, or everything that is wrong with it."""
    try:
        return model.model_validate(_data(node))
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        return [_problem(model, node, detail) for detail in details]


def _data(node: Node) -> Any:
    """Blocks and lists as Python's, scalars as they are: each field knows how it reads them."""
    match node:
        case Scalar():
            return node
        case Items(items=items):
            return [_data(item) for item in items]
        case Block(entries=entries):
            return {key: _data(entry.node) for key, entry in entries.items()}


def _problem(model: type[Entry], node: Block, detail: Mapping[str, Any]) -> Problem:
    path, found = _place(node, detail["loc"])
    match detail["type"]:
        case "extra_forbidden":
            return unknown_key(path, model.model_fields.keys())
        case "value_error":
            return Problem(path, str(detail["ctx"]["error"]))
        case "dict_type":
            return Problem(path, f"must be a block of keys, not {_kind(found)}")
        case _:
            return Problem(path, str(detail["msg"]))


def _place(node: Block, location: tuple[str | int, ...]) -> tuple[tuple[str | int, ...], Node]:
    """The part of pydantic's location that is in the file, and what is there."""
    path: tuple[str | int, ...] = ()
    found: Node = node
    for step in location:
        match found, step:
            case Block(entries=entries), str() if step in entries:
                found = entries[step].node
            case Items(items=items), int() if step < len(items):
                found = items[step]
            case _:
                break
        path = (*path, step)
    return path, found


def _kind(value: Any) -> str:
    """What kind of value it is, without showing it."""
    match value:
        case Scalar(value=None):
            return "nothing"
        case Scalar(value=str()):
            return "text"
        case Scalar(value=bool()):
            return "true or false"
        case Scalar():
            return "a number"
        case Items() | list() | tuple():
            return "a list"
        case _:
            return "a block of keys"
