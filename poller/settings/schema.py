"""The shape of the blocks of a config file that are not AWS's own: each key and how it is read.

What is wrong is told without the value where that may be a secret.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network

from poller.targets import http_endpoint
from poller.targets.runtime_environment import RESERVED
from poller.transport import requests
from poller.wire.arns import ArnError, is_role, parse_function
from poller.wire.problems import unknown_key

from .addresses import is_loopback, parse_account, parse_address, parse_region, parse_url
from .asynchronous import read_async
from .nodes import Block, Node, Scalar
from .readers import Check, Wrong, block, items, key, number, read_entry, text
from .values import AsyncConfig

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
CONCURRENCY_MAX = 10_000
ARGUMENTS_MAX = 1_000
NETWORKS_MAX = 100
RUNTIME_API_EXAMPLE = "127.0.0.1:9001"

# What every invocation says itself, and what frames it.
RESERVED_HEADERS = http_endpoint.OURS | requests.OURS

_HANDLER = re.compile(r"[^\s.]+(?:\.[^\s.]+)*\.[A-Za-z_][A-Za-z0-9_]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _urls(node: Node) -> tuple[str, ...]:
    url = text(lambda given: parse_url(given, user_allowed=True))
    what = f"a URL or a list of 1 to {URLS_MAX} of them"
    if isinstance(node, Scalar):
        return (url(node),)
    urls: tuple[str, ...] = items(url, most=URLS_MAX, what=what)(node)
    if not urls:
        raise ValueError(f"must be {what}")
    return urls


def _arguments(node: Node) -> tuple[str, ...]:
    """A program and its arguments: a list, or text that is split as a shell splits it."""
    what = "a program with its arguments, as text or as a list"
    if isinstance(node, Scalar):
        arguments = _split(text(_without_nul)(node))
    else:
        arguments = items(text(_without_nul), most=ARGUMENTS_MAX, what=what)(node)
    if not arguments or not arguments[0]:
        raise ValueError(f"must be {what}")
    return arguments


def _split(given: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(given))
    except ValueError as error:
        raise ValueError(f"cannot be split into arguments: {error}") from None


def _runtime_api(node: Node) -> RuntimeApiEntry:
    """HOST:PORT, or a block of that and of the networks that runtimes may come from."""
    if isinstance(node, Block):
        match read_entry(RuntimeApiEntry, node):
            case RuntimeApiEntry() as entry:
                pass
            case problems:
                raise Wrong(problems)
    else:
        entry = RuntimeApiEntry(listen=text(_runtime_address)(node))
    if entry.listen is None:
        raise ValueError(f"has no listen; such as listen: {RUNTIME_API_EXAMPLE}")
    host, port = parse_address(entry.listen, example=RUNTIME_API_EXAMPLE)
    if not is_loopback(host) and not entry.allow:
        raise ValueError(
            "whoever connects receives records, so beyond this machine it needs the networks that "
            f"runtimes come from; such as {{listen: {host}:{port}, allow: [10.0.0.0/8]}}"
        )
    return entry


def _runtime_address(given: str) -> str:
    _, port = parse_address(given, example=RUNTIME_API_EXAMPLE)
    if port == 0:
        raise ValueError("must name a port, which the runtimes are told")
    return given


def _network(given: str) -> str:
    try:
        return str(ip_network(given))
    except ValueError:
        raise ValueError("must be a network, such as 10.0.0.0/8 or 10.1.2.3") from None


def _function(given: str) -> str:
    try:
        parse_function(given)
    except ArnError as error:
        raise ValueError(f"{error.message}; {error.remedy}") from None
    return given


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
    if not HEADER_NAME.fullmatch(name):
        raise ValueError("is no name of a header")
    if name.lower() in RESERVED_HEADERS:
        raise ValueError("is set by poller; remove it")
    return name


def header_value(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("has a control character; a header is one line")
    return text


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("has a NUL character, which no program can be given")
    return text


def _service(name: str) -> str:
    if name not in SERVICES:
        problem = unknown_key((name,), SERVICES)
        raise ValueError(f"{problem.message}; {problem.remedy}")
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsEntry:
    region: str | None = key(text(parse_region))
    account_id: str | None = key(text(parse_account))
    endpoint_url: str | None = key(text(_endpoint))
    endpoints: Mapping[str, str] | None = key(block(_service, text(_endpoint)))


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeApiEntry:
    listen: str | None = key(text(_runtime_address))
    allow: tuple[str, ...] | None = key(
        items(text(_network), most=NETWORKS_MAX, what="a list of networks, such as [10.0.0.0/8]")
    )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class FunctionEntry:
    """Every key of a function that is built; `functions` knows which go together."""

    handler: str | None = key(
        text(_matching(_HANDLER, "must be MODULE.NAME, such as app.orders.handler"))
    )
    command: tuple[str, ...] | None = key(_arguments)
    url: tuple[str, ...] | None = key(_urls)
    runtime_api: RuntimeApiEntry | None = key(_runtime_api)
    lambda_: str | None = key(text(_function), "lambda")
    timeout: float | None = key(number(1, 900, float))
    concurrency: int | None = key(number(1, CONCURRENCY_MAX, int))
    role: str | None = key(text(_role))
    async_: AsyncConfig | None = key(read_async, "async")
    environment: Mapping[str, str] | None = key(block(_variable, text(_without_nul)))
    path: str | None = key(text())
    python: str | None = key(text())
    memory: int | None = key(number(128, 10_240, int))
    headers: Mapping[str, str] | None = key(block(_header, text(header_value)))
