"""What spans are called and say of what they stand for, in OpenTelemetry's words.

span        name                kind      is
poll        poll SOURCE         client    a read that brought records, or failed
batch       process SOURCE      consumer  from when its first record was read until it is settled
invocation  invoke FUNCTION     client    one try to run the function; a child of its batch

The conventions: messaging.*, faas.*, aws.lambda.*, error.type; what they have no name for is
poller.*.  No span holds what a record holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from poller.core.model import (
    Batch,
    Failed,
    MessageBatch,
    Outcome,
    PartlyFailed,
    Refused,
    Succeeded,
    TooLarge,
)
from poller.interfaces import Unit
from poller.wire.arns import SourceKind, parse_source

Kind = Literal["client", "consumer"]
Value = str | int
Attributes = Mapping[str, Value]

ERROR_LENGTH_MAX = 300  # of the text of an error in a span
UNKNOWN_ERROR = "_OTHER"  # the convention's word for an error without a type

COUNT = "messaging.batch.message_count"
REQUEST = "faas.invocation_id"
ERROR_TYPE = "error.type"

_SYSTEMS = {
    SourceKind.KINESIS: "aws_kinesis",
    SourceKind.DYNAMODB: "aws_dynamodb_streams",
    SourceKind.SQS: "aws_sqs",
}


class Names:
    """The names of one unit's spans, and what all of them say."""

    def __init__(self, unit: Unit) -> None:
        source = parse_source(unit.source_arn)
        common: dict[str, Value] = {
            "messaging.system": _SYSTEMS[source.kind],
            "messaging.destination.name": source.name,
            "aws.lambda.resource_mapping.id": unit.mapping,
        }
        if unit.shard:
            common["messaging.destination.partition.id"] = unit.shard
        self.poll = f"poll {source.name}"
        self.batch = f"process {source.name}"
        self.invocation = f"invoke {unit.function}"
        self._of_polls = {
            **common,
            "messaging.operation.name": "poll",
            "messaging.operation.type": "receive",
        }
        self._of_batches = {
            **common,
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
        }
        self._of_invocations = {
            **common,
            "faas.invoked_name": unit.function,
            "faas.trigger": "datasource" if source.kind is SourceKind.DYNAMODB else "pubsub",
        }

    def of_poll(self, records: int) -> Attributes:
        return {**self._of_polls, COUNT: records}

    def of_batch(self, batch: Batch | MessageBatch) -> Attributes:
        """With the sequence numbers by which a record's batch is found."""
        attributes = {
            **self._of_batches,
            COUNT: size_of(batch),
            "poller.batch.closed_by": str(batch.closed_by),
        }
        if isinstance(batch, Batch) and batch.records:
            attributes["poller.batch.first_sequence"] = batch.records[0].sequence
            attributes["poller.batch.last_sequence"] = batch.records[-1].sequence
        return attributes

    def of_invocation(self, batch: Batch | MessageBatch) -> Attributes:
        return {
            **self._of_invocations,
            COUNT: size_of(batch),
            "poller.attempt": batch.attempts + 1,
        }


def size_of(batch: Batch | MessageBatch) -> int:
    return len(batch.messages if isinstance(batch, MessageBatch) else batch.records)


def error_of(outcome: Outcome) -> tuple[str, Attributes]:
    """What went wrong, "" if nothing did, and what else the span of an invocation says of it."""
    match outcome:
        case Succeeded():
            return "", {}
        case PartlyFailed(failed):
            return "", {"poller.failed_count": len(failed)}
        case Failed(error):
            # A function error begins with its type; a response that makes no sense has none.
            kind, separator, _ = error.partition(": ")
            is_type = bool(separator) and " " not in kind
            return error[:ERROR_LENGTH_MAX], {ERROR_TYPE: kind if is_type else UNKNOWN_ERROR}
        case Refused(error):
            return error[:ERROR_LENGTH_MAX], {ERROR_TYPE: "not_reached"}
        case TooLarge(error):
            return error[:ERROR_LENGTH_MAX], {ERROR_TYPE: "too_large"}
