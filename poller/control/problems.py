"""Error replies: JSON with one line that says what is wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_REASONS = {404: "there is nothing at {path}", 405: "{method} is not possible at {path}"}


def problem(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """A reply `{"message": ...}`."""
    return web.json_response({"message": message}, status=status, headers=headers)


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
        return problem(
            refusal.status, text.format(path=request.path, method=request.method), headers
        )
