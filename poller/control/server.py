"""The HTTP server on `listen`: an application put together from route tables, and its socket."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from aiohttp import web

from poller.errors import PollerError

from .access import Access
from .connections import Connection, server_log
from .guard import local_only, same_origin
from .problems import problems_as_json

BODY_BYTES_MAX = 6 * 1024 * 1024 + 100 * 1024  # the largest request: a synchronous Invoke's event
BACKLOG = 128
KEEPALIVE_TIMEOUT = 75.0
SHUTDOWN_TIMEOUT = 5.0  # for requests that still run when the server stops
LINGERING_TIMEOUT = 2.0  # for the rest of a body that nobody reads


def make_app(
    *tables: Iterable[web.AbstractRouteDef], loopback: bool, access: Access | None = None
) -> web.Application:
    """An application that answers what the route tables name, to those who have `access`.

    `loopback`: it listens on loopback only, so Host is checked as well as Origin.
    """
    middlewares = [problems_as_json, local_only if loopback else same_origin]
    if access is not None:
        middlewares.append(access.check)
    app = web.Application(middlewares=middlewares, client_max_size=BODY_BYTES_MAX)
    for table in tables:
        app.add_routes(table)
    app.on_response_prepare.append(_without_versions)
    return app


@asynccontextmanager
async def serve(app: web.Application, host: str, port: int) -> AsyncIterator[tuple[str, int]]:
    """Serve `app`; the address that it has, which matters where `port` is 0.

    Raises PollerError if the address cannot be had.
    """
    runner = web.AppRunner(app, shutdown_timeout=SHUTDOWN_TIMEOUT)
    await runner.setup()
    loop = asyncio.get_running_loop()
    try:
        try:
            listener = await loop.create_server(
                partial(_connection, runner, loop, server_log()),
                **_where(host, port),
                backlog=BACKLOG,
            )
        except OSError as error:
            raise PollerError(_cannot_listen(host, port, error)) from error
        try:
            yield listener.sockets[0].getsockname()[:2]
        finally:
            listener.close()
    finally:
        await runner.cleanup()


def _where(host: str, port: int) -> dict[str, Any]:
    """Where asyncio is to listen; `::` is every address, those of IPv4 too, as people expect."""
    if host == "::" and socket.has_dualstack_ipv6():
        every = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return {"sock": every}
    return {"host": host, "port": port}


def host_port(host: str, port: int) -> str:
    """HOST:PORT as it stands in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _connection(
    runner: web.AppRunner, loop: asyncio.AbstractEventLoop, log: logging.Logger
) -> Connection:
    assert runner.server is not None, "it is set up"
    return Connection(
        runner.server,
        loop=loop,
        access_log=None,  # type: ignore[arg-type]  # as AppRunner itself passes it on
        logger=log,
        keepalive_timeout=KEEPALIVE_TIMEOUT,
        lingering_time=LINGERING_TIMEOUT,
        auto_decompress=False,  # a compressed body may be anything, and no client sends one
    )


def _cannot_listen(host: str, port: int, error: OSError) -> str:
    where = host_port(host, port)
    remedy = "choose another with --listen HOST:PORT"
    if isinstance(error, socket.gaierror):
        return f"cannot listen on {where}: there is no host {host!r}; {remedy}"
    match error.errno:
        case errno.EADDRINUSE:
            return f"cannot listen on {where}: another program does already; end it or {remedy}"
        case errno.EADDRNOTAVAIL:
            return f"cannot listen on {where}: this machine has no such address; {remedy}"
        case errno.EACCES:
            return f"cannot listen on {where}: no permission for this port; {remedy}"
        case code:
            reason = os.strerror(code) if code else str(error)
            return f"cannot listen on {where}: {reason}; {remedy}"


async def _without_versions(request: web.Request, response: web.StreamResponse) -> None:
    """What runs here in which version is nobody's business."""
    response.headers.pop("Server", None)
