"""The ways in which an HTTP exchange ends without a response."""

from __future__ import annotations

import os
import socket
import ssl


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


def cut(origin: str, why: str, *, unanswered: bool) -> ConnectionLost:
    """What a connection that breaks ends its exchange with."""
    when = "before it answered" if unanswered else "in the middle of its response"
    return ConnectionLost(f"{origin} cut the connection {when}: {why}", unanswered=unanswered)


def describe(error: Exception) -> str:
    """The reason behind a failed system or TLS call, as a few words on one line."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"the certificate is not accepted: {error.verify_message}"
        case ssl.SSLError(reason=str(reason)):
            return f"TLS failed: {reason}"
        case socket.gaierror():
            return f"no such host: {error.strerror}"
        case OSError(errno=int(number)) if number > 0:
            return os.strerror(number)
    return " ".join(str(error).split()) or type(error).__name__
