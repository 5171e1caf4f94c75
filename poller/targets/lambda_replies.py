"""What Lambda's answer to an Invoke means (spec 12.1).

answer                                       the function    then
200                                          ran             -
200 with X-Amz-Function-Error                failed          counted
no whole answer in time                      failed          counted
413, also by its code alone                  not reached     too large: split
429, and the codes of throttles              not reached     when Retry-After says, with Reason
502                                          not reached     after half a minute
credentials, permission                      not reached     soon, and told what is to be done
400, 402, 404, 415                           not reached     the same
any other status                             not reached     soon
no connection, a lost one, what is no HTTP   not reached     soon

"Not reached" is what an event source mapping counts as no attempt.  That a connection was lost
after the request had been sent is such a case, although the function may have run: what is repeated
then is as on AWS, whose pollers lose connections, too, and no record is given up for it.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace

from poller.aws.failures import AwsError
from poller.core.model import Seconds
from poller.interfaces import Errored, NotReached, Ran
from poller.transport.http1 import HttpReply

from .http_replies import RETRY_AFTER_MAX, failed
from .runtime_replies import timed_out

PERMISSION = "lambda:InvokeFunction"
SLOW_RETRY: Seconds = 30.0  # as long as ordinary back-off comes to wait in the end

TOO_LARGE = frozenset({"RequestTooLargeException", "SerializedRequestEntityTooLargeException"})
MISCONFIGURED = frozenset({400, 402, 404, 415})  # unless a throttle says so
_FORBIDDEN = frozenset({"AccessDenied", "AccessDeniedException"})


def read_answer(reply: HttpReply) -> Ran | Errored:
    """What a reply with status 200 means."""
    version = reply.headers.get("x-amz-executed-version") or "$LATEST"
    log = _decoded(reply.headers.get("x-amz-log-result", ""))
    if "x-amz-function-error" not in reply.headers:
        return Ran(reply.body, version, log)
    return replace(failed(reply, "Unhandled"), executed_version=version, log=log)


def read_refusal(error: AwsError, timeout: Seconds) -> Errored | NotReached:
    """What it means that there was none; `timeout` is the function's."""
    why = str(error)
    if error.code == "TimedOut":
        return timed_out(timeout)
    if error.status == 413 or error.code in TOO_LARGE:
        return NotReached(why, too_large=True)
    if error.throttled:
        wait = error.retry_after
        wait = None if wait is None else min(wait, RETRY_AFTER_MAX)
        return NotReached(why, throttled=True, retry_after=wait, reason=error.reason)
    if error.status == 502:
        return NotReached(why, retry_after=SLOW_RETRY)
    return NotReached(why + _remedy(error))


def _remedy(error: AwsError) -> str:
    """To be added to the reason; empty where nothing can be done but wait."""
    if error.code in _FORBIDDEN:
        return f"; allow {PERMISSION} to the identity that poller runs as"
    if error.unauthorised and error.status is not None:
        return "; give poller credentials that are valid"
    if error.status == 404:
        return "; look for the function's name, version or alias, region and account in its lambda:"
    if error.status in MISCONFIGURED:
        return "; nothing goes on until the function or its lambda: is put right"
    return ""


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text)
    except (binascii.Error, ValueError):
        return b""
