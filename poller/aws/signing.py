"""Signature Version 4: how a request is signed, and a signer of POSTs."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from poller.core.model import Instant
from poller.errors import PollerError

ALGORITHM = "AWS4-HMAC-SHA256"
TERMINATOR = "aws4_request"
ROUTES_KEPT_MAX = 1024  # one for each queue URL in use
_VISIBLE = re.compile(r"[\x21-\x7e]+\Z")
_PORTS = {"http": 80, "https": 443}


class Credentials(NamedTuple):
    """What signs a request; `token` belongs to temporary credentials."""

    access_key: str
    secret_key: str
    token: str | None

    def __repr__(self) -> str:
        return f"Credentials({self.access_key})"


class Route(NamedTuple):
    """A URL taken apart once: where to connect, what to ask for, and how both are signed."""

    origin: str  # scheme://host:port
    host: str  # as the Host header says it: without a default port
    path: str  # with the query, if there is one
    canonical_path: str
    canonical_query: str = ""

    def below(self, path: str, query: Sequence[tuple[str, str]] = ()) -> Route:
        """The route of `path`, which begins with a slash and is encoded, below this one."""
        whole = self.path.rstrip("/") + path
        parts = [f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query]
        asked = f"{whole}?{'&'.join(parts)}" if parts else whole
        signed = "&".join(sorted(parts))
        return Route(self.origin, self.host, asked, canonical_path(whole), signed)


@lru_cache(maxsize=ROUTES_KEPT_MAX)
def route(url: str) -> Route:
    """The route of an http or https `url` without a query.  Raises PollerError."""
    shown = url.rpartition("@")[2]  # without a password
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise PollerError(f"endpoint {shown!r} is not a URL: {error}") from None
    odd = parts.query or parts.fragment or parts.username is not None or not _VISIBLE.match(url)
    if parts.scheme not in _PORTS or not parts.hostname or odd:
        raise PollerError(f"endpoint {shown!r} must look like http://HOST:PORT or https://HOST")
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    host = name if port in (None, _PORTS[parts.scheme]) else f"{name}:{port}"
    path = parts.path or "/"
    return Route(f"{parts.scheme}://{host}", host, path, canonical_path(path))


def canonical_path(path: str) -> str:
    """The path of a request, as it is on the wire, as every service but S3 has it signed."""
    return quote(_without_dots(path), safe="/~", errors="surrogateescape")


def signing_key(secret: str, *, day: str, region: str, service: str) -> bytes:
    """What signs for one service of one region on one day, YYYYMMDD."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, TERMINATOR):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def signature(key: bytes, *, stamp: str, scope: str, canonical_request: bytes) -> str:
    """The signature in hexadecimal; `stamp`: the time as YYYYMMDDTHHMMSSZ."""
    digest = hashlib.sha256(canonical_request).hexdigest()
    to_sign = f"{ALGORITHM}\n{stamp}\n{scope}\n{digest}"
    return hmac.digest(key, to_sign.encode(), "sha256").hex()


def _without_dots(path: str) -> str:
    """`path` with dot segments resolved (RFC 3986, 5.2.4) and empty segments removed."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    last = "/" if path.endswith("/") and kept else ""
    return "/" + "/".join(kept) + last


class Signer:
    """Signs for one service in one region."""

    def __init__(self, service: str, region: str) -> None:
        self._service = service
        self._region = region
        self._key: bytes = b""
        self._key_is_for: tuple[str, str] | None = None  # the day and the secret

    def headers(
        self,
        credentials: Credentials,
        at: Instant,
        to: Route,
        body: bytes,
        *,
        content_type: str,
        target: str,
    ) -> list[tuple[str, str]]:
        """The headers of a signed request of a JSON protocol, without Host and Content-Length.

        What `sign` would make, in two thirds of the time.
        """
        stamp = _stamp(at)
        token = credentials.token
        token_line = f"x-amz-security-token:{token}\n" if token else ""
        names = (
            "content-type;host;x-amz-date;x-amz-security-token;x-amz-target"
            if token
            else "content-type;host;x-amz-date;x-amz-target"
        )
        request = (
            f"POST\n{to.canonical_path}\n\n"
            f"content-type:{content_type}\nhost:{to.host}\nx-amz-date:{stamp}\n{token_line}"
            f"x-amz-target:{target}\n\n{names}\n{hashlib.sha256(body).hexdigest()}"
        )
        authorization = self._authorization(credentials, stamp, names, request)
        headers = [
            ("Content-Type", content_type),
            ("X-Amz-Target", target),
            ("X-Amz-Date", stamp),
            ("Authorization", authorization),
        ]
        if token:
            headers.append(("X-Amz-Security-Token", token))
        return headers

    def sign(
        self,
        credentials: Credentials,
        at: Instant,
        to: Route,
        body: bytes,
        headers: Sequence[tuple[str, str]],
    ) -> list[tuple[str, str]]:
        """`headers`, all of them signed, and those that sign them; no Host, no Content-Length."""
        stamp = _stamp(at)
        sent = [*headers, ("X-Amz-Date", stamp)]
        if credentials.token:
            sent.append(("X-Amz-Security-Token", credentials.token))
        signed = sorted([(name.lower(), value) for name, value in sent] + [("host", to.host)])
        names = ";".join([name for name, _ in signed])
        lines = "".join([f"{name}:{' '.join(value.split())}\n" for name, value in signed])
        request = (
            f"POST\n{to.canonical_path}\n{to.canonical_query}\n"
            f"{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
        )
        sent.append(("Authorization", self._authorization(credentials, stamp, names, request)))
        return sent

    def _authorization(self, credentials: Credentials, stamp: str, names: str, request: str) -> str:
        day = stamp[:8]
        scope = f"{day}/{self._region}/{self._service}/{TERMINATOR}"
        key = self._signing_key(credentials.secret_key, day)
        signed = signature(key, stamp=stamp, scope=scope, canonical_request=request.encode())
        return (
            f"{ALGORITHM} Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={names}, Signature={signed}"
        )

    def _signing_key(self, secret: str, day: str) -> bytes:
        if self._key_is_for != (day, secret):
            self._key = signing_key(secret, day=day, region=self._region, service=self._service)
            self._key_is_for = (day, secret)
        return self._key


def _stamp(at: Instant) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
