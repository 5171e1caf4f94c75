"""The routes of Lambda's own API: event source mappings and their tags.

boto3, the AWS CLI, Terraform and whatever else speaks the REST API work unchanged when pointed
here.  Paths are taken with and without a trailing slash, as older and newer SDKs write them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

import msgspec
from aiohttp import web

from .listing import read_list_query
from .operations import Operations
from .refusals import BAD_CONTENT, SERIALIZATION, TOO_LARGE, Refusal
from .tagging import Tagging

MAPPINGS = "/2015-03-31/event-source-mappings"
TAGS = "/2017-03-31/tags"

# More than the largest legal request, also with every character escaped: looking through megabytes
# of nonsense would keep records waiting.
BODY_BYTES_MAX = 256 * 1024

Reply = tuple[int, Any]  # status and JSON; None: no body
Handler = Callable[[web.Request], Awaitable[Reply]]


def mapping_routes(
    operations: Operations, tagging: Tagging, ready: Callable[[], Awaitable[object]]
) -> Sequence[web.AbstractRouteDef]:
    """The route table; requests wait until it is `ready`, which is soon after it listens."""

    async def create(request: web.Request) -> Reply:
        return 202, await operations.create(await _body(request))

    async def list_all(request: web.Request) -> Reply:
        return 200, operations.list(read_list_query(request.query))

    async def get(request: web.Request) -> Reply:
        return 200, operations.get(_uuid(request))

    async def update(request: web.Request) -> Reply:
        return 202, await operations.update(_uuid(request), await _body(request))

    async def delete(request: web.Request) -> Reply:
        return 202, await operations.delete(_uuid(request))

    async def list_tags(request: web.Request) -> Reply:
        return 200, {"Tags": tagging.tags(_resource(request))}

    async def tag(request: web.Request) -> Reply:
        await tagging.tag(_resource(request), await _body(request))
        return 204, None

    async def untag(request: web.Request) -> Reply:
        await tagging.untag(_resource(request), request.query.getall("tagKeys", []))
        return 204, None

    def route(method: str, path: str, handler: Handler) -> web.AbstractRouteDef:
        return web.route(method, path, _answering(handler, ready))

    one, resource = f"{MAPPINGS}/{{uuid:[^/]+}}", f"{TAGS}/{{resource:.+}}"
    return [
        *(route("POST", path, create) for path in paths(MAPPINGS)),
        *(route("GET", path, list_all) for path in paths(MAPPINGS)),
        *(route("GET", path, get) for path in paths(one)),
        *(route("PUT", path, update) for path in paths(one)),
        *(route("DELETE", path, delete) for path in paths(one)),
        route("GET", resource, list_tags),
        route("POST", resource, tag),
        route("DELETE", resource, untag),
    ]


def paths(path: str) -> tuple[str, str]:
    """Both forms of it."""
    return path, f"{path}/"


def _answering(
    handler: Handler, ready: Callable[[], Awaitable[object]]
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """What aiohttp calls: replies and refusals in AWS's form."""

    async def answer(request: web.Request) -> web.Response:
        await ready()
        try:
            return _response(*await handler(request), {})
        except Refusal as refusal:
            return refused(refusal)

    return answer


def refused(refusal: Refusal) -> web.Response:
    """The reply that tells a client why."""
    return _response(refusal.status, refusal.body(), refusal.headers())


def _response(status: int, body: Any, headers: Mapping[str, str]) -> web.Response:
    named = {"x-amzn-RequestId": str(uuid4()), **headers}
    if body is None:
        return web.Response(status=status, headers=named)
    text = msgspec.json.encode(body)
    return web.Response(status=status, body=text, headers=named, content_type="application/json")


def _uuid(request: web.Request) -> str:
    return request.match_info["uuid"].lower()


def _resource(request: web.Request) -> str:
    return request.match_info["resource"].rstrip("/")


async def _body(request: web.Request) -> dict[str, Any]:
    """The JSON object that was sent; nothing at all is an empty one.  Raises Refusal."""
    raw = await _bytes(request)
    if not raw.strip():
        return {}
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        why = str(error) or "it is nested too deeply"
        raise Refusal(BAD_CONTENT, f"Could not parse request body into json: {why}") from None
    if not isinstance(body, dict):
        raise Refusal(SERIALIZATION, "Start of structure or map found where not expected.")
    return body


async def _bytes(request: web.Request) -> bytes:
    try:
        raw = await request.read()
    except web.RequestPayloadError:
        raise Refusal(BAD_CONTENT, "Could not read the request body to its end.") from None
    except web.HTTPRequestEntityTooLarge:
        raw = None
    if raw is None or len(raw) > BODY_BYTES_MAX:
        raise Refusal(TOO_LARGE, f"Request must be smaller than {BODY_BYTES_MAX} bytes.")
    return raw
