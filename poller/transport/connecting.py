"""Opening a connection: directly, by way of an HTTP proxy, or through a proxy's tunnel."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl as tls
from functools import cache

from poller.transport.errors import NotConnected, describe
from poller.transport.origins import Origin, Proxy
from poller.transport.response import HttpReply, Malformed, Response, TooLarge

NEXT_ADDRESS_AFTER = 0.25  # seconds until a name's next address is tried beside the first


@cache
def default_tls() -> tls.SSLContext:
    """One context for all: making one reads every certificate authority of the system."""
    return tls.create_default_context()


async def open_connection(
    connection: asyncio.Protocol,
    origin: Origin,
    *,
    proxy: Proxy | None,
    ssl: tls.SSLContext | None,
    timeout: float,
) -> None:
    """Connect `connection`, TLS included.  Raises NotConnected; leaves nothing open then."""
    context = (ssl or default_tls()) if origin.scheme == "https" else None
    by = "" if proxy is None else f" by way of the proxy {proxy.origin}"
    try:
        async with asyncio.timeout(timeout):
            if proxy is not None and context is not None:
                await _open_through_tunnel(connection, origin, proxy, context)
            else:
                await _open_to(connection, origin if proxy is None else proxy.origin, context)
    except TimeoutError:
        why = f"no connection within {timeout:g} s"
    except (OSError, UnicodeError) as error:
        why = describe(error)
    except _Refused as refusal:
        why = str(refusal)
    else:
        return
    raise NotConnected(f"cannot connect to {origin}{by}: {why}")


class _Refused(Exception):
    """The proxy opened no tunnel; the text says why."""


async def _open_to(
    protocol: asyncio.Protocol, origin: Origin, context: tls.SSLContext | None
) -> asyncio.Transport:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(
        lambda: protocol,
        origin.host,
        origin.port,
        ssl=context,
        server_hostname=origin.host if context else None,
        happy_eyeballs_delay=None if _is_address(origin.host) else NEXT_ADDRESS_AFTER,
    )
    return transport


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def _open_through_tunnel(
    connection: asyncio.Protocol, origin: Origin, proxy: Proxy, context: tls.SSLContext
) -> None:
    opening = _TunnelOpening()
    transport = await _open_to(opening, proxy.origin, None)
    try:
        transport.write(_connect_request(origin, proxy))
        reply = await opening.reply
        if not 200 <= reply.status < 300:
            raise _Refused(f"it answered CONNECT with status {reply.status}")
        secured = await asyncio.get_running_loop().start_tls(
            transport, connection, context, server_hostname=origin.host
        )
    except BaseException:
        transport.abort()
        raise
    if secured is None:  # what start_tls returns if the peer is gone by now
        raise _Refused("the tunnel closed")
    connection.connection_made(secured)


def _connect_request(origin: Origin, proxy: Proxy) -> bytes:
    lines = [f"CONNECT {origin.host_port} HTTP/1.1", f"Host: {origin.host_port}"]
    if proxy.authorization is not None:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    return "\r\n".join([*lines, "", ""]).encode()


class _TunnelOpening(asyncio.Protocol):
    """Reads the reply to CONNECT; a server behind a tunnel never speaks before its client."""

    def __init__(self) -> None:
        self.reply: asyncio.Future[HttpReply] = asyncio.get_running_loop().create_future()
        self._response = Response(is_head=True, body_bytes_max=0)

    def data_received(self, data: bytes) -> None:
        if self.reply.done():
            return
        try:
            complete = self._response.feed(data)
        except (Malformed, TooLarge) as error:
            self.reply.set_exception(_Refused(f"it answered CONNECT with garbage: {error}"))
        else:
            if complete:
                self.reply.set_result(self._response.reply)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.reply.done():
            self.reply.set_exception(_Refused("it closed the connection"))
