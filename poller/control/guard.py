"""What browsers may send: nothing for the web pages of others.

Any web page may have a browser post to 127.0.0.1, and a name that its owner points there (DNS
rebinding) even makes the replies readable.  Browsers say which name they used and where the page
came from, so both are checked.  Off loopback any name may be ours, so that only pages of another
origin can be told from our own: against a name that somebody points here, only `auth` helps.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web

from .problems import Handler, problem

# What probes these knows us by an address or a name of its own; on loopback it is this machine.
ALWAYS_OPEN = frozenset({"/healthz", "/readyz"})

FOREIGN_PAGE = "requests from web pages of other hosts are not allowed"


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
            return problem(403, FOREIGN_PAGE)
    return await handler(request)


@web.middleware
async def same_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer 403 if Origin is not the host and port that Host names; it may be missing."""
    if request.path not in ALWAYS_OPEN:
        host = request.headers.get("Host", "")
        for origin in request.headers.getall("Origin", ()):
            if not host or origin.partition("://")[2].lower() != host.lower():
                return problem(403, FOREIGN_PAGE)
    return await handler(request)


def _names_loopback(url: str) -> bool:
    try:
        return is_loopback(urlsplit(url).hostname or "")
    except ValueError:  # not a URL, such as one with an open bracket
        return False
