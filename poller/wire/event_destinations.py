"""Where results of asynchronous invocations may go: OnSuccess, OnFailure, a dead-letter queue.

            SQS standard   SNS standard   Lambda   EventBridge   S3
OnSuccess   yes            yes            yes      yes           no
OnFailure   yes            yes            yes      yes           yes
DeadLetter  yes            yes            no       no            no
"""

from __future__ import annotations

import re

from .arns import (
    ArnError,
    DestinationKind,
    FailureDestination,
    parse_destination,
    parse_function,
)
from .problems import shown

_BUS = re.compile(
    r"arn:aws[a-zA-Z0-9-]*:events:(?P<region>[a-zA-Z0-9-]{1,63}):(?P<account>\d{12}):"
    r"event-bus/(?P<name>[/.a-zA-Z0-9_-]{1,256})"
)
_NOT_FOR_SUCCESS = frozenset({DestinationKind.S3})
_SERVICES = (["sqs"], ["sns"], ["s3"])
_OTHERS = "kafka://"
_DEAD_LETTERS = frozenset({DestinationKind.SQS, DestinationKind.SNS})


def parse_event_destination(arn: str) -> FailureDestination:
    """The destination that `arn` names, of those that failed events may have.  Raises ArnError."""
    if found := _BUS.fullmatch(arn):
        return FailureDestination(
            DestinationKind.EVENTS, arn, found["name"], found["region"], found["account"]
        )
    if ":lambda:" in arn:
        function = parse_function(arn)
        if function.account is not None and function.region is not None:
            return FailureDestination(
                DestinationKind.LAMBDA, arn, function.qualified, function.region, function.account
            )
    if arn.startswith(_OTHERS) or arn.split(":")[2:3] in _SERVICES:
        return parse_destination(arn)
    raise ArnError(
        f"{shown(arn)} is not the ARN of a destination",
        "use an SQS queue, an SNS topic, a Lambda function, an event bus or an S3 bucket",
    )


def parse_success_destination(arn: str) -> FailureDestination:
    """The destination of events that succeeded.  Raises ArnError."""
    place = parse_event_destination(arn)
    if place.kind in _NOT_FOR_SUCCESS:
        raise ArnError(
            "a bucket can be the destination of failures only",
            "use an SQS queue, an SNS topic, a Lambda function or an event bus",
        )
    return place


def parse_dead_letter(arn: str) -> FailureDestination:
    """The dead-letter queue of a function, which may be a topic.  Raises ArnError."""
    place = parse_event_destination(arn)
    if place.kind not in _DEAD_LETTERS:
        raise ArnError(
            f"{shown(arn)} cannot be a dead-letter queue",
            "use a standard SQS queue or SNS topic, or name it as OnFailure",
        )
    return place
