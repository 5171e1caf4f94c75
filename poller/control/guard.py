"""Who may ask: on loopback, only this machine's own programs and pages.

Any web page may have a browser post to 127.0.0.1, and a name that its owner points there (DNS
rebinding) even makes the replies readable.  Browsers say which name they used and where the page
came from, so both are checked.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web

from .problems import Handler, problem


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address without a port, means this machine and no other."""
    try:
        return ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


@web.middleware
async def local_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer 403 if Host or Origin name anything but loopback; both may be missing."""
    for host in request.headers.getall("Host", ()):
        if not _names_loopback(f"//{host}"):
            return problem(
                403, "the Host header must be localhost or 127.0.0.1: poller listens on loopback"
            )
    for origin in request.headers.getall("Origin", ()):
        if not _names_loopback(origin):
            return problem(403, "requests from web pages of other hosts are not allowed")
    return await handler(request)


def _names_loopback(url: str) -> bool:
    try:
        return is_loopback(urlsplit(url).hostname or "")
    except ValueError:  # not a URL, such as one with an open bracket
        return False
