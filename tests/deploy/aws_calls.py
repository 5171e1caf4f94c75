"""What poller's code calls in AWS, found in its source, as the actions that a policy must allow.

A call is a string that names an operation, as the lean client takes it (`call("GetRecords", ...)`),
or an awaited method of a `client` of the SDK (`client.put_object(...)`, `get_paginator("...")`).
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path

import botocore.loaders
from botocore import xform_name

PACKAGE = Path(__file__).parents[2] / "poller"

# The service that a module calls, by how its path begins.
SERVICES: Mapping[str, str] = {
    "destinations/event_buses": "events",
    "destinations/functions": "lambda",
    "destinations/s3": "s3",
    "destinations/sns": "sns",
    "destinations/sqs": "sqs",
    "observe/publishing": "cloudwatch",
    "service/inventory": "lambda",
    "service/table_streams": "dynamodb",
    "sources/dynamodb_streams": "dynamodbstreams",
    "sources/kinesis": "kinesis",
    "sources/sqs": "sqs",
    "targets": "lambda",
}
NOT_CALLING = ("control", "demo", "lab", "wire")  # they serve operations, or read and write them

# Where the action is not the operation's own name.
ACTIONS: Mapping[str, str] = {
    "lambda:Invoke": "lambda:InvokeFunction",
    "s3:HeadBucket": "s3:ListBucket",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
}
PREFIXES: Mapping[str, str] = {"dynamodbstreams": "dynamodb"}


@functools.cache
def operations(service: str) -> Mapping[str, str]:
    """Each operation of a service under its own name and that of the SDK's method."""
    model = botocore.loaders.create_loader().load_service_model(service, "service-2")
    names = model["operations"]
    return {name: name for name in names} | {xform_name(name): name for name in names}


def called() -> Mapping[str, set[str]]:
    """The actions that the code needs, each with the modules that do."""
    found: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        module = str(path.relative_to(PACKAGE).with_suffix(""))
        if module.startswith(NOT_CALLING):
            continue
        for name in _names(ast.parse(path.read_text())):
            service = _service(module, name)
            if service is not None:
                operation = f"{PREFIXES.get(service, service)}:{operations(service)[name]}"
                found.setdefault(ACTIONS.get(operation, operation), set()).add(module)
    return found


def _service(module: str, name: str) -> str | None:
    """Which service is called by this name; None if it is no operation of any."""
    own = next((SERVICES[each] for each in SERVICES if module.startswith(each)), None)
    if own is not None and name in operations(own):
        return own
    others = [each for each in sorted({*SERVICES.values()}) if name in operations(each)]
    assert not others, f"poller/{module}.py calls {name} of {others}: say in SERVICES which"
    return None


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Attribute) and _is_client(node.func.value):
            yield node.func.attr
        if not isinstance(node.func, ast.Name):  # a plain function gets words for messages
            yield from (
                each.value
                for each in node.args
                if isinstance(each, ast.Constant) and isinstance(each.value, str)
            )


def _is_client(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "client"
