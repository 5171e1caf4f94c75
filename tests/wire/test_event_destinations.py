"""Which ARNs may stand where, for the results of asynchronous invocations."""

from __future__ import annotations

import pytest

from poller.wire.arns import ArnError, DestinationKind
from poller.wire.event_destinations import (
    parse_dead_letter,
    parse_event_destination,
    parse_success_destination,
)

PLACE = "us-east-1:123456789012"
QUEUE, TOPIC = f"arn:aws:sqs:{PLACE}:jobs", f"arn:aws:sns:{PLACE}:jobs"
FUNCTION, BUS = f"arn:aws:lambda:{PLACE}:function:f:live", f"arn:aws:events:{PLACE}:event-bus/a/b"
BUCKET = "arn:aws:s3:::bucket"

# The table of the module: OnSuccess, OnFailure, DeadLetter.
TABLE = {
    QUEUE: (True, True, True),
    TOPIC: (True, True, True),
    FUNCTION: (True, True, False),
    BUS: (True, True, False),
    BUCKET: (False, True, False),
    f"{QUEUE}.fifo": (False, False, False),
    f"{TOPIC}.fifo": (False, False, False),
    "kafka://jobs": (False, False, False),
    f"arn:aws:kinesis:{PLACE}:stream/jobs": (False, False, False),
    f"arn:aws:events:{PLACE}:rule/jobs": (False, False, False),
    f"arn:aws:lambda:{PLACE}:layer:jobs": (False, False, False),
    "f:lambda:x": (False, False, False),
    "jobs": (False, False, False),
    "": (False, False, False),
}


@pytest.mark.parametrize(("arn", "allowed"), TABLE.items())
def test_each_kind_stands_where_it_may(arn: str, allowed: tuple[bool, ...]) -> None:
    found = []
    for parse in (parse_success_destination, parse_event_destination, parse_dead_letter):
        try:
            found.append(parse(arn).arn == arn)
        except ArnError as error:
            found.append(not (error.message and error.remedy))

    assert tuple(found) == allowed


@pytest.mark.parametrize(
    ("arn", "kind", "name"),
    [(FUNCTION, DestinationKind.LAMBDA, "f:live"), (BUS, DestinationKind.EVENTS, "a/b")],
)
def test_functions_and_buses_are_known_by_their_parts(
    arn: str, kind: DestinationKind, name: str
) -> None:
    place = parse_event_destination(arn)

    assert (place.kind, place.name, place.region, place.account) == (
        kind,
        name,
        "us-east-1",
        "123456789012",
    )
