"""A lean HTTP/1.1 client: keep-alive connections to one origin."""

from __future__ import annotations

import ssl as tls
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

from poller.transport.errors import (
    BodyTooLarge,
    ConnectionLost,
    Garbled,
    HttpError,
    NotConnected,
    TimedOut,
)

__all__ = [
    "BodyTooLarge",
    "ConnectionLost",
    "Garbled",
    "HttpError",
    "HttpPool",
    "HttpReply",
    "NotConnected",
    "TimedOut",
]


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A whole response.  `headers`: lower-case names; repeated ones are joined with ", "."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpPool:
    """Keep-alive connections to one origin ("scheme://host:port")."""

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
        raise NotImplementedError

    async def __aenter__(self) -> HttpPool:
        raise NotImplementedError

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        raise NotImplementedError

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

        `timeout`: seconds, from when the request is written.  Raises HttpError's subclasses, and
        ValueError for what cannot stand in a request.
        """
        raise NotImplementedError
