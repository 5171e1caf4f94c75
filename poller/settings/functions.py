"""A declared function: which keys go together, and what stands where a key is not given."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from poller.targets.runtime_environment import HANDLER_VARIABLE
from poller.wire.arns import LATEST_VERSION, ArnError, parse_function
from poller.wire.problems import Problem

from .addresses import parse_address
from .nodes import Block, Node
from .readers import read_entry
from .schema import RUNTIME_API_EXAMPLE, FunctionEntry, RuntimeApiEntry
from .values import (
    AsyncConfig,
    CommandConfig,
    EndpointConfig,
    FunctionConfig,
    HandlerConfig,
    LambdaConfig,
    Runs,
    RuntimeApiConfig,
)

TIMEOUT_DEFAULT = 3.0
LAMBDA_TIMEOUT_DEFAULT = 900.0  # of a function that knows its own
PROCESSES_DEFAULT = 10

KINDS = ("handler", "command", "url", "runtime_api", "lambda")  # what runs; exactly one of them
WILDCARDS = frozenset({"0.0.0.0", "::"})  # every address of this machine
KINDS_OF_KEY = {
    "environment": ("handler", "command"),
    "path": ("handler", "command"),
    "memory": ("handler", "command"),
    "python": ("handler",),
    "headers": ("url",),
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
    entry = read_entry(FunctionEntry, node)
    match entry:
        case FunctionEntry():
            problems += _place_problems(entry, folder, environ)
        case _:
            problems += entry
    if problems or not isinstance(entry, FunctionEntry):
        return problems
    return _function(name, entry, line, folder=folder, account=account)


def shared_addresses(functions: Iterable[FunctionConfig], listen: tuple[str, int]) -> list[Problem]:
    """Runtimes that attach to an address run one function, and nothing else is served there.

    Paths begin with the function.
    """
    problems = []
    owners = [(listen, "listen")]
    for function in functions:
        match function.runs:
            case RuntimeApiConfig(host=host, port=port):
                owner = next((each for place, each in owners if _meet(place, (host, port))), None)
                if owner is not None:
                    message = f"is the address of {owner}, too"
                    problem = Problem((function.name, "runtime_api"), message, "give it another")
                    problems.append(problem)
                owners.append(((host, port), f"function {function.name}"))
    return problems


def _meet(place: tuple[str, int], other: tuple[str, int]) -> bool:
    """Whether only one of them can be listened on, as far as their names tell."""
    hosts = {"127.0.0.1" if host.lower() == "localhost" else host for host, _ in (place, other)}
    return place[1] == other[1] and (len(hosts) == 1 or not hosts.isdisjoint(WILDCARDS))


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
    runs = _runs(entry, folder)
    timeout = LAMBDA_TIMEOUT_DEFAULT if isinstance(runs, LambdaConfig) else TIMEOUT_DEFAULT
    return FunctionConfig(
        name=name,
        timeout=entry.timeout or timeout,
        concurrency=entry.concurrency or _concurrency(runs),
        role=entry.role or _role(account),
        runs=runs,
        line=line,
        asynchronous=entry.async_ or AsyncConfig(),
    )


def _runs(entry: FunctionEntry, folder: Path) -> Runs:
    code = Path(os.path.abspath(folder / (entry.path or ".")))
    environment = MappingProxyType(entry.environment or {})
    match entry:
        case FunctionEntry(handler=str(handler)):
            python = _interpreter(entry.python, folder)
            return HandlerConfig(
                handler=handler,
                folder=code,
                python=python,
                memory=entry.memory,
                environment=environment,
            )
        case FunctionEntry(command=tuple(arguments)):
            return CommandConfig(
                arguments=arguments, folder=code, memory=entry.memory, environment=environment
            )
        case FunctionEntry(runtime_api=RuntimeApiEntry(listen=str(listen), allow=allow)):
            host, port = parse_address(listen, example=RUNTIME_API_EXAMPLE)
            return RuntimeApiConfig(host=host, port=port, allow=allow or ())
        case FunctionEntry(lambda_=str(function)):
            return LambdaConfig(function=function)
    return EndpointConfig(urls=entry.url or (), headers=MappingProxyType(entry.headers or {}))


def _concurrency(runs: Runs) -> int | None:
    """Most invocations at one time, where the function does not say; None: no limit."""
    match runs:
        case HandlerConfig() | CommandConfig():
            return PROCESSES_DEFAULT
        case EndpointConfig(urls=urls, emulators=True):
            return len(urls)
        case _:
            return None


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
    given = [key for key in KINDS if key in node.entries]
    if not given:
        return [Problem((), "says nothing to run", f"write one of {', '.join(KINDS)}")]
    if len(given) > 1:
        return [Problem((), f"has {' and '.join(given)}", "keep one of them")]
    return [
        Problem((key,), f"is for {' and '.join(kinds)}, not for {given[0]}", "remove it")
        for key, kinds in KINDS_OF_KEY.items()
        if key in node.entries and given[0] not in kinds
    ]


def _place_problems(
    entry: FunctionEntry, folder: Path, environ: Mapping[str, str]
) -> list[Problem]:
    """What is not where the function says."""
    problems = []
    if entry.handler is not None and HANDLER_VARIABLE in (entry.environment or ()):
        path = ("environment", HANDLER_VARIABLE)
        problems.append(Problem(path, "is set by poller, as Lambda does", "remove it"))
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
