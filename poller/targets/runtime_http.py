"""The HTTP/1.1 that runtimes speak to the Runtime API: requests in, each reply out in one write.

One write and no delay (asyncio sets TCP_NODELAY on every TCP connection) are what make hundreds of
invocations a second possible: headers and body in two packets wait for a delayed acknowledgement.

A connection carries one request at a time.  What breaks HTTP or a bound is answered if it can be,
and the connection ends.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol, cast

import httptools
import msgspec

BODY_BYTES_MAX = 6 * 1024 * 1024 + 100  # what a function may return (spec 12.2)
HEAD_BYTES_MAX = 2 * 1024 * 1024  # runtimes send X-Ray causes of up to 1 MiB as a header
READ_BYTES_MAX = 64 * 1024 * 1024  # a larger request is cut off instead of read to its end

_KEPT_HEADERS = frozenset(
    (
        b"expect",
        b"origin",
        b"sec-fetch-site",
        b"lambda-runtime-function-error-type",
        b"lambda-runtime-function-response-mode",
    )
)
_REASONS = {status.value: status.phrase for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Request:
    """One whole request; `body` is None if it is larger than BODY_BYTES_MAX.

    `headers`: by lower-case name, only those that the Runtime API looks at.
    """

    method: bytes
    path: bytes
    headers: dict[bytes, bytes]
    body: bytes | None


class Host(Protocol):
    """What connections report to."""

    def opened(self, connection: Connection) -> bool:
        """Whether the connection may stay."""

    def asked(self, connection: Connection, request: Request) -> None:
        """Answer with `connection.reply`, now or later."""

    def closed(self, connection: Connection, *, unexpected: bool) -> None:
        """The connection can take no answer any more.

        `unexpected`: it broke, or it closed although it had carried several requests.
        """


class Connection(asyncio.Protocol):
    """One connection of a runtime."""

    def __init__(self, host: Host) -> None:
        self._requests = 0
        self._host = host
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._ended = False
        self._answered = True
        self._in_head = True
        self._read_bytes = 0
        self._clear()

    # What the host calls.

    def reply(self, status: int, body: bytes, headers: str = "") -> None:
        """Answer the request; `headers` are whole lines, each with its CRLF."""
        assert not self._answered, "a request has one answer"
        self._answered = True
        close = "" if self._keep_alive else "Connection: close\r\n"
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n{headers}{close}\r\n"
        )
        self._transport.write(head.encode("latin-1", "replace") + body)
        if not self._keep_alive:
            self._end(unexpected=False)
            self._transport.close()

    def refuse(self, status: int, error_type: str, message: str) -> None:
        """Answer with an error, in the shape of spec 12.2."""
        self.reply(status, error_body(error_type, message))

    def abort(self) -> None:
        """Cut the connection at once."""
        self._end(unexpected=False)
        self._transport.abort()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if not self._host.opened(self):
            self.abort()

    def data_received(self, data: bytes) -> None:
        while data and not self._ended:
            self._read_bytes += len(data)
            try:
                self._parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as offered:  # another protocol: this one will do
                self._parser = httptools.HttpRequestParser(self)
                data = data[offered.args[0] :]
            except httptools.HttpParserError:
                self._reject(400, "This is not HTTP/1.1 as runtimes speak it.")
        if self._in_head and self._read_bytes > HEAD_BYTES_MAX:
            self._reject(431, "The header is too large.")
        elif self._read_bytes > READ_BYTES_MAX:
            self.abort()

    def eof_received(self) -> None:
        # The transport closes now but says so only later; a reply in between would be lost.
        self._end(unexpected=self._requests > 1)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(unexpected=exc is not None or self._requests > 1)

    # What the parser calls.

    def on_message_begin(self) -> None:
        if not self._answered:  # asked while it waits for its answer
            self.abort()
        self._clear()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in _KEPT_HEADERS:
            self._headers[name] = value

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._headers.get(b"expect", b"").lower() == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, part: bytes) -> None:
        self._body_bytes += len(part)
        if self._body_bytes > BODY_BYTES_MAX:
            self._body.clear()
        else:
            self._body.append(part)

    def on_message_complete(self) -> None:
        self._in_head = True
        self._read_bytes = 0
        if self._ended:
            return
        method = self._parser.get_method()
        if self._parser.should_upgrade() and method != b"GET":  # its body has not been read
            self._reject(400, "Leave the header Upgrade out.")
            return
        self._keep_alive = self._parser.should_keep_alive()
        self._answered = False
        self._requests += 1
        whole = self._body_bytes <= BODY_BYTES_MAX
        body = b"".join(self._body) if whole else None
        self._body.clear()
        path = self._url.partition(b"?")[0]
        self._host.asked(self, Request(method, path, self._headers, body))

    def _clear(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._keep_alive = True

    def _reject(self, status: int, message: str) -> None:
        """End the connection, with an answer unless a request before still waits for its own."""
        if self._ended:
            return
        if not self._answered:
            self.abort()
            return
        self._answered = self._keep_alive = False
        self.refuse(status, "InvalidRequest", message)

    def _end(self, *, unexpected: bool) -> None:
        if not self._ended:
            self._ended = True
            self._host.closed(self, unexpected=unexpected)


def error_body(error_type: str, message: str) -> bytes:
    """An error as the Runtime API and functions write it."""
    return msgspec.json.encode({"errorMessage": message, "errorType": error_type})
