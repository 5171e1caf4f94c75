"""Failure documents, member by member as AWS writes them."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.core.model import (
    Batch,
    ClosedBy,
    Discard,
    DiscardReason,
    Failed,
    Outcome,
    PartlyFailed,
    Refused,
)
from poller.wire.failures import FailureDocument, InvocationReport, describe_discard, with_payload

KINESIS = "arn:aws:kinesis:us-east-1:123456789012:stream/orders"
DYNAMODB = "arn:aws:dynamodb:us-east-1:123456789012:table/t/stream/2024-10-12T10:00:00.000"
FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:orders:live"
EVENT = '{"Records":[{"kinesis":{"partitionKey":"é\\n\\""}}]}'.encode()
REPORT = InvocationReport("11111111-aaaa-4aaa-8aaa-111111111111", function_error="Unhandled")


@dataclass(frozen=True)
class StoredRecord:
    sequence: str
    arrived_at: float
    key: str | None = None
    size: int = 1


RECORDS = (StoredRecord("100", 1573691884.835), StoredRecord("300", 1573691885.58))


def described(
    reason: DiscardReason = DiscardReason.RETRIES_EXHAUSTED,
    outcome: Outcome | None = None,
    *,
    stream_arn: str = KINESIS,
    invocations: int = 2,
    now: float = 1573691886.0214,
    event: bytes = EVENT,
) -> FailureDocument:
    batch = Batch(1, 0, RECORDS, (0, 1), ClosedBy.COUNT, 5, invocations)
    return describe_discard(
        Discard(reason, batch, outcome),
        mapping_uuid="3f1b0f9e-0000-5000-8000-000000000001",
        shard="shardId-000000000001",
        stream_arn=stream_arn,
        function_arn=FUNCTION,
        event=event,
        now=now,
        object_id="22222222-bbbb-4bbb-8bbb-222222222222",
        fallback_request_id="33333333-cccc-4ccc-8ccc-333333333333",
    )


def test_a_kinesis_document_is_awss_to_the_byte() -> None:
    made = described(outcome=Failed("Error: no", report=REPORT))

    assert made.document == (
        '{"requestContext":{"requestId":"11111111-aaaa-4aaa-8aaa-111111111111",'
        f'"functionArn":"{FUNCTION}",'
        '"condition":"RetryAttemptsExhausted","approximateInvokeCount":2},'
        '"responseContext":{"statusCode":200,"executedVersion":"$LATEST",'
        '"functionError":"Unhandled"},'
        '"version":"1.0","timestamp":"2019-11-14T00:38:06.021Z",'
        '"KinesisBatchInfo":{"shardId":"shardId-000000000001",'
        '"startSequenceNumber":"100","endSequenceNumber":"300",'
        '"approximateArrivalOfFirstRecord":"2019-11-14T00:38:04.835Z",'
        '"approximateArrivalOfLastRecord":"2019-11-14T00:38:05.580Z",'
        f'"batchSize":2,"streamArn":"{KINESIS}"}}}}'
    )


def test_a_dynamodb_document_has_arrivals_in_whole_seconds() -> None:
    made = described(outcome=Failed("Error: no", report=REPORT), stream_arn=DYNAMODB)

    document = json.loads(made.document)
    assert list(document) == [
        "requestContext",
        "responseContext",
        "version",
        "timestamp",
        "DDBStreamBatchInfo",
    ]
    assert document["timestamp"] == "2019-11-14T00:38:06.021Z"
    assert document["DDBStreamBatchInfo"] == {
        "shardId": "shardId-000000000001",
        "startSequenceNumber": "100",
        "endSequenceNumber": "300",
        "approximateArrivalOfFirstRecord": "2019-11-14T00:38:04Z",
        "approximateArrivalOfLastRecord": "2019-11-14T00:38:05Z",
        "batchSize": 2,
        "streamArn": DYNAMODB,
    }


PARTLY = InvocationReport("r", executed_version="7")


@pytest.mark.parametrize(
    ("outcome", "request_id", "response"),
    [
        (Failed("e", report=REPORT), REPORT.request_id, (200, "$LATEST", "Unhandled")),
        (Failed("invalid response", bisectable=False, report=PARTLY), "r", (200, "7", None)),
        (PartlyFailed(frozenset({1}), PARTLY), "r", (200, "7", None)),
    ],
)
def test_the_last_invocation_is_reported(
    outcome: Outcome, request_id: str, response: tuple[int, str, str | None]
) -> None:
    document = json.loads(described(outcome=outcome).document)

    assert document["requestContext"]["requestId"] == request_id
    assert tuple(document["responseContext"].values()) == response


@pytest.mark.parametrize(
    "reason", [DiscardReason.RECORD_AGE_EXCEEDED, DiscardReason.RECORD_TOO_LARGE]
)
@pytest.mark.parametrize(
    ("outcome", "invocations", "request_id", "count"),
    [
        (None, 0, "33333333-cccc-4ccc-8ccc-333333333333", 1),
        (Refused("throttled"), 0, "33333333-cccc-4ccc-8ccc-333333333333", 1),
        (Failed("e", report=REPORT), 8, REPORT.request_id, 8),
    ],
)
def test_without_a_response_to_blame_there_is_no_response_context(
    reason: DiscardReason, outcome: Outcome | None, invocations: int, request_id: str, count: int
) -> None:
    document = json.loads(described(reason, outcome, invocations=invocations).document)

    assert list(document) == ["requestContext", "version", "timestamp", "KinesisBatchInfo"]
    assert document["requestContext"] == {
        "requestId": request_id,
        "functionArn": FUNCTION,
        "condition": reason.value,
        "approximateInvokeCount": count,
    }


@pytest.mark.parametrize(
    ("now", "timestamp", "key"),
    [
        (1573691886.0, "2019-11-14T00:38:06.000Z", "2019/11/14/2019-11-14T00.38.06"),
        (1573691886.999, "2019-11-14T00:38:06.999Z", "2019/11/14/2019-11-14T00.38.06"),
        (1704067199.9999, "2023-12-31T23:59:59.999Z", "2023/12/31/2023-12-31T23.59.59"),
        (1704067200.0, "2024-01-01T00:00:00.000Z", "2024/01/01/2024-01-01T00.00.00"),
    ],
)
def test_the_object_key_has_the_date_of_the_timestamp_in_utc(
    now: float, timestamp: str, key: str
) -> None:
    made = described(now=now)

    assert json.loads(made.document)["timestamp"] == timestamp
    assert made.key == (
        "aws/lambda/3f1b0f9e-0000-5000-8000-000000000001/shardId-000000000001/"
        f"{key}-22222222-bbbb-4bbb-8bbb-222222222222"
    )


@given(st.dictionaries(st.text(), st.text()))
def test_the_payload_is_the_event_as_a_string(members: dict[str, str]) -> None:
    event = json.dumps(members).encode()
    made = described(event=event)

    body = json.loads(with_payload(made.document, made.payload))

    assert list(body)[-1] == "payload"
    assert body.pop("payload").encode() == event
    assert body == json.loads(made.document)
