"""The lean client for hot calls: a signed JSON request in, the reply's bytes or an AwsError out.

A call costs a tenth of what a full SDK client takes, because nothing is modelled: the caller
brings the request's JSON and decodes the reply's.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

from poller.core.model import Instant, Seconds
from poller.errors import PollerError
from poller.transport.http1 import HttpError, HttpPool, HttpReply, HttpStream

from .credentials import CredentialSource
from .endpoints import Service, is_loopback, proxy_for
from .event_streams import EventStream
from .failures import NO_CREDENTIALS, AwsError, refused, unanswered
from .signing import Credentials, Route, Signer, route

__all__ = ["AwsError", "JsonClient"]

ORIGINS_MAX = 16  # the service's endpoint, and the hosts that queue URLs name
CONNECTIONS_MAX = 256  # of short calls to one origin; a long poll has a connection to itself
SKEW_MIN: Seconds = 60.0  # signatures hold for five minutes; less than this was not the reason
UNWRITABLE = "the credentials cannot stand in a request; look for blanks or line ends in them"
_SKEW_CODES = frozenset(
    {
        "InvalidSignatureException",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
    }
)


class _Call(NamedTuple):
    place: str  # service, operation and endpoint, for messages
    target: str
    to: Route
    body: bytes
    timeout: Seconds


AnyReply = TypeVar("AnyReply", HttpReply, HttpReply | HttpStream)
_Send = Callable[[HttpPool, _Call, Sequence[tuple[str, str]]], Awaitable[AnyReply]]


class JsonClient:
    """Calls one AWS service of the JSON protocols; `AwsSession.json_client` makes and closes it.

    Signs with `wall_clock`, corrected by the server's own Date once a signature failed because
    of the clock.
    """

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
        self._service = service
        self._credentials = credentials
        self._signer = Signer(service.signed_as, region)
        self._tls = tls
        self._wall_clock = wall_clock
        self._connections_max = None if long_poll else CONNECTIONS_MAX
        self._skew: Seconds = 0.0
        self._last_date: str | None = None
        self._pools: dict[str, HttpPool] = {}
        self._opening = asyncio.Lock()
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pools.clear()
        await self._open.aclose()

    @property
    def endpoint(self) -> str:
        """Where calls go, for messages."""
        return self._service.route.origin

    @property
    def last_date(self) -> Instant | None:
        """The server's own time (its Date header) when it last replied; whole seconds."""
        return _instant(self._last_date)

    async def call(
        self, operation: str, body: bytes, *, timeout: float = 30.0, url: str | None = None
    ) -> bytes:
        """Call `operation` with the JSON `body` and return the reply's JSON.

        `url` replaces the service's endpoint for this call (a queue's own URL).  Raises AwsError;
        retries nothing but a signature that failed because of the clock.
        """
        call = self._prepare(operation, body, timeout, url)
        return (await self._succeed(call, _request)).body

    async def events(self, operation: str, body: bytes, *, timeout: float = 30.0) -> EventStream:
        """Call `operation`, which answers with a stream of events; whoever gets it closes it.

        `timeout`: until it begins.  Raises AwsError, as `call` does.
        """
        call = self._prepare(operation, body, timeout, None)
        stream = await self._succeed(call, _stream)
        assert isinstance(stream, HttpStream)
        return EventStream(call.place, stream)

    async def _succeed(self, call: _Call, send: _Send[AnyReply]) -> AnyReply:
        """What `send` gets, whose status is 200."""
        credentials = self._credentials.fresh() or await self._find(call)
        signed_at = self._wall_clock() + self._skew
        reply = await self._exchange(call, credentials, signed_at, send)
        if not isinstance(reply, HttpReply) or reply.status == 200:
            return reply
        error = refused(call.place, reply, credentials)
        if error.code in _SKEW_CODES and self._learned_skew(reply, signed_at):
            signed_at = self._wall_clock() + self._skew
            reply = await self._exchange(call, credentials, signed_at, send)
            if not isinstance(reply, HttpReply) or reply.status == 200:
                return reply
            error = refused(call.place, reply, credentials)
        if error.unauthorised:
            self._credentials.distrust()
        raise error

    def _prepare(self, operation: str, body: bytes, timeout: float, url: str | None) -> _Call:
        try:
            to = self._service.route if url is None else route(url)
        except PollerError as error:
            raise AwsError(f"{self._service.name} {operation}", "BadUrl", str(error)) from None
        place = f"{self._service.name} {operation} at {to.origin}"
        return _Call(place, f"{self._service.target}.{operation}", to, body, timeout)

    async def _find(self, call: _Call) -> Credentials:
        try:
            return await self._credentials.find(on_loopback=is_loopback(call.to.origin))
        except PollerError as error:
            raise AwsError(call.place, NO_CREDENTIALS, str(error)) from None

    async def _exchange(
        self, call: _Call, credentials: Credentials, signed_at: Instant, send: _Send[AnyReply]
    ) -> AnyReply:
        headers = self._signer.headers(
            credentials,
            signed_at,
            call.to,
            call.body,
            content_type=self._service.content_type,
            target=call.target,
        )
        pool = self._pools.get(call.to.origin) or await self._pool(call)
        try:
            reply = await send(pool, call, headers)
        except HttpError as error:
            raise unanswered(call.place, error) from None
        except ValueError:  # nothing else in a request comes from outside unchecked
            raise AwsError(call.place, NO_CREDENTIALS, UNWRITABLE) from None
        self._last_date = reply.headers.get("date")
        return reply

    async def _pool(self, call: _Call) -> HttpPool:
        origin = call.to.origin
        async with self._opening:
            if pool := self._pools.get(origin):
                return pool
            if len(self._pools) >= ORIGINS_MAX:
                raise AwsError(call.place, "TooManyHosts", f"more than {ORIGINS_MAX} hosts in use")
            try:
                pool = self._make_pool(origin)
            except (PollerError, ValueError) as error:  # the CA bundle; the proxy's address
                raise AwsError(call.place, "NotConnected", str(error)) from None
            self._pools[origin] = await self._open.enter_async_context(pool)
            return pool

    def _make_pool(self, origin: str) -> HttpPool:
        return HttpPool(
            origin,
            connections_max=self._connections_max,
            ssl=self._tls() if origin.startswith("https:") else None,
            proxy=proxy_for(origin),
        )

    def _learned_skew(self, reply: HttpReply, signed_at: Instant) -> bool:
        """Whether the server's Date explains why it refused what was signed at `signed_at`."""
        date = _instant(reply.headers.get("date"))
        if date is None or abs(date - signed_at) < SKEW_MIN:
            return False
        self._skew = date - self._wall_clock()
        return True


async def _request(pool: HttpPool, call: _Call, headers: Sequence[tuple[str, str]]) -> HttpReply:
    return await pool.request("POST", call.to.path, headers, call.body, timeout=call.timeout)


async def _stream(
    pool: HttpPool, call: _Call, headers: Sequence[tuple[str, str]]
) -> HttpReply | HttpStream:
    return await pool.stream("POST", call.to.path, headers, call.body, timeout=call.timeout)


def _instant(date: str | None) -> Instant | None:
    try:
        return parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return None
