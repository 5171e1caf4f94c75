"""Error replies: JSON with one line that says what is wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from uuid import uuid4

from aiohttp import web

from poller.wire.problems import one_line

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PATH_SHOWN_MAX = 300  # characters of a path that a message repeats

# What AWS's clients call an error, where one of them asks for what is not here.
_ERROR_TYPES = {
    400: "InvalidRequestContentException",
    403: "AccessDeniedException",
    404: "UnknownOperationException",
    405: "UnknownOperationException",
    413: "RequestTooLargeException",
}
_REASONS = {404: "there is nothing at {path}", 405: "{method} is not possible at {path}"}


def problem(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """A reply `{"message": ...}` with an id and, where AWS has one, AWS's name for the error."""
    typed = {"x-amzn-ErrorType": _ERROR_TYPES[status]} if status in _ERROR_TYPES else {}
    identified = {"x-amzn-RequestId": str(uuid4()), **typed, **(headers or {})}
    return web.json_response({"message": message}, status=status, headers=identified)


@web.middleware
async def problems_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what the framework refuses (no such path, wrong method, too large) in our own form."""
    try:
        return await handler(request)
    except web.HTTPException as refusal:
        if refusal.status < 400:
            raise
        text = _REASONS.get(refusal.status, refusal.reason)
        headers = {"Allow": allow} if (allow := refusal.headers.get("Allow")) else None
        path = one_line(request.path, PATH_SHOWN_MAX)
        return problem(refusal.status, text.format(path=path, method=request.method), headers)
