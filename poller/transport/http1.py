"""A lean HTTP/1.1 client: keep-alive connections to one origin.

Theory of operation.  `HttpPool.request` takes the connection that became idle last, or opens one
(connecting), writes head and body in one piece (connection), feeds what comes to a parser
(response), and puts the connection back if both ends kept to the protocol.  A connection never
carries two exchanges at once, and whatever ends an exchange early, a cancellation too, closes it.
`HttpPool.stream` is for responses that go on for minutes; each has its own connection (streams).
"""

from __future__ import annotations

import asyncio
import ssl as tls
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from poller.transport.connecting import open_connection
from poller.transport.connection import Connection
from poller.transport.errors import (
    BodyTooLarge,
    ConnectionLost,
    Garbled,
    HttpError,
    NotConnected,
    TimedOut,
)
from poller.transport.origins import parse_origin, parse_proxy
from poller.transport.requests import HeadWriter
from poller.transport.response import HttpReply, Response
from poller.transport.streams import HttpStream

__all__ = [
    "BodyTooLarge",
    "ConnectionLost",
    "Garbled",
    "HttpError",
    "HttpPool",
    "HttpReply",
    "HttpStream",
    "NotConnected",
    "TimedOut",
]

OK = 200
PROXY_AUTHENTICATION_REQUIRED = 407


class HttpPool:
    """Keep-alive connections to one origin ("scheme://host:port"); an async context manager.

    `connections_max`: further requests wait for a connection, for as long as their callers let
    them.  `proxy`: "http://[user:password@]host:port"; requests to http go there in absolute
    form, to https through a CONNECT tunnel.  `connect_timeout` (TLS included) and `idle_max`:
    seconds.  Raises ValueError if `origin` or `proxy` is not such a URL.
    """

    def __init__(
        self,
        origin: str,
        *,
        connections_max: int | None = None,
        ssl: tls.SSLContext | None = None,
        proxy: str | None = None,
        connect_timeout: float = 5.0,
        body_bytes_max: int = 64 * 1024 * 1024,
        idle_max: float = 20.0,
    ) -> None:
        self._origin = parse_origin(origin)
        self._name = str(self._origin)
        self._proxy = None if proxy is None else parse_proxy(proxy)
        self._ssl = ssl
        self._connect_timeout = connect_timeout
        self._body_bytes_max = body_bytes_max
        self._idle_max = idle_max
        self._turns = None if connections_max is None else asyncio.Semaphore(connections_max)
        # The proxy that sees the requests: of what a tunnel carries it sees nothing.
        self._proxied = self._proxy if self._origin.scheme == "http" else None
        self._heads = self._head_writer()
        self._connections: set[Connection | HttpStream] = set()
        self._idle: list[Connection] = []  # the one that became idle last is the last
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._open = False
        self._all_lost: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop

    def _head_writer(self) -> HeadWriter:
        host = ("Host", self._origin.authority)
        if self._proxied is None:
            return HeadWriter("", [host])
        if self._proxied.authorization is None:
            return HeadWriter(self._name, [host])
        return HeadWriter(self._name, [host, ("Proxy-Authorization", self._proxied.authorization)])

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close every connection; a request that still runs ends with ConnectionLost."""
        self._open = False
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        if self._connections:
            self._all_lost = self._loop.create_future()
            for connection in self._connections:
                connection.abort()
            await self._all_lost

    async def request(
        self,
        method: str,
        path: str,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        *,
        timeout: float,
    ) -> HttpReply:
        """One exchange.  Host and Content-Length are set here; redirects are not followed.

        `timeout`: seconds, from when the request is written.  A kept-alive connection that
        closes before the first byte of the response counts as nothing: the request is written
        once more, to a fresh one.  Raises NotConnected, ConnectionLost, TimedOut, Garbled, and
        ValueError for what cannot stand in a request.
        """
        assert self._open, "a pool is used within its `async with`"
        head = self._heads.head(method, path, headers, len(body))
        if self._turns is None:
            return await self._exchange(head, body, method == "HEAD", timeout)
        async with self._turns:
            return await self._exchange(head, body, method == "HEAD", timeout)

    async def stream(
        self,
        method: str,
        path: str,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        *,
        timeout: float,
    ) -> HttpStream | HttpReply:
        """One exchange whose response, if its status is 200, is read while it comes.

        It takes none of the pool's connections; whoever gets it closes it, at the latest the pool.
        `timeout`: seconds until its head is there.  Raises what `request` does.
        """
        assert self._open, "a pool is used within its `async with`"
        head = self._heads.head(method, path, headers, len(body))
        response = Response(is_head=method == "HEAD", body_bytes_max=self._body_bytes_max)
        stream = HttpStream(self._name, self._loop, self._forget, response)
        await self._connect(stream)
        await stream.ask(head, body, timeout=timeout)
        if stream.status == OK:
            return stream
        return self._accepted(await stream.whole(timeout=timeout))

    async def _exchange(self, head: bytes, body: bytes, is_head: bool, timeout: float) -> HttpReply:
        kept = self._take_idle()
        if kept is not None:
            try:
                return await self._exchange_on(kept, head, body, is_head, timeout)
            except ConnectionLost as lost:
                if not lost.unanswered or not self._open:
                    raise
        fresh = Connection(self._name, self._loop, self._forget)
        await self._connect(fresh)
        return await self._exchange_on(fresh, head, body, is_head, timeout)

    async def _exchange_on(
        self, connection: Connection, head: bytes, body: bytes, is_head: bool, timeout: float
    ) -> HttpReply:
        response = Response(is_head=is_head, body_bytes_max=self._body_bytes_max)
        reply = await connection.exchange(
            head, body, response, timeout=timeout, idle_max=self._idle_max
        )
        if connection.usable:
            self._put_idle(connection)
        return self._accepted(reply)

    def _accepted(self, reply: HttpReply) -> HttpReply:
        if reply.status == PROXY_AUTHENTICATION_REQUIRED and self._proxied is not None:
            raise NotConnected(f"the proxy {self._proxied.origin} wants other credentials (407)")
        return reply

    async def _connect(self, connection: Connection | HttpStream) -> None:
        await open_connection(
            connection,
            self._origin,
            proxy=self._proxy,
            ssl=self._ssl,
            timeout=self._connect_timeout,
        )
        if not self._open:
            connection.abort()
            raise NotConnected(f"cannot connect to {self._name}: its pool was closed")
        if not connection.usable:
            raise NotConnected(f"cannot connect to {self._name}: it closed the connection at once")
        self._connections.add(connection)

    # Idle connections.

    def _take_idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and connection.keep_until > self._loop.time():
                return connection
            connection.abort()
        return None

    def _put_idle(self, connection: Connection) -> None:
        self._idle.append(connection)
        if self._sweep_timer is None:
            self._sweep_timer = self._loop.call_at(connection.keep_until, self._sweep)

    def _sweep(self) -> None:
        """Drop what was idle for too long, and come back when the next one may have been."""
        now = self._loop.time()
        self._sweep_timer = None
        for connection in self._idle:
            if connection.keep_until <= now:
                connection.abort()
        self._idle = [connection for connection in self._idle if connection.usable]
        if self._idle:
            soonest = min(connection.keep_until for connection in self._idle)
            self._sweep_timer = self._loop.call_at(soonest, self._sweep)

    def _forget(self, connection: Connection | HttpStream) -> None:
        self._connections.discard(connection)
        if isinstance(connection, Connection) and connection in self._idle:
            self._idle.remove(connection)
        if self._all_lost is not None and not self._connections and not self._all_lost.done():
            self._all_lost.set_result(None)
