"""Where requests go: an origin, perhaps by way of a proxy."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}
VISIBLE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Origin:
    """`host`: a name or an address, IPv6 without brackets."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """As in the Host header: without the scheme's own port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def host_port(self) -> str:
        """As CONNECT wants it: always with the port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


@dataclass(frozen=True, slots=True)
class Proxy:
    """`authorization`: the value of Proxy-Authorization; None if the proxy asks for none."""

    origin: Origin
    authorization: str | None


def parse_origin(text: str) -> Origin:
    """`text`: "scheme://host[:port]" with http or https.  Raises ValueError."""
    parts = split(text)
    if parts.username is not None or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("an origin is scheme://host:port and nothing else")
    return origin_of(parts)


def parse_proxy(text: str) -> Proxy:
    """`text`: "http://[user:password@]host[:port]".  Raises ValueError."""
    parts = split(text)
    if parts.scheme != "http":
        raise ValueError("a proxy is http://host:port; others are not supported")
    return Proxy(origin_of(parts), basic_authorization(parts))


def split(text: str) -> SplitResult:
    """Split a URL; raises ValueError, whose text never shows the userinfo."""
    if not VISIBLE.fullmatch(text):
        raise ValueError("a URL has no blanks, control characters or letters beyond ASCII")
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - only reading it checks it
    except ValueError:
        raise ValueError("a URL names a host, perhaps with a port up to 65535") from None
    return parts


def origin_of(parts: SplitResult) -> Origin:
    """The origin in a URL.  Raises ValueError."""
    if parts.scheme not in DEFAULT_PORTS:
        raise ValueError("a URL begins with http:// or https://")
    if not parts.hostname or parts.port == 0:
        raise ValueError("a URL names a host, and no port 0")
    return Origin(parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS[parts.scheme])


def basic_authorization(parts: SplitResult) -> str | None:
    """The userinfo of a URL as the value of an Authorization header; None if it has none."""
    if parts.username is None:
        return None
    credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return "Basic " + base64.b64encode(credentials.encode()).decode()
