"""Records of asynchronous invocations: what AWS sends to their destinations (spec 12.4).

The order of members and the members that are absent are those of recorded records.  The function's
ARN carries a qualifier here, `$LATEST` where it has no other.  `responseContext` and
`responsePayload` are there only if an attempt ran, and `functionError` only if it failed.  Payloads
are embedded as the JSON they are; what is no JSON is embedded as a string.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from poller.core.event_steps import QueuedEvent
from poller.core.model import Instant

from .arns import LATEST_VERSION, parse_function
from .failures import DOCUMENT_VERSION, KEY_PREFIX, dated_key, iso
from .surrogates import without_surrogates

EVENTBRIDGE_SOURCE = "lambda"
DETAIL_TYPE = "Lambda Function Invocation Result - "
ERROR_BYTES_MAX = 1024  # of the error message that a dead letter tells

# What SQS and SNS refuse in a message.  In JSON such a character can be escaped.
_UNSENDABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class EventResponse:
    """How the last attempt went: the last one that ran, if any did.

    `function_error`: None if it did not fail.  `payload`: what it returned, or the error as JSON;
    `message`: what went wrong, in words.
    """

    status_code: int = 200
    executed_version: str = LATEST_VERSION
    function_error: str | None = None
    message: str = ""
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Notice:
    """What goes beside the document about an asynchronous invocation.

    `dead_letter`: the document is the event itself, for a dead-letter queue, which is told what is
    in `attributes`: by name, each with its type and its value.
    """

    request_id: str
    function_arn: str
    succeeded: bool
    trace_id: str = ""
    dead_letter: bool = False
    attributes: tuple[tuple[str, str, str], ...] = ()


def qualified(function_arn: str) -> str:
    """The function's ARN as records have it, always with a qualifier."""
    if parse_function(function_arn).qualifier is not None:
        return function_arn
    return f"{function_arn}:{LATEST_VERSION}"


def invocation_record(
    event: QueuedEvent,
    *,
    function_arn: str,
    payload: bytes,
    response: EventResponse | None,
    now: Instant,
) -> str:
    """The record about `event`, which has a result.  `response`: the last, if any is known."""
    assert event.result is not None
    record: dict[str, Any] = {
        "version": DOCUMENT_VERSION,
        "timestamp": iso(now, "milliseconds"),
        "requestContext": {
            "requestId": event.request_id,
            "functionArn": qualified(function_arn),
            "condition": event.result.value,
            "approximateInvokeCount": max(1, event.attempts),
        },
        "requestPayload": _embedded(payload),
    }
    if event.attempts and response is not None:
        context: dict[str, Any] = {
            "statusCode": response.status_code,
            "executedVersion": response.executed_version,
        }
        if response.function_error is not None:
            context["functionError"] = response.function_error
        record["responseContext"] = context
        record["responsePayload"] = _embedded(response.payload)
    return _sendable(msgspec.json.encode(record).decode())


def dead_letter(payload: bytes) -> str:
    """The event itself, as the body of a message."""
    return _sendable(payload.decode(errors="replace"))


def dead_letter_attributes(
    event: QueuedEvent, response: EventResponse | None
) -> tuple[tuple[str, str, str], ...]:
    """What a dead letter says beside the event; what is empty is left out, as it cannot be sent."""
    response = response or EventResponse(429, message="The event waited too long to be run")
    error = response.message.encode(errors="replace")[:ERROR_BYTES_MAX].decode(errors="ignore")
    attributes = (
        ("RequestID", "String", event.request_id),
        ("ErrorCode", "Number", str(response.status_code)),
        ("ErrorMessage", "String", _UNSENDABLE.sub("\N{REPLACEMENT CHARACTER}", error)),
    )
    return tuple(attribute for attribute in attributes if attribute[2])


def record_key(function_arn: str, now: Instant, object_id: str) -> str:
    """The key of the S3 object with a record; `object_id` is a UUID."""
    return dated_key(f"{KEY_PREFIX}/async/{parse_function(function_arn).name}", now, object_id)


def error_payload(error_type: str, message: str) -> bytes:
    """The error of a function whose runtime wrote none."""
    return msgspec.json.encode({"errorMessage": message, "errorType": error_type})


def _embedded(payload: bytes) -> Any:
    """`payload` as a member's value: itself where it is JSON, null where it is empty."""
    if not payload:
        return None
    if _is_json(payload) or _is_json(without_surrogates(payload)):
        return msgspec.Raw(payload.strip())
    return payload.decode(errors="replace")


def _is_json(payload: bytes) -> bool:
    try:
        msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _sendable(text: str) -> str:
    r"""JSON without characters that queues and topics refuse, which \u escapes stand for."""
    return _UNSENDABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
