"""The ways in which an HTTP exchange ends without a response."""

from __future__ import annotations


class HttpError(Exception):
    """An exchange that brought no response; the text is one line that names the origin."""


class NotConnected(HttpError):
    """Nothing was sent: refused, no such host, connect timeout, TLS failure, proxy refusal."""


class ConnectionLost(HttpError):
    """The request was sent and the connection broke before a whole response came.

    `unanswered`: not a single byte of a response had come.
    """

    def __init__(self, message: str, *, unanswered: bool) -> None:
        super().__init__(message)
        self.unanswered = unanswered


class TimedOut(HttpError):
    """The request was sent and no whole response came in time; the connection is closed."""


class Garbled(HttpError):
    """What came is not an HTTP response, or its head is too large."""


class BodyTooLarge(Garbled):
    """The response's body is larger than the pool takes."""
