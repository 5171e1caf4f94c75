"""Failure documents: what AWS sends to the failure destination of a stream (spec 7.1).

The order of members, the forms of times and the members that are absent are those of recorded
documents.  Kinesis writes every time with milliseconds, DynamoDB arrival times in whole seconds.
`functionError` is null where the function itself did not fail.  `responseContext` is there only
where a response is the reason, so not for records that are too old.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from poller.core.model import Discard, DiscardReason, Failed, Instant, PartlyFailed

DOCUMENT_VERSION = "1.0"
KEY_PREFIX = "aws/lambda"


@dataclass(frozen=True, slots=True)
class InvocationReport:
    """What a failure document tells of the last invocation; the outcome of a batch carries it.

    `function_error` is None where the function ran and only its response condemns the records.
    """

    request_id: str
    status_code: int = 200
    executed_version: str = "$LATEST"
    function_error: str | None = None


@dataclass(frozen=True, slots=True)
class FailureDocument:
    """`document`: the JSON without the payload.  `payload`: the whole event as JSON text.
    `key`: the S3 object key."""

    document: str
    payload: str
    key: str


def describe_discard(
    discard: Discard,
    *,
    mapping_uuid: str,
    shard: str,
    stream_arn: str,
    function_arn: str,
    event: bytes | None,
    now: Instant,
    object_id: str,
    fallback_request_id: str,
) -> FailureDocument:
    """The document about the records of `discard`, of which `event` is the payload, None: empty.

    `now` becomes the document's timestamp, `object_id` (a UUID) the end of its S3 key.
    `fallback_request_id` stands in where no invocation reached the function.
    """
    report = _last_report(discard) or InvocationReport(
        fallback_request_id, function_error="Unhandled"
    )
    body: dict[str, Any] = {
        "requestContext": {
            "requestId": report.request_id,
            "functionArn": function_arn,
            "condition": discard.reason.value,
            "approximateInvokeCount": max(1, discard.batch.invocations),
        }
    }
    if discard.reason is DiscardReason.RETRIES_EXHAUSTED:
        body["responseContext"] = {
            "statusCode": report.status_code,
            "executedVersion": report.executed_version,
            "functionError": report.function_error,
        }
    body["version"] = DOCUMENT_VERSION
    body["timestamp"] = iso(now, "milliseconds")
    body |= _batch_info(discard, shard, stream_arn)
    return FailureDocument(
        msgspec.json.encode(body).decode(),
        "" if event is None else event.decode(),
        _object_key(mapping_uuid, shard, now, object_id),
    )


def with_payload(document: str, payload: str) -> bytes:
    """The body of the S3 object: `document` with the event as its last member, a string."""
    return b'%s,"payload":%s}' % (document[:-1].encode(), msgspec.json.encode(payload))


def _last_report(discard: Discard) -> InvocationReport | None:
    match discard.outcome:
        case Failed(report=InvocationReport() as report):
            return report
        case PartlyFailed(report=InvocationReport() as report):
            return report
        case _:
            return None


def _batch_info(discard: Discard, shard: str, stream_arn: str) -> dict[str, Any]:
    records = discard.batch.records
    if stream_arn.split(":", 3)[2] == "dynamodb":
        name, precision = "DDBStreamBatchInfo", "seconds"
    else:
        name, precision = "KinesisBatchInfo", "milliseconds"
    return {
        name: {
            "shardId": shard,
            "startSequenceNumber": records[0].sequence,
            "endSequenceNumber": records[-1].sequence,
            "approximateArrivalOfFirstRecord": iso(records[0].arrived_at, precision),
            "approximateArrivalOfLastRecord": iso(records[-1].arrived_at, precision),
            "batchSize": len(records),
            "streamArn": stream_arn,
        }
    }


def _object_key(mapping_uuid: str, shard: str, now: Instant, object_id: str) -> str:
    return dated_key(f"{KEY_PREFIX}/{mapping_uuid}/{shard}", now, object_id)


def dated_key(folder: str, now: Instant, object_id: str) -> str:
    """The key of an object in `folder` of a bucket, below its date."""
    date = datetime.fromtimestamp(now, UTC).strftime("%Y/%m/%d/%Y-%m-%dT%H.%M.%S")
    return f"{folder}/{date}-{object_id}"


def iso(instant: Instant, precision: str) -> str:
    """As `2019-11-14T00:38:06.021Z`, or without the fraction; what is finer is cut off."""
    text = datetime.fromtimestamp(instant, UTC).replace(tzinfo=None).isoformat(timespec=precision)
    return text + "Z"
