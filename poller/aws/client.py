"""The lean client for hot calls of the JSON protocols: JSON in, JSON or an AwsError out."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import partial

from poller.core.model import Instant
from poller.errors import PollerError
from poller.transport.http1 import HttpPool, HttpReply, HttpStream

from .credentials import CredentialSource
from .endpoints import Service
from .event_streams import EventStream
from .failures import AwsError
from .signed import Call, Headers, SignedClient, request
from .signing import Credentials, Route, Signer, route

__all__ = ["AwsError", "JsonClient"]

CONNECTIONS_MAX = 256  # of short calls to one origin; a long poll has a connection to itself


class JsonClient(SignedClient):
    """Calls one AWS service of the JSON protocols; `AwsSession.json_client` makes and closes it."""

    def __init__(
        self,
        service: Service,
        region: str,
        credentials: CredentialSource,
        *,
        tls: Callable[[], ssl.SSLContext],
        wall_clock: Callable[[], Instant],
        long_poll: bool = False,
    ) -> None:
        super().__init__(
            service.route,
            credentials,
            tls=tls,
            wall_clock=wall_clock,
            connections_max=None if long_poll else CONNECTIONS_MAX,
        )
        self._service = service
        self._signer = Signer(service.signed_as, region)

    async def call(
        self, operation: str, body: bytes, *, timeout: float = 30.0, url: str | None = None
    ) -> bytes:
        """Call `operation` with the JSON `body` and return the reply's JSON.

        `url` replaces the service's endpoint for this call (a queue's own URL).  Raises AwsError;
        retries nothing but a signature that failed because of the clock.
        """
        call = self._prepare(operation, body, timeout, url)
        return (await self._succeed(call, request)).body

    async def events(self, operation: str, body: bytes, *, timeout: float = 30.0) -> EventStream:
        """Call `operation`, which answers with a stream of events; whoever gets it closes it.

        `timeout`: until it begins.  Raises AwsError, as `call` does.
        """
        call = self._prepare(operation, body, timeout, None)
        stream = await self._succeed(call, _stream)
        assert isinstance(stream, HttpStream)
        return EventStream(call.place, stream)

    def _prepare(self, operation: str, body: bytes, timeout: float, url: str | None) -> Call:
        try:
            to = self._service.route if url is None else route(url)
        except PollerError as error:
            raise AwsError(f"{self._service.name} {operation}", "BadUrl", str(error)) from None
        place = f"{self._service.name} {operation} at {to.origin}"
        sign = partial(self._sign, f"{self._service.target}.{operation}", to, body)
        return Call(place, to, body, sign, timeout)

    def _sign(
        self, target: str, to: Route, body: bytes, credentials: Credentials, at: Instant
    ) -> Headers:
        content_type = self._service.content_type
        return self._signer.headers(
            credentials, at, to, body, content_type=content_type, target=target
        )


async def _stream(pool: HttpPool, call: Call, headers: Headers) -> HttpReply | HttpStream:
    return await pool.stream("POST", call.to.path, headers, call.body, timeout=call.timeout)
