"""A mapping as ListEventSourceMappings tells of it, as the request that would make it here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from poller.core.model import Instant

from .arns import ArnError, parse_function
from .mappings import APPLIES_TO, MappingConfig, parse_mapping
from .problems import Problem, shown

# What a mapping's description has beside its settings.
_NO_SETTINGS = frozenset(
    (
        *("EventSourceMappingArn", "FunctionArn", "LastModified", "LastProcessingResult"),
        *("State", "StateTransitionReason", "UUID"),
    )
)
_DISABLED = frozenset({"Disabled", "Disabling"})
_IDENTITY = frozenset({"EventSourceArn", "FunctionName"})


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A setting that does not work here, and why."""

    name: str
    value: Any
    why: Problem


@dataclass(frozen=True, slots=True)
class Listed:
    """A listed mapping.

    `request`: its settings that are no defaults; `left_out`: others.  `refused`: why it is no
    mapping here at all.
    """

    uuid: str
    function_arn: str
    request: Mapping[str, Any]
    left_out: tuple[LeftOut, ...] = ()
    refused: Problem | None = None


def read_listed(description: Mapping[str, Any], tags: Mapping[str, str], *, now: Instant) -> Listed:
    """What `description` says, a value of JSON or of boto3, of a mapping with `tags`."""
    uuid, function_arn = str(description.get("UUID")), str(description.get("FunctionArn"))
    request = _request(description, tags, function_arn)
    left_out: list[LeftOut] = []
    while True:
        config = parse_mapping(request, now=now)
        if isinstance(config, MappingConfig):
            request = _without_defaults(request, config, now)
            return Listed(uuid, function_arn, request, tuple(left_out))
        loose = [
            problem
            for problem in config.problems
            if problem.path and problem.path[0] in request.keys() - _IDENTITY
        ]
        if not loose:
            return Listed(uuid, function_arn, request, tuple(left_out), config.problems[0])
        name = str(loose[0].path[0])
        left_out.append(LeftOut(name, request.pop(name), loose[0]))


def _request(
    description: Mapping[str, Any], tags: Mapping[str, str], function_arn: str
) -> dict[str, Any]:
    """Everything that is a setting, in the order in which AWS lists them."""
    told = {name: _pruned(value) for name, value in description.items() if name not in _NO_SETTINGS}
    told["FunctionName"] = _name(function_arn)
    told["Enabled"] = description.get("State") not in _DISABLED
    told["Tags"] = dict(tags)
    names = [*APPLIES_TO, *(name for name in told if name not in APPLIES_TO)]
    return {name: told[name] for name in names if told.get(name) not in (None, {})}


def _name(function_arn: str) -> str:
    try:
        return parse_function(function_arn).qualified
    except ArnError:
        return function_arn


def _without_defaults(
    request: Mapping[str, Any], config: MappingConfig, now: Instant
) -> dict[str, Any]:
    """`request` without what it says as well without."""
    kept = dict(request)
    for name in request:
        less = {key: value for key, value in kept.items() if key != name}
        if parse_mapping(less, now=now) == config:
            kept = less
    return kept


def _pruned(value: Any) -> Any:
    """`value` as JSON: times in seconds, and nothing in blocks that says nothing."""
    match value:
        case datetime():
            return value.timestamp()
        case Mapping():
            pruned = {str(name): _pruned(each) for name, each in value.items()}
            return {name: each for name, each in pruned.items() if each not in (None, {})}
        case list() | tuple():
            return [_pruned(each) for each in value]
        case None | bool() | int() | float() | str():
            return value
        case _:
            return shown(value)
