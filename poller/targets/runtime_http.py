"""The HTTP/1.1 that runtimes speak to the Runtime API: requests in, each reply out in one write.

One write and no delay (asyncio sets TCP_NODELAY on every TCP connection) are what make hundreds of
invocations a second possible: headers and body in two packets wait for a delayed acknowledgement.

A connection carries one request at a time.  What breaks HTTP or a bound is answered if it can be,
and the connection ends.  A streamed request is collected; its trailers come with it.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Protocol, cast

import httptools
import msgspec

from poller.core.model import Seconds

BODY_BYTES_MAX = 6 * 1024 * 1024 + 100  # what a function may return (spec 12.2)
HEAD_BYTES_MAX = 2 * 1024 * 1024  # runtimes send X-Ray causes of up to 1 MiB as a header
READ_BYTES_MAX = 64 * 1024 * 1024  # a larger request is cut off instead of read to its end
HEAD_TIME_MAX: Seconds = 30.0  # from when a request begins, or a connection, to its last header
BODY_TIME_MAX: Seconds = 960.0  # as long as a function may run and stream, and a minute

# Ask an idle peer after 10 s and then thrice; wait no longer for one to confirm what it was sent.
_WATCHING = {
    "TCP_KEEPIDLE": 10,
    "TCP_KEEPINTVL": 5,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 25_000,
}

_KEPT_HEADERS = frozenset(
    (
        b"content-type",
        b"expect",
        b"lambda-extension-function-error-type",
        b"lambda-extension-identifier",
        b"lambda-extension-name",
        b"lambda-runtime-function-error-body",
        b"lambda-runtime-function-error-type",
        b"lambda-runtime-function-response-mode",
        b"origin",
        b"sec-fetch-site",
        b"user-agent",
    )
)
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class Ending(Enum):
    """How a connection ended."""

    HERE = "we ended it"
    CLOSED = "the other side closed it"
    BROKEN = "it was reset, or nobody was there any more"


@dataclass(frozen=True, slots=True)
class Request:
    """One whole request; `body` is None if it is larger than the host takes.

    `headers`, and `trailers` behind a streamed body: by lower-case name, only those that the host
    looks at.
    """

    method: bytes
    path: bytes
    headers: dict[bytes, bytes]
    body: bytes | None
    trailers: dict[bytes, bytes]


class Host(Protocol):
    """What connections report to."""

    def opened(self, connection: Connection) -> bool:
        """Whether the connection may stay."""

    def body_max(self, path: bytes) -> int:
        """How many bytes of a body sent to this path are taken."""

    def asked(self, connection: Connection, request: Request) -> None:
        """Answer with `connection.reply`, now or later."""

    def closed(self, connection: Connection, how: Ending) -> None:
        """The connection can take no answer any more."""


class Connection(asyncio.Protocol):
    """One connection of a runtime.

    `peer`: the address of its other end.  `requests`: how many it has carried.
    """

    def __init__(self, host: Host) -> None:
        self.peer = ""
        self.requests = 0
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._began: Seconds | None = self._loop.time()  # the request, or the connection
        self._ended = False
        self._answered = True
        self._in_head = True
        self._body_max: int | None = None
        self._read_bytes = 0
        self._head_bytes = 0  # also of what frames a body, and stands behind it
        self._clear()

    # What the host calls.

    @property
    def sending_to(self) -> bytes:
        """The path of a request whose body is on its way; empty if there is none."""
        return b"" if self._in_head else self._path()

    @property
    def sends_too_much(self) -> bool:
        """Whether that body is larger than what is taken."""
        return self._body_max is not None and self._body_bytes > self._body_max

    def watch(self) -> None:
        """Have it break soon once nobody is there any more, such as a machine that lost power."""
        peer: socket.socket = self._transport.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _WATCHING.items():
            if hasattr(socket, name):  # not on every system
                peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def reply(
        self, status: int, body: bytes, headers: str = "", *, content_type: str = "application/json"
    ) -> None:
        """Answer the request; `headers` are whole lines, each with its CRLF."""
        assert not self._answered, "a request has one answer"
        self._answered = True
        close = "" if self._keep_alive else "Connection: close\r\n"
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {content_type}\r\n"
            f"Content-Length: {len(body)}\r\n{headers}{close}\r\n"
        )
        self._transport.write(head.encode("latin-1", "replace") + body)
        if not self._keep_alive:
            self._end(Ending.HERE)
            self._transport.close()

    def refuse(self, status: int, error_type: str, message: str) -> None:
        """Answer with an error, in the shape of spec 12.2."""
        self.reply(status, error_body(error_type, message))

    def abort(self) -> None:
        """Cut the connection at once."""
        self._end(Ending.HERE)
        self._transport.abort()

    def is_stalled(self, now: Seconds) -> bool:
        """Whether a request takes longer to come than any may; `now` by the loop's clock."""
        limit = HEAD_TIME_MAX if self._in_head else BODY_TIME_MAX
        return self._began is not None and now - self._began > limit

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.peer = peer[0] if peer else ""
        if not self._host.opened(self):
            self.abort()

    def data_received(self, data: bytes) -> None:
        while data and not self._ended:
            self._read_bytes += len(data)
            self._head_bytes += len(data)
            try:
                self._parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as offered:  # another protocol: this one will do
                self._parser = httptools.HttpRequestParser(self)
                data = data[offered.args[0] :]
            except httptools.HttpParserError:
                self._reject(400, "This is not HTTP/1.1 as runtimes speak it.")
        if self._head_bytes > HEAD_BYTES_MAX:
            self._reject(431, "The header is too large.")
        elif self._read_bytes > READ_BYTES_MAX:
            self.abort()

    def eof_received(self) -> None:
        # The transport closes now but says so only later; a reply in between would be lost.
        self._end(Ending.CLOSED)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(Ending.CLOSED if exc is None else Ending.BROKEN)

    # What the parser calls.

    def on_message_begin(self) -> None:
        if not self._answered:  # asked while it waits for its answer
            self.abort()
        self._began = self._loop.time()
        self._clear()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in _KEPT_HEADERS:
            kept = self._headers if self._in_head else self._trailers
            kept[name] = value

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._headers.get(b"expect", b"").lower() == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, part: bytes) -> None:
        self._head_bytes = 0
        self._body_bytes += len(part)
        if self._body_max is None:
            self._body_max = self._host.body_max(self._path())
        if self._body_bytes > self._body_max:
            self._body.clear()
        else:
            self._body.append(part)

    def on_message_complete(self) -> None:
        self._in_head = True
        self._began = None
        self._read_bytes = self._head_bytes = 0
        if self._ended:
            return
        method = self._parser.get_method()
        if self._parser.should_upgrade() and method != b"GET":  # its body has not been read
            self._reject(400, "Leave the header Upgrade out.")
            return
        self._keep_alive = self._parser.should_keep_alive()
        self._answered = False
        self.requests += 1
        body = None if self.sends_too_much else b"".join(self._body)
        self._body.clear()
        request = Request(method, self._path(), self._headers, body, self._trailers)
        self._host.asked(self, request)

    def _clear(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._trailers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._body_max = None  # of this request's body, once there is one
        self._keep_alive = True

    def _path(self) -> bytes:
        return self._url.partition(b"?")[0]

    def _reject(self, status: int, message: str) -> None:
        """End the connection, with an answer unless a request before still waits for its own."""
        if self._ended:
            return
        if not self._answered:
            self.abort()
            return
        self._answered = self._keep_alive = False
        self.refuse(status, "InvalidRequest", message)

    def _end(self, how: Ending) -> None:
        if not self._ended:
            self._ended = True
            self._host.closed(self, how)


def error_body(error_type: str, message: str) -> bytes:
    """An error as the Runtime API and functions write it."""
    return msgspec.json.encode({"errorMessage": message, "errorType": error_type})
