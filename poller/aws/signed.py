"""A signed request in, the reply or an AwsError out: what the lean clients have in common.

A call costs a tenth of what a full SDK client takes, because nothing is modelled: the caller
brings the request's body and decodes the reply's.
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
from .endpoints import is_loopback, proxy_for
from .failures import NO_CREDENTIALS, AwsError, refused, unanswered
from .signing import Credentials, Route

ORIGINS_MAX = 16  # the service's endpoint, and the hosts that queue URLs name
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

Headers = Sequence[tuple[str, str]]


class Call(NamedTuple):
    """`place`: service, operation and endpoint, for messages.  `sign`: the headers of a request
    that is signed with these credentials at that instant."""

    place: str
    to: Route
    body: bytes
    sign: Callable[[Credentials, Instant], Headers]
    timeout: Seconds


AnyReply = TypeVar("AnyReply", HttpReply, HttpReply | HttpStream)
Send = Callable[[HttpPool, Call, Headers], Awaitable[AnyReply]]


class SignedClient:
    """Calls one AWS service; an async context manager that closes its connections.

    Signs with `wall_clock`, corrected by the server's own Date once a signature failed because
    of the clock.  `connections_max`: to one origin, None without a bound.
    """

    def __init__(
        self,
        to: Route,
        credentials: CredentialSource,
        *,
        tls: Callable[[], ssl.SSLContext],
        wall_clock: Callable[[], Instant],
        connections_max: int | None,
    ) -> None:
        self._to = to
        self._credentials = credentials
        self._tls = tls
        self._wall_clock = wall_clock
        self._connections_max = connections_max
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
        return self._to.origin

    @property
    def last_date(self) -> Instant | None:
        """The server's own time (its Date header) when it last replied; whole seconds."""
        return _instant(self._last_date)

    async def _succeed(self, call: Call, send: Send[AnyReply]) -> AnyReply:
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

    async def _find(self, call: Call) -> Credentials:
        try:
            return await self._credentials.find(on_loopback=is_loopback(call.to.origin))
        except PollerError as error:
            raise AwsError(call.place, NO_CREDENTIALS, str(error)) from None

    async def _exchange(
        self, call: Call, credentials: Credentials, signed_at: Instant, send: Send[AnyReply]
    ) -> AnyReply:
        headers = call.sign(credentials, signed_at)
        pool = self._pools.get(call.to.origin) or await self._pool(call)
        try:
            reply = await send(pool, call, headers)
        except HttpError as error:
            raise unanswered(call.place, error) from None
        except ValueError:  # nothing else in a request comes from outside unchecked
            raise AwsError(call.place, NO_CREDENTIALS, UNWRITABLE) from None
        self._last_date = reply.headers.get("date")
        return reply

    async def _pool(self, call: Call) -> HttpPool:
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


async def request(pool: HttpPool, call: Call, headers: Headers) -> HttpReply:
    """How most calls are sent."""
    return await pool.request("POST", call.to.path, headers, call.body, timeout=call.timeout)


def _instant(date: str | None) -> Instant | None:
    try:
        return parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return None
