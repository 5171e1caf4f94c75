"""Who may ask: whoever signs with one of the access keys, or has the token.

/healthz and /readyz are open to everybody: what probes them has no secrets, and they tell none.
For the rest, where keys or a token are set:

Authorization       answer
AWS4-HMAC-SHA256    403 with AWS's code, unless one of the keys signed it
Bearer              401, unless it is the token
none, or another    where there is no token, and where there are keys and the path is of
                    Lambda's API: 403 with AWS's code; else 401
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Mapping

from aiohttp import web

from poller.aws.signing import ALGORITHM
from poller.core.model import Instant, Seconds
from poller.observe.episodes import Allowance
from poller.wire.problems import one_line

from .guard import ALWAYS_OPEN
from .problems import Handler, problem
from .signatures import INCOMPLETE, Headers, NotSigned, Signature

log = logging.getLogger("poller.http")

HASHED_INLINE_MAX = 128 * 1024  # bytes; more would keep records waiting for a millisecond and more
READING_BYTES_MAX = 128 * 1024 * 1024  # of all bodies whose signatures wait for them
READ_MAX: Seconds = 120.0  # until a body is there
WHY_SHOWN_MAX = 300  # characters of a reason, which may name a header of the request
LINES_PERIOD: Seconds = 60.0  # for one line about requests that were refused

MISSING = "MissingAuthenticationTokenException"

_OF_LAMBDA = re.compile(r"/20\d\d-\d\d-\d\d/")
_PRESIGNED = "X-Amz-Signature"


class NoToken(Exception):
    """A request without the token, of somebody who is no client of AWS's."""


class TooMuch(Exception):
    """So many bytes are being read that no more can be."""


class Access:
    """Everybody's, until `grant` says whose."""

    def __init__(self, now: Callable[[], Instant]) -> None:
        self._now = now
        self._secrets: Mapping[str, str] = {}
        self._token: bytes | None = None  # its hash, so that times do not tell its length
        self._reading_bytes = 0
        self._lines = Allowance(1, LINES_PERIOD)

    def grant(self, access_keys: Mapping[str, str], token: str | None) -> None:
        """From now on to whoever has one of these; without any, to everybody.

        `access_keys`: secrets by the ids of their keys.
        """
        self._secrets = access_keys
        self._token = None if token is None else _hash(token)

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a request through, or say what it lacks."""
        limited = self._secrets or self._token is not None
        if limited and request.path not in ALWAYS_OPEN:
            try:
                await self._check(request)
            except NotSigned as error:
                self._tell(request, error.message)
                return problem(403, error.message, {"x-amzn-ErrorType": error.code})
            except NoToken as error:
                self._tell(request, str(error))
                return problem(401, str(error), {"WWW-Authenticate": 'Bearer realm="poller"'})
            except (web.RequestPayloadError, TimeoutError):
                return problem(400, "the request body could not be read to its end")
            except TooMuch:
                headers = {"x-amzn-ErrorType": "TooManyRequestsException"}
                return problem(429, "too many large requests are being read", headers)
        return await handler(request)

    async def _check(self, request: web.Request) -> None:
        """Raises NotSigned or NoToken, or what reading the body raises."""
        authorization = ", ".join(request.headers.getall("Authorization", ()))
        scheme, _, rest = authorization.partition(" ")
        if scheme == ALGORITHM:
            await self._check_signature(request, rest)
        elif self._token is not None and scheme.lower() == "bearer":
            if not hmac.compare_digest(_hash(rest.strip()), self._token):
                raise NoToken("this is not the token that auth sets")
        elif self._token is not None and not (self._secrets and _OF_LAMBDA.match(request.path)):
            signed = ", or sign the request (SigV4, service lambda)" if self._secrets else ""
            raise NoToken(f"send the token that auth sets: Authorization: Bearer TOKEN{signed}")
        elif authorization:
            raise NotSigned(INCOMPLETE, f"Authorization must begin with {ALGORITHM}.")
        elif _PRESIGNED in request.query:
            raise NotSigned(
                INCOMPLETE, "A presigned URL is not taken: sign in the Authorization header."
            )
        else:
            raise NotSigned(MISSING, "Missing Authentication Token")

    async def _check_signature(self, request: web.Request, parameters: str) -> None:
        headers = _headers(request)
        signature = Signature.read(parameters, headers, self._now())
        secret = self._secrets.get(signature.key_id)
        signature.check(
            secret,
            method=request.method,
            target=request.raw_path,
            headers=headers,
            # Strangers do not have us read and hash megabytes.
            digest="" if secret is None else await _digest(await self._body(request)),
        )

    async def _body(self, request: web.Request) -> bytes:
        """Read it, within bounds: that its signature is good is not known yet.  Raises TooMuch."""
        size = request.client_max_size
        if request.content_length is not None:
            size = min(size, request.content_length)
        if self._reading_bytes + size > READING_BYTES_MAX:
            raise TooMuch
        self._reading_bytes += size
        try:
            async with asyncio.timeout(READ_MAX):
                return await request.read()
        finally:
            self._reading_bytes -= size

    def _tell(self, request: web.Request, why: str) -> None:
        left_out = self._lines.spend(self._now())
        if left_out is not None:
            more = f"; {left_out} more since the last such line" if left_out else ""
            where = f"{request.method} {one_line(request.path)} from {request.remote}"
            log.warning("refused %s: %s%s", where, one_line(why, WHY_SHOWN_MAX), more)


def _headers(request: web.Request) -> Headers:
    headers = defaultdict(list)
    for name, value in request.headers.items():
        headers[name.lower()].append(value)
    return dict(headers)


async def _digest(body: bytes) -> str:
    if len(body) <= HASHED_INLINE_MAX:
        return hashlib.sha256(body).hexdigest()
    return (await asyncio.to_thread(hashlib.sha256, body)).hexdigest()


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()
