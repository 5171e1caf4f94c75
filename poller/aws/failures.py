"""How a call to AWS fails: one error for all services, read from whatever the reply is."""

from __future__ import annotations

from typing import Any

import msgspec

from poller.core.model import Seconds
from poller.errors import PollerError
from poller.transport.http1 import (
    ConnectionLost,
    HttpError,
    HttpReply,
    NotConnected,
    TimedOut,
)

from .signing import Credentials

MESSAGE_LENGTH_MAX = 400
NO_CREDENTIALS = "NoCredentials"  # nothing was sent: there is nothing to sign with
BAD_CREDENTIALS = frozenset(
    {
        NO_CREDENTIALS,
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_NETWORK = frozenset({"NotConnected", "ConnectionLost", "TimedOut", "Garbled"})
_THROTTLES = frozenset(
    {
        "BandwidthLimitExceeded",
        "KMSThrottlingException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)


class AwsError(PollerError):
    """A call that brought no result; its text is one line: service, operation, endpoint, reason.

    `code`: AWS's error code without its namespace ("ProvisionedThroughputExceededException");
    "HTTP 503" where the reply has none; NotConnected, ConnectionLost, TimedOut or Garbled where
    no reply came; NoCredentials, BadUrl or TooManyHosts where nothing was sent.  `status`: the
    reply's HTTP status, None without one.  `retry_after`: how long the reply asks
    to wait, if it does.  `reason`: why Lambda throttles, if it says so.
    """

    def __init__(
        self,
        place: str,
        code: str,
        message: str,
        *,
        status: int | None = None,
        retry_after: Seconds | None = None,
        reason: str = "",
    ) -> None:
        super().__init__(f"{place}: {code}: {message}" if message else f"{place}: {code}")
        self.code = code
        self.message = message
        self.status = status
        self.retry_after = retry_after
        self.reason = reason

    @property
    def throttled(self) -> bool:
        """Whether AWS asks for fewer calls."""
        return self.code in _THROTTLES or self.status == 429

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed later: the network, a 5xx, a throttle."""
        if self.status is None:
            return self.code in _NETWORK
        return self.throttled or self.status >= 500

    @property
    def unauthorised(self) -> bool:
        """Whether these credentials are missing, wrong or not allowed to make this call."""
        return self.code in BAD_CREDENTIALS


def refused(place: str, reply: HttpReply, credentials: Credentials) -> AwsError:
    """The error of a reply that is not a success, with nothing secret in its text.

    The code is looked for in the body's `__type`, then in x-amzn-errortype, which names it
    "namespace#Code" or "Code:address".
    """
    body = _object(reply.body)
    named = body.get("__type") or body.get("code") or reply.headers.get("x-amzn-errortype")
    code = str(named).rpartition("#")[2].partition(":")[0] if named else f"HTTP {reply.status}"
    text = body.get("message") or body.get("Message")
    if text is None and not body:
        text = reply.body[: 2 * MESSAGE_LENGTH_MAX].decode(errors="replace")
    return AwsError(
        place,
        code,
        _fit(str(text or ""), credentials),
        status=reply.status,
        retry_after=_seconds(reply.headers.get("retry-after")),
        reason=_fit(str(body.get("Reason") or ""), credentials),
    )


def said(place: str, code: str, body: bytes) -> AwsError:
    """The error that a stream of events ends with: an exception's code and its JSON body."""
    found = _object(body)
    text = str(found.get("message") or found.get("Message") or "")
    return AwsError(place, code or "UnknownError", " ".join(text.split())[:MESSAGE_LENGTH_MAX])


def unanswered(place: str, error: HttpError) -> AwsError:
    """The error of an exchange that ended without a reply."""
    match error:
        case NotConnected():
            code = "NotConnected"
        case ConnectionLost():
            code = "ConnectionLost"
        case TimedOut():
            code = "TimedOut"
        case _:
            code = "Garbled"
    return AwsError(place, code, " ".join(str(error).split())[:MESSAGE_LENGTH_MAX])


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _fit(text: str, credentials: Credentials) -> str:
    """`text` as a part of one line; some services quote the signed request, token and all."""
    for secret in (credentials.secret_key, credentials.token):
        if secret:
            text = text.replace(secret, "***")
    return " ".join(text.partition("The Canonical String")[0].split())[:MESSAGE_LENGTH_MAX]


def _seconds(header: str | None) -> Seconds | None:
    try:
        return max(0.0, float(header)) if header else None
    except ValueError:
        return None
