"""The `async` block of a function: how its events are retried, and who is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from poller.wire.arns import ArnError, DestinationKind, FailureDestination, parse_function
from poller.wire.event_destinations import (
    parse_dead_letter,
    parse_event_destination,
    parse_success_destination,
)
from poller.wire.problems import Problem

from .nodes import Block, Node
from .readers import Check, Wrong, key, kind_of, number, read_entry, text
from .values import AsyncConfig, AwsConfig, FunctionConfig

AGE_MIN, AGE_MAX = 60, 21_600  # seconds
RETRIES_MAX = 2


def _place(parse: Callable[[str], FailureDestination]) -> Check:
    def check(arn: str) -> str:
        try:
            return parse(arn).arn
        except ArnError as error:
            raise ValueError(f"{error.message}; {error.remedy}") from None

    return check


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncEntry:
    retries: int | None = key(number(0, RETRIES_MAX, int), "MaximumRetryAttempts")
    age: int | None = key(number(AGE_MIN, AGE_MAX, int), "MaximumEventAgeInSeconds")
    on_success: str | None = key(text(_place(parse_success_destination)), "OnSuccess")
    on_failure: str | None = key(text(_place(parse_event_destination)), "OnFailure")
    dead_letter: str | None = key(text(_place(parse_dead_letter)), "DeadLetter")


def read_async(node: Node) -> AsyncConfig:
    """Raises Wrong, ValueError."""
    if not isinstance(node, Block):
        raise ValueError(f"must be a block of keys, not {kind_of(node)}")
    match read_entry(AsyncEntry, node):
        case AsyncEntry() as entry:
            return AsyncConfig(
                retries_max=RETRIES_MAX if entry.retries is None else entry.retries,
                age_max=entry.age or AGE_MAX,
                on_success=entry.on_success,
                on_failure=entry.on_failure,
                dead_letter=entry.dead_letter,
            )
        case problems:
            raise Wrong(problems)


def loop_problems(function: FunctionConfig, aws: AwsConfig) -> list[Problem]:
    """A function cannot be its own destination, as on AWS; paths begin below the function."""
    places = (
        ("OnSuccess", function.asynchronous.on_success),
        ("OnFailure", function.asynchronous.on_failure),
    )
    return [
        Problem(
            ("async", name),
            "You can't specify the function as a destination for itself.",
            "name another one",
        )
        for name, arn in places
        if arn is not None and _is_itself(parse_event_destination(arn), function, aws)
    ]


def _is_itself(place: FailureDestination, function: FunctionConfig, aws: AwsConfig) -> bool:
    return (
        place.kind is DestinationKind.LAMBDA
        and place.account == aws.account_id
        and aws.region in {None, place.region}
        and parse_function(place.arn).key == function.name
    )
