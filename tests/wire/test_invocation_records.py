"""Records of asynchronous invocations and dead letters, to the byte as AWS sends them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.core.event_steps import (
    EventResult,
    QueuedEvent,
)
from poller.wire.invocation_records import (
    EventResponse,
    dead_letter,
    dead_letter_attributes,
    error_payload,
    invocation_record,
    qualified,
    record_key,
)

REQUEST = "11111111-aaaa-4aaa-8aaa-111111111111"
FUNCTION = "arn:aws:lambda:us-east-1:111111111111:function:my-function"
NOW = 1573755365.5681
ERROR = (
    b'{"errorMessage": "intentional failure", "errorType": "Exception", "requestId": "'
    + REQUEST.encode()
    + b'", "stackTrace": ["  File \\"/var/task/handler.py\\", line 7, in handler\\n"]}'
)
FAILED = EventResponse(function_error="Unhandled", message="intentional failure", payload=ERROR)


def recorded(
    result: EventResult,
    attempts: int,
    payload: bytes,
    response: EventResponse | None,
    function_arn: str = FUNCTION,
) -> str:
    event = QueuedEvent(1, REQUEST, 2, NOW - 200, NOW, attempts, result=result)
    return invocation_record(
        event, function_arn=function_arn, payload=payload, response=response, now=NOW
    )


def expected(condition: str, count: int, rest: str, qualifier: str = "$LATEST") -> str:
    return (
        '{"version":"1.0","timestamp":"2019-11-14T18:16:05.568Z","requestContext":'
        f'{{"requestId":"{REQUEST}","functionArn":"{FUNCTION}:{qualifier}",'
        f'"condition":"{condition}","approximateInvokeCount":{count}}},{rest}}}'
    )


# What was recorded of AWS, by its condition; the payloads are those that were sent and returned.
RECORDED = [
    (
        recorded(EventResult.SUCCESS, 1, b"{}", EventResponse(payload=b'{"event": {}}')),
        expected(
            "Success",
            1,
            '"requestPayload":{},"responseContext":{"statusCode":200,"executedVersion":"$LATEST"},'
            '"responsePayload":{"event": {}}',
        ),
    ),
    (
        recorded(EventResult.RETRIES_EXHAUSTED, 3, b'{"raise_error":1}', FAILED),
        expected(
            "RetriesExhausted",
            3,
            '"requestPayload":{"raise_error":1},"responseContext":{"statusCode":200,'
            '"executedVersion":"$LATEST","functionError":"Unhandled"},"responsePayload":'
            + ERROR.decode(),
        ),
    ),
    (
        recorded(EventResult.EVENT_AGE_EXCEEDED, 2, b'{"message":"x"}', FAILED),
        expected(
            "EventAgeExceeded",
            2,
            '"requestPayload":{"message":"x"},"responseContext":{"statusCode":200,'
            '"executedVersion":"$LATEST","functionError":"Unhandled"},"responsePayload":'
            + ERROR.decode(),
        ),
    ),
]


@pytest.mark.parametrize(("record", "text"), RECORDED, ids=["success", "failure", "age"])
def test_a_record_is_awss_to_the_byte(record: str, text: str) -> None:
    assert record == text


@pytest.mark.parametrize("response", [None, EventResponse(429, message="Rate Exceeded.")])
def test_an_event_that_never_ran_has_no_response(response: EventResponse | None) -> None:
    record = recorded(EventResult.EVENT_AGE_EXCEEDED, 0, b"1", response)

    assert record == expected("EventAgeExceeded", 1, '"requestPayload":1')


def test_a_qualifier_stays() -> None:
    record = recorded(EventResult.EVENT_AGE_EXCEEDED, 0, b"1", None, f"{FUNCTION}:live")

    assert record == expected("EventAgeExceeded", 1, '"requestPayload":1', "live")
    assert qualified(f"{FUNCTION}:$LATEST") == qualified(FUNCTION) == f"{FUNCTION}:$LATEST"


@given(st.binary() | st.text().map(str.encode) | st.builds(json.dumps, st.text()).map(str.encode))
def test_a_record_is_json_that_can_be_sent_whatever_the_payloads_are(payload: bytes) -> None:
    record = recorded(EventResult.SUCCESS, 1, payload, EventResponse(payload=payload))

    json.loads(record)
    assert not set(record) & {"\x00", "\x1f", "\ufffe", "\uffff"}


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (b"", None),
        (b" {} \n", {}),
        (b"plain \xff", "plain \N{REPLACEMENT CHARACTER}"),
        ('"\ufffe"'.encode(), "\ufffe"),
        (rb'["\ud83d", "\\ud83d"]', ["\ud83d", r"\ud83d"]),
        (rb'["\ud83d"', r'["\ud83d"'),
    ],
)
def test_a_payload_is_embedded_as_what_it_is(payload: bytes, value: object) -> None:
    record = json.loads(recorded(EventResult.SUCCESS, 1, b"1", EventResponse(payload=payload)))

    assert record["responsePayload"] == value


# Dead letters.

EVENT = QueuedEvent(1, REQUEST, 2, NOW, NOW, 3, result=EventResult.RETRIES_EXHAUSTED)


def test_a_dead_letter_is_the_event_with_what_went_wrong_beside_it() -> None:
    assert dead_letter(b'{"raise_error":1}') == '{"raise_error":1}'
    assert dead_letter_attributes(EVENT, FAILED) == (
        ("RequestID", "String", REQUEST),
        ("ErrorCode", "Number", "200"),
        ("ErrorMessage", "String", "intentional failure"),
    )


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("x" * 2000, "x" * 1024),
        ("é" * 1023, "é" * 512),
        ("x" * 1023 + "é", "x" * 1023),
        ("a\x00b", "a\N{REPLACEMENT CHARACTER}b"),
    ],
)
def test_a_dead_letter_has_the_first_kilobyte_of_the_error(message: str, shown: str) -> None:
    attributes = dead_letter_attributes(EVENT, EventResponse(message=message))

    assert attributes[2] == ("ErrorMessage", "String", shown)


def test_an_attribute_without_a_value_is_left_out() -> None:
    attributes = dead_letter_attributes(EVENT, EventResponse())

    assert [name for name, _, _ in attributes] == ["RequestID", "ErrorCode"]


def test_an_event_that_waited_too_long_was_throttled() -> None:
    assert {name: value for name, _, value in dead_letter_attributes(EVENT, None)} == {
        "RequestID": REQUEST,
        "ErrorCode": "429",
        "ErrorMessage": "The event waited too long to be run",
    }


def test_an_object_has_the_functions_name_and_the_time_in_its_key() -> None:
    assert (
        record_key(f"{FUNCTION}:live", NOW, REQUEST)
        == f"aws/lambda/async/my-function/2019/11/14/2019-11-14T18.16.05-{REQUEST}"
    )


def test_an_error_without_a_payload_gets_lambdas() -> None:
    assert error_payload("Sandbox.Timedout", "Task timed out after 3.00 seconds") == (
        b'{"errorMessage":"Task timed out after 3.00 seconds","errorType":"Sandbox.Timedout"}'
    )
