"""What the HTTP response of a function means (contract: the `url` kind; spec 12.3)."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from poller.core.model import Instant, Seconds
from poller.interfaces import Errored, NotReached, Ran, Reply
from poller.transport.http1 import HttpReply

RETRY_AFTER_MAX: Seconds = 300.0  # who asks for more is asked again after that
ERROR_TYPE_LENGTH_MAX = 200
MESSAGE_LENGTH_MAX = 1000
TIMED_OUT = b"Task timed out after "


def read_reply(reply: HttpReply, now: Instant) -> Reply:
    """2xx: it ran, unless X-Amz-Function-Error stands there.  429, 503: throttled.  Else: failed.

    A failure's type and message are those of its body, if it is Lambda's error object.
    """
    if reply.status in (429, 503):
        why = f"the endpoint throttles (status {reply.status})"
        return NotReached(why, throttled=True, retry_after=_retry_after(reply, now))
    succeeded = 200 <= reply.status < 300
    if succeeded and "x-amz-function-error" not in reply.headers:
        return Ran(reply.body)
    return failed(reply, "Unhandled" if succeeded else f"Endpoint.Status{reply.status}")


def read_emulator_reply(reply: HttpReply, now: Instant) -> Reply:
    """As a Lambda Runtime Interface Emulator means it.

    An error is a 200 with Lambda's error object, a timeout a 200 with a sentence.  400: another
    invocation is running there, 504: it could not be begun.  502: the runtime could not start, or
    died; then there may be nothing to say why.
    """
    if reply.status == 400:
        return NotReached("the emulator is busy with another invocation", throttled=True)
    if reply.status == 504:
        return NotReached("the emulator could not begin the invocation (status 504)")
    if reply.status == 502 and not reply.body:
        return Errored("Runtime.ExitError", "the runtime exited before it was ready")
    if reply.status == 200 and reply.body.startswith(TIMED_OUT):
        return Errored("Sandbox.Timedout", _line(reply.body))
    if reply.status == 200 and _stated_error(reply.body) is not None:
        return failed(reply, "Unhandled")
    return read_reply(reply, now)


def failed(reply: HttpReply, fallback_type: str) -> Errored:
    """The error of a reply that is one: what its body states, else `fallback_type` and its text."""
    function_error = reply.headers.get("x-amz-function-error") or "Unhandled"
    stated = _stated_error(reply.body)
    if stated is not None:
        return Errored(*stated, function_error, payload=reply.body)
    message = _line(reply.body) or f"the endpoint answered with status {reply.status}"
    return Errored(fallback_type, message, function_error)


def _stated_error(body: bytes) -> tuple[str, str] | None:
    """Type and message of Lambda's error object; None if `body` is none."""
    if b'"errorType"' not in body or b'"errorMessage"' not in body:
        return None  # most bodies, without a look at their JSON
    try:
        error: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(error, dict) or not {"errorType", "errorMessage"} <= error.keys():
        return None
    return (
        str(error["errorType"])[:ERROR_TYPE_LENGTH_MAX],
        str(error["errorMessage"])[:MESSAGE_LENGTH_MAX],
    )


def _line(body: bytes) -> str:
    """The beginning of a text, on one line."""
    return " ".join(body[: 4 * MESSAGE_LENGTH_MAX].decode(errors="replace").split())[
        :MESSAGE_LENGTH_MAX
    ]


def _retry_after(reply: HttpReply, now: Instant) -> Seconds | None:
    """Retry-After, which is a number of seconds or a date; None if it is neither."""
    text = reply.headers.get("retry-after", "")
    try:
        wait = float(text) if text.isdecimal() else parsedate_to_datetime(text).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return min(max(wait, 0.0), RETRY_AFTER_MAX)
