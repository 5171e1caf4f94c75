"""The paths of the Runtime API (spec 12.2), and what is told to who asks for another."""

from __future__ import annotations

from typing import Protocol

from .runtime_extensions import ACCEPTED, Extensions
from .runtime_http import BODY_BYTES_MAX, Connection, Request

_RUNTIME = b"/2018-06-01/runtime/"
_NEXT = _RUNTIME + b"invocation/next"
_INVOCATION = _RUNTIME + b"invocation/"
_PINGS = (b"/2018-06-01/ping", b"/ping")


class Calls(Protocol):
    """What runtimes may call."""

    extensions: Extensions

    def next(self, connection: Connection, client: bytes) -> None:
        """Ask for an invocation; `client` is the User-Agent."""

    def answer(
        self, connection: Connection, request: Request, request_id: str, *, failed: bool
    ) -> None:
        """Say what an invocation came to."""

    def init_error(self, connection: Connection, request: Request) -> None:
        """Say why there will be no invocations."""


def route(calls: Calls, connection: Connection, request: Request) -> None:
    path = request.path
    if b"origin" in request.headers or b"sec-fetch-site" in request.headers:
        connection.refuse(403, "Forbidden", "A web page is no runtime.")
    elif path == _NEXT and request.method == b"GET":
        calls.next(connection, request.headers.get(b"user-agent", b""))
    elif path.startswith(_RUNTIME):
        _of_runtime(calls, connection, request, path.removeprefix(_RUNTIME).split(b"/"))
    elif path in _PINGS and request.method == b"GET":
        connection.reply(200, b"pong", content_type="text/plain; charset=utf-8")
    elif not calls.extensions.asked(connection, request):
        _not_found(connection)


def id_in(path: bytes) -> str:
    """The id of the invocation that is answered at this path; empty if none is."""
    if not path.startswith(_INVOCATION):
        return ""
    return path.removeprefix(_INVOCATION).partition(b"/")[0].decode("latin-1")


def accept(connection: Connection, request: Request) -> None:
    """Thank for what was posted, unless it was too large."""
    if request.body is None:
        why = f"Exceeded maximum allowed payload size ({BODY_BYTES_MAX} bytes)."
        connection.refuse(413, "RequestEntityTooLarge", why)
    else:
        connection.reply(202, ACCEPTED)


def refuse_answer(connection: Connection, *, again: bool) -> None:
    """Nobody waits for this answer."""
    if again:
        why = "The invocation has been answered before."
        connection.refuse(403, "InvalidStateTransition", why)
    else:
        connection.refuse(400, "InvalidRequestID", "Invalid request ID")


def _of_runtime(calls: Calls, connection: Connection, request: Request, parts: list[bytes]) -> None:
    match request.method, parts:
        case b"POST", [b"invocation", request_id, b"response" | b"error" as kind]:
            failed = kind == b"error"
            calls.answer(connection, request, request_id.decode("latin-1"), failed=failed)
        case b"POST", [b"init", b"error"]:
            calls.init_error(connection, request)
        case (b"GET", [b"restore", b"next"]) | (b"POST", [b"restore", b"error"]):
            why = "Nothing is restored here: there is no SnapStart."
            connection.refuse(403, "InvalidStateTransition", why)
        case (
            _,
            [b"invocation" | b"restore", b"next"]
            | [b"invocation", _, b"response" | b"error"]
            | [b"init" | b"restore", b"error"],
        ):
            connection.refuse(405, "MethodNotAllowed", "The method is not allowed here.")
        case _:
            _not_found(connection)


def _not_found(connection: Connection) -> None:
    connection.refuse(404, "NotFound", "The Runtime API has no such path.")
