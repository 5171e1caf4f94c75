"""A declared function: which keys go together, and what stands where a key is not given."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from poller.targets.runtime_environment import MEMORY_DEFAULT
from poller.wire.arns import LATEST_VERSION, ArnError, parse_function
from poller.wire.problems import Problem, not_yet

from .nodes import Block, Node
from .schema import FunctionEntry, read_entry
from .values import EndpointConfig, FunctionConfig, HandlerConfig

TIMEOUT_DEFAULT = 3.0
HANDLER_CONCURRENCY_DEFAULT = 10

KINDS = ("handler", "url")  # what runs; exactly one of them
KINDS_NOT_YET = ("command", "runtime_api", "lambda")
KEYS_NOT_YET = ("async", "auth", "tracing")
KEYS_OF_KIND = {
    "handler": frozenset({"environment", "path", "python", "memory"}),
    "url": frozenset({"headers"}),
}


def read_function(
    name: str, node: Node, line: int, *, folder: Path, account: str, environ: Mapping[str, str]
) -> FunctionConfig | list[Problem]:
    """The function `name` of the config file in `folder`, or everything that is wrong with it.

    Paths of the problems begin below the function.
    """
    if not isinstance(node, Block):
        return [Problem((), "must be a block of keys", f"such as {KINDS[0]}: app.orders.handler")]
    problems = _name_problems(name) + _kind_problems(node)
    unbuilt = (*KINDS_NOT_YET, *KEYS_NOT_YET)
    problems += [not_yet((key,)) for key in node.entries if key in unbuilt]
    known = {key: entry for key, entry in node.entries.items() if key not in unbuilt}
    entry = read_entry(FunctionEntry, Block(known, node.line, node.nodes, node.depth))
    match entry:
        case FunctionEntry():
            problems += _place_problems(entry, folder, environ)
        case _:
            problems += entry
    if problems or not isinstance(entry, FunctionEntry):
        return problems
    return _function(name, entry, line, folder=folder, account=account)


def undeclared(name: str, account: str) -> FunctionConfig:
    """What is presumed of a function that is not declared; it runs nothing."""
    return FunctionConfig(
        name=name,
        timeout=TIMEOUT_DEFAULT,
        concurrency=None,
        role=_role(account),
        runs=EndpointConfig(urls=(), headers=MappingProxyType({})),
        line=0,
    )


def _role(account: str) -> str:
    return f"arn:aws:iam::{account}:role/poller"


def _function(
    name: str, entry: FunctionEntry, line: int, *, folder: Path, account: str
) -> FunctionConfig:
    runs: HandlerConfig | EndpointConfig
    concurrency: int | None
    if entry.handler is not None:
        concurrency = HANDLER_CONCURRENCY_DEFAULT
        runs = HandlerConfig(
            handler=entry.handler,
            folder=Path(os.path.abspath(folder / (entry.path or "."))),
            python=_interpreter(entry.python, folder),
            memory=entry.memory or MEMORY_DEFAULT,
            environment=MappingProxyType(entry.environment or {}),
        )
    else:
        runs = EndpointConfig(urls=entry.url or (), headers=MappingProxyType(entry.headers or {}))
        concurrency = len(runs.urls) if runs.emulators else None
    return FunctionConfig(
        name=name,
        timeout=entry.timeout or TIMEOUT_DEFAULT,
        concurrency=entry.concurrency or concurrency,
        role=entry.role or _role(account),
        runs=runs,
        line=line,
    )


def _name_problems(name: str) -> list[Problem]:
    try:
        function = parse_function(name)
    except ArnError as error:
        return [Problem((), error.message, error.remedy)]
    if function.account is not None:
        return [Problem((), "is an ARN", f"declare it as {function.key}")]
    if function.qualifier == LATEST_VERSION:
        return [Problem((), "declares $LATEST", f"plain {function.name} answers for it")]
    return []


def _kind_problems(node: Block) -> list[Problem]:
    """Exactly one key says what runs, and the others go with it."""
    given = [key for key in (*KINDS, *KINDS_NOT_YET) if key in node.entries]
    if not given:
        return [Problem((), "says nothing to run", f"write one of {', '.join(KINDS)}")]
    if len(given) > 1:
        return [Problem((), f"has {' and '.join(given)}", "keep one of them")]
    foreign = {
        key: kind
        for kind, keys in KEYS_OF_KIND.items()
        if kind != given[0]
        for key in keys
        if key in node.entries
    }
    return [
        Problem((key,), f"is for {foreign[key]} and not for {given[0]}", "remove it")
        for key in node.entries
        if key in foreign and given[0] in KINDS
    ]


def _place_problems(
    entry: FunctionEntry, folder: Path, environ: Mapping[str, str]
) -> list[Problem]:
    """What is not where the function says."""
    problems = []
    if entry.path is not None and not os.path.isdir(folder / entry.path):
        problems.append(Problem(("path",), "is no folder", "name the folder of the code"))
    if entry.python is not None:
        python = _interpreter(entry.python, folder)
        if shutil.which(python, path=environ.get("PATH", os.defpath)) is None:
            remedy = "name an interpreter on PATH, or its path"
            problems.append(Problem(("python",), "is no program", remedy))
    urls = entry.url or ()
    if len(set(urls)) < len(urls):
        problems.append(Problem(("url",), "has an address twice", "keep one"))
    names = [name.lower() for name in entry.headers or ()]
    if len(set(names)) < len(names):
        problems.append(Problem(("headers",), "has a header twice", "keep one"))
    return problems


def _interpreter(python: str | None, folder: Path) -> str:
    """The interpreter's path, or a bare name that PATH is searched for."""
    if python is None:
        return sys.executable
    return str(folder / python) if os.sep in python else python
