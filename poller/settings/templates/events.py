"""The event source mappings of a template, as the requests that create them.

SAM's events and AWS::Lambda::EventSourceMapping say what the API says, with some names of their
own.  As CloudFormation does, numbers and booleans are taken as text, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from poller.settings.nodes import Block, Items, Node, Scalar
from poller.wire.mappings import APPLIES_TO
from poller.wire.problems import Path, Problem, not_yet, unknown_key

from .blocks import block_at, text_at
from .intrinsics import called
from .resources import MAPPING, SAM_FUNCTION, Resource
from .stack import Stack
from .unknown import Unknown

SOURCE = "EventSourceArn"

_OF_ALL = (
    *("BatchSize", "Enabled", "FilterCriteria", "FunctionResponseTypes", "KmsKeyArn"),
    *("MaximumBatchingWindowInSeconds", "MetricsConfig", "ProvisionedPollerConfig"),
)
_OF_STREAMS = (
    *("BisectBatchOnFunctionError", "DestinationConfig", "MaximumRecordAgeInSeconds"),
    *("MaximumRetryAttempts", "ParallelizationFactor", "StartingPosition"),
    *("StartingPositionTimestamp", "TumblingWindowInSeconds"),
)
# What AWS::Lambda::EventSourceMapping has, by the API's names.
_RENAMED = {"KMSKeyArn": "KmsKeyArn"}
_OF_MAPPING = {_RENAMED.get(name, name): name for name in APPLIES_TO}


def _names(source: str, *others: str) -> dict[str, str]:
    """Each property of an event, and the parameter of the API that it is."""
    return {source: SOURCE, **{name: _OF_MAPPING[name] for name in (*_OF_ALL, *others)}}


# The events of SAM that are event source mappings.
EVENTS = {
    "SQS": _names("Queue", "ScalingConfig"),
    "Kinesis": _names("Stream", *_OF_STREAMS),
    "DynamoDB": _names("Stream", *_OF_STREAMS),
}
NOT_YET = {
    "DocumentDB": "Amazon DocumentDB",
    "MQ": "Amazon MQ",
    "MSK": "Amazon MSK",
    "SelfManagedKafka": "self-managed Kafka",
}

# What CloudFormation takes as text, too.
_TYPED = frozenset(
    (
        *("BatchSize", "BisectBatchOnFunctionError", "Enabled", "MaximumBatchingWindowInSeconds"),
        *("MaximumConcurrency", "MaximumPollers", "MaximumRecordAgeInSeconds"),
        *("MaximumRetryAttempts", "MinimumPollers", "ParallelizationFactor"),
        *("StartingPositionTimestamp", "TumblingWindowInSeconds"),
    )
)
_DESTINATION_TYPES = ("Kafka", "S3", "SNS", "SQS")


@dataclass(slots=True)
class Request:
    """A mapping of the template.

    `names`: the parameter of the API that each property is.  `function`: the logical id of the
    function whose event it is.  `unknown`: parameters of which no value can be known, which has
    been noted.
    """

    path: Path
    line: int
    raw: dict[str, Any]
    names: Mapping[str, str]
    unknown: set[str]
    function: str | None = None

    def place(self, problem: Problem) -> Problem | None:
        """A problem of `raw` as one of the template; None where nothing new is said."""
        first, *rest = problem.path or ("",)
        if first in self.unknown:
            return None
        back = {parameter: name for name, parameter in self.names.items()}
        path = (back[str(first)], *rest) if first in back else ()
        return replace(problem, path=(*self.path, *path))


def requests(stack: Stack) -> Iterator[Request]:
    """The mappings of a template, in its order; what is wrong is noted in its file."""
    for logical in stack.section.entries:
        resource = stack.resources.get(logical)
        if resource is None or not _may_map(resource):
            continue
        path = ("Resources", logical)
        try:
            if not stack.resources.is_there(resource):
                continue
        except Unknown as unknown:
            stack.note(unknown.at((*path, "Condition")))
            continue
        if resource.kind == MAPPING:
            yield _of_resource(stack, path, resource)
        else:
            yield from _of_events(stack, logical, resource.properties)


def _may_map(resource: Resource) -> bool:
    has_events = "Events" in resource.properties.entries
    return resource.kind == MAPPING or (resource.kind == SAM_FUNCTION and has_events)


def _of_resource(stack: Stack, path: Path, resource: Resource) -> Request:
    place = (*path, "Properties")
    request = _request(stack, place, resource.line, resource.properties, _OF_MAPPING)
    tags = request.raw.get("Tags")
    if tags is not None:
        request.raw["Tags"] = _tags(stack, (*place, "Tags"), tags)
    return request


def _of_events(stack: Stack, logical: str, properties: Block) -> Iterator[Request]:
    place: Path = ("Resources", logical, "Properties", "Events")
    events = properties.entries["Events"].node
    if not isinstance(events, Block):
        stack.note(Problem(place, "must be a block of keys", "name each event"))
        return
    others: dict[str, Path] = {}
    for name, entry in events.entries.items():
        path = (*place, name)
        event = block_at(events, name)
        kind = text_at(event, "Type") or ""
        if kind in EVENTS:
            inside = block_at(event, "Properties")
            request = _request(stack, (*path, "Properties"), entry.line, inside, EVENTS[kind])
            request.function = logical
            _drop_destination_type(stack, request)
            yield request
        elif kind in NOT_YET:
            stack.note(not_yet((*path, "Type"), f"{NOT_YET[kind]} as an event source"))
        elif kind:
            others.setdefault(kind, path)
        else:
            stack.note(Problem(path, "has no Type", "such as Type: SQS"))
    for kind, path in others.items():
        stack.say(path, f"events of type {kind[:40]} are no event source mappings: not run")


def _request(
    stack: Stack, path: Path, line: int, properties: Block, names: Mapping[str, str]
) -> Request:
    request = Request(path, line, {}, names, set())
    for key, entry in properties.entries.items():
        if key not in names:
            stack.note(unknown_key((*path, key), names))
            continue
        parameter = names[key]
        try:
            node = _source(stack, entry.node) if parameter == SOURCE else None
            node = node or stack.intrinsics.value(entry.node)
        except Unknown as unknown:
            stack.note(unknown.at((*path, key)))
            request.unknown.add(parameter)
            continue
        if node is not None:
            request.raw[parameter] = _json(node, key)
    return request


def _source(stack: Stack, node: Node) -> Node | None:
    """What `!Ref` of a queue, a stream or a table stands for where a source must be."""
    name, argument = called(node)
    if name == "Ref" and isinstance(argument, Scalar):
        return stack.resources.source(argument.text)
    return None


def _json(node: Node, key: str) -> Any:
    match node:
        case Items(items=items):
            return [_json(item, key) for item in items]
        case Block(entries=entries):
            return {name: _json(entry.node, name) for name, entry in entries.items()}
        case Scalar(text=text):
            value = replace(node, plain=True).value
            if value is None:
                return None if node.plain else text
            return value if key in _TYPED else text


def _drop_destination_type(stack: Stack, request: Request) -> None:
    """SAM makes the function's permissions by it; the destination itself says what it is."""
    config = request.raw.get("DestinationConfig")
    on_failure = config.get("OnFailure") if isinstance(config, dict) else None
    if not isinstance(on_failure, dict) or "Type" not in on_failure:
        return
    path = (*request.path, "DestinationConfig", "OnFailure")
    kind = on_failure.pop("Type")
    if kind not in _DESTINATION_TYPES:
        allowed = ", ".join(_DESTINATION_TYPES)
        stack.note(Problem((*path, "Type"), f"must be one of {allowed}"))
    if not on_failure.get("Destination"):
        stack.note(Problem(path, "has no Destination", "write the ARN of a queue or topic"))


def _tags(stack: Stack, path: Path, tags: Any) -> dict[str, Any]:
    """CloudFormation's list of Key and Value as the API's block."""
    found: dict[str, Any] = {}
    for tag in tags if isinstance(tags, list) else [tags]:
        if not isinstance(tag, dict) or tag.keys() != {"Key", "Value"}:
            stack.note(Problem(path, "must be a list of Key and Value"))
        elif tag["Key"] in found:
            stack.note(Problem(path, "has a key twice", "keep one"))
        else:
            found[str(tag["Key"])] = tag["Value"]
    return found
