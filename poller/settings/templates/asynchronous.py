"""What a template says of a function's asynchronous invocations, as the block `async` of a config.

A destination that only a deployment knows is left out, with a line that says so.
"""

from __future__ import annotations

from collections.abc import Iterator

from poller.settings.nodes import Block, Entry, Scalar
from poller.wire.arns import LATEST_VERSION, ArnError, parse_function
from poller.wire.problems import Path

from .blocks import block_at
from .resources import SAM_FUNCTION, Resource
from .stack import Stack
from .unknown import Unknown

EVENT_INVOKE_CONFIG = "AWS::Lambda::EventInvokeConfig"

# Where each key of `async` stands in a resource that has the settings, and in SAM's function.
_OF_EVENTS: dict[str, Path] = {
    "MaximumRetryAttempts": ("MaximumRetryAttempts",),
    "MaximumEventAgeInSeconds": ("MaximumEventAgeInSeconds",),
    "OnSuccess": ("DestinationConfig", "OnSuccess", "Destination"),
    "OnFailure": ("DestinationConfig", "OnFailure", "Destination"),
}
_OF_SAM: dict[str, Path] = {
    **{key: ("EventInvokeConfig", *path) for key, path in _OF_EVENTS.items()},
    "DeadLetter": ("DeadLetterQueue", "TargetArn"),
}
_OF_FUNCTION: dict[str, Path] = {"DeadLetter": ("DeadLetterConfig", "TargetArn")}


def asynchronous(stack: Stack, logical: str, resource: Resource, *, key: str) -> Block | None:
    """The block for the function `logical`, which a config would declare as `key`; None: nothing
    is said."""
    entries: dict[str, Entry] = {}
    for owner, properties, places in _said(stack, logical, resource, key):
        for name, path in places.items():
            if entry := _value(stack, properties, ("Resources", owner, "Properties"), path):
                entries[name] = entry
    return Block(entries, resource.line, nodes=1, depth=1) if entries else None


def place_of(name: str, kind: str) -> Path:
    """Where the property of a function stands that is the key `name` of `async`."""
    places = _OF_SAM if kind == SAM_FUNCTION else _OF_FUNCTION
    return places.get(name, ())


def _said(
    stack: Stack, logical: str, resource: Resource, key: str
) -> Iterator[tuple[str, Block, dict[str, Path]]]:
    """Each resource that says something of it, and where its keys are there."""
    sam = resource.kind == SAM_FUNCTION
    yield logical, resource.properties, _OF_SAM if sam else _OF_FUNCTION
    for owner, other in stack.resources.of_kind(EVENT_INVOKE_CONFIG):
        try:
            if stack.resources.is_there(other) and _is_of(stack, other, logical, key):
                yield owner, other.properties, _OF_EVENTS
        except (Unknown, ArnError):
            stack.say(("Resources", owner), "is of a function that is not known here")


def _is_of(stack: Stack, config: Resource, logical: str, key: str) -> bool:
    """Whether settings are those of the function.  Raises Unknown, ArnError."""
    text = {
        name: stack.intrinsics.text(entry.node)
        for name, entry in config.properties.entries.items()
        if name in {"FunctionName", "Qualifier"}
    }
    function = parse_function(text.get("FunctionName", ""))
    qualifier = text.get("Qualifier", LATEST_VERSION)
    wanted = key.partition(":")[2] or LATEST_VERSION
    return function.name == stack.resources.name(logical) and qualifier == wanted


def _value(stack: Stack, properties: Block, owner: Path, path: Path) -> Entry | None:
    """A number or an ARN; None where it is not said, or not known here."""
    *above, last = map(str, path)
    block = block_at(properties, *above)
    entry = block.entries.get(last)
    if entry is None:
        if last == "Destination" and block.entries:
            stack.say((*owner, *above), "has no Destination, so nobody is told")
        return None
    try:
        node = stack.intrinsics.top(entry.node)
        if node is None:
            return None
        text = stack.intrinsics.text(node)
    except Unknown as unknown:
        stack.say((*owner, *path), f"{unknown.message}, so nobody is told")
        return None
    return Entry(entry.line, Scalar(text, entry.line, plain=last.startswith("Maximum")))
