"""What invocations on a Lambda runtime come to, in AWS's words."""

from __future__ import annotations

import base64
import binascii

import msgspec

from poller.core.model import Seconds
from poller.interfaces import Errored, Ran, Reply

from .runtime_http import BODY_BYTES_MAX, Request

UNSTATED = "Runtime exited without providing a reason"
MODE = b"lambda-runtime-function-response-mode"
STREAMING = b"streaming"

# How a streamed response for an HTTP front begins: JSON with status and headers, then these bytes.
_FOR_HTTP = b"application/vnd.awslambda.http-integration-response"
_PRELUDE_END = bytes(8)

_ERROR_TYPE = b"lambda-runtime-function-error-type"
_ERROR_BODY = b"lambda-runtime-function-error-body"


def timed_out(timeout: Seconds) -> Errored:
    """It ran longer than the function may (spec 12.2)."""
    return Errored("Sandbox.Timedout", f"Task timed out after {timeout:.2f} seconds")


def exited(request_id: str, reason: str) -> Errored:
    """Its runtime went away, or gave it up, before it had answered."""
    return Errored("Runtime.ExitError", f"RequestId: {request_id} Error: {reason}")


def truncated(request_id: str) -> Errored:
    """Its runtime went away in the middle of the answer."""
    why = f"RequestId: {request_id} Error: Response ended before it was complete"
    return Errored("Runtime.TruncatedResponse", why)


def wrong_mode(request: Request) -> Errored | None:
    """It was answered in a response mode that there is not, if so."""
    mode = request.headers.get(MODE)
    if mode in {None, b"", STREAMING}:
        return None
    return Errored("Runtime.InvalidResponseModeHeader", "Invalid function response mode")


def exit_reason(returncode: int) -> str:
    """How a process ended; `returncode` as `subprocess` gives it, negative for a signal."""
    if returncode == 0:
        return UNSTATED
    if returncode < 0:
        return f"Runtime exited with error: signal: {_SIGNALS.get(-returncode, -returncode)}"
    return f"Runtime exited with error: exit status {returncode}"


# As Go spells them, whose words AWS's messages use.
_SIGNALS = {
    1: "hangup",
    2: "interrupt",
    4: "illegal instruction",
    6: "aborted",
    7: "bus error",
    8: "floating point exception",
    9: "killed",
    11: "segmentation fault",
    15: "terminated",
}


def too_large() -> Errored:
    """It answered with more than a function may return."""
    message = (
        f"Response payload size exceeded maximum allowed payload size ({BODY_BYTES_MAX} bytes)."
    )
    return Errored("Function.ResponseSizeTooLarge", message)


def read_response(request: Request) -> Reply:
    """What was posted as a response.

    One that was streamed counts as a whole: an error in its trailers is the function's, and of one
    that is made for an HTTP front the body is what the function returned.
    """
    if request.body is None:
        return too_large()
    if _ERROR_TYPE in request.trailers:
        stated = request.trailers[_ERROR_TYPE].decode("latin-1")
        return reported(_decoded(request.trailers.get(_ERROR_BODY, b"")), stated)
    if request.headers.get(b"content-type") == _FOR_HTTP:
        _, found, body = request.body.partition(_PRELUDE_END)
        return Ran(body if found else request.body)
    return Ran(request.body)


def read_error(request: Request) -> Errored:
    """What was posted as an error, of an invocation or of the initialisation."""
    stated = request.headers.get(_ERROR_TYPE, b"").decode("latin-1")
    return too_large() if request.body is None else reported(request.body, stated)


def reported(body: bytes, stated_type: str) -> Errored:
    """The error that a runtime reports: a JSON object with errorType and errorMessage.

    `stated_type`, from a header, stands in for an object without a type, or what is none.
    """
    try:
        error = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        error = None
    if not isinstance(error, dict):
        text = body.decode("utf-8", "replace")
        return Errored(stated_type or "Unhandled", text, payload=body)
    error_type = error.get("errorType") or stated_type or "Unhandled"
    return Errored(str(error_type), str(error.get("errorMessage") or ""), payload=body)


def _decoded(text: bytes) -> bytes:
    """Base64, or the bytes themselves where they are none."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return text
