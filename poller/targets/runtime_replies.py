"""What invocations on a Lambda runtime come to, in AWS's words."""

from __future__ import annotations

import msgspec

from poller.core.model import Seconds
from poller.interfaces import Errored

from .runtime_http import BODY_BYTES_MAX

UNSTATED = "Runtime exited without providing a reason"


def timed_out(timeout: Seconds) -> Errored:
    """It ran longer than the function may (spec 12.2)."""
    return Errored("Sandbox.Timedout", f"Task timed out after {timeout:.2f} seconds")


def exited(request_id: str, reason: str) -> Errored:
    """Its runtime went away, or gave it up, before it had answered."""
    return Errored("Runtime.ExitError", f"RequestId: {request_id} Error: {reason}")


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


def reported(body: bytes, stated_type: str) -> Errored:
    """The error that a runtime reports: a JSON object with errorType and errorMessage.

    `stated_type`, from a header, stands in for an object without a type, or what is none.
    """
    try:
        error = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        error = None
    if not isinstance(error, dict):
        return Errored(stated_type or "Unhandled", body.decode("utf-8", "replace"))
    error_type = error.get("errorType") or stated_type or "Unhandled"
    return Errored(str(error_type), str(error.get("errorMessage") or ""))
