"""The route of Lambda's Invoke, with and without the trailing slash that SDKs differ in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from aiohttp import web

from poller.core.model import Seconds

from .admission import Admission, Hold
from .invoke_requests import NO_EVENT, InvokeRequest, check_event, read_request, too_large
from .invoking import Answer, Invoking
from .lambda_api import paths, refused
from .refusals import BAD_CONTENT, Refusal

INVOCATIONS = "/2015-03-31/functions/{name:[^/]+}/invocations"
READ_MAX: Seconds = 120.0  # until an event is there


def invoke_routes(
    invoking: Invoking, admission: Admission, ready: Callable[[], Awaitable[object]]
) -> Sequence[web.AbstractRouteDef]:
    """The route table; requests wait until it is `ready`, which is soon after it listens."""

    async def answer(request: web.Request) -> web.Response:
        await ready()
        try:
            with admission.request() as hold:
                wanted = read_request(request.match_info["name"], request.query, request.headers)
                event = await _event(request, wanted, hold)
                return _response(await invoking.invoke(wanted, event))
        except Refusal as refusal:
            return refused(refusal)

    return [web.post(path, answer) for path in paths(INVOCATIONS)]


def _response(answer: Answer) -> web.Response:
    content_type = {"Content-Type": "application/json"} if answer.status == 200 else {}
    headers = {**answer.headers, **content_type}
    return web.Response(status=answer.status, headers=headers, body=answer.body or None)


async def _event(request: web.Request, wanted: InvokeRequest, hold: Hold) -> bytes:
    """The event that was sent, JSON for sure.  Raises Refusal."""
    if (request.content_length or 0) > wanted.event_bytes_max:
        raise too_large(wanted)
    pieces, size = [], 0
    try:
        async with asyncio.timeout(READ_MAX):
            async for piece in _pieces(request):
                size += len(piece)
                if size > wanted.event_bytes_max:
                    raise too_large(wanted)
                hold(len(piece))
                pieces.append(piece)
    except (web.RequestPayloadError, TimeoutError):
        raise Refusal(BAD_CONTENT, "Could not read the request body to its end.") from None
    if not size:
        return NO_EVENT
    event = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    check_event(event)
    return event


async def _pieces(request: web.Request) -> AsyncIterator[bytes]:
    """The body as it comes; whole, where it was read already because it is signed."""
    if not request.can_read_body:
        yield await request.read()
        return
    async for piece in request.content.iter_any():
        yield piece
