"""One HTTP/1.1 response, from the bytes that come to the values that they say; no IO."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import httptools

HEAD_BYTES_MAX = 64 * 1024  # header lines of one response: interim ones and trailers included
QUIET_BYTES_MAX = 4 * HEAD_BYTES_MAX  # bytes in a row that bring neither a head nor a body
KNOWN_NAMES_MAX = 128  # header names that are not decoded anew

KEEP_ALIVE_TIMEOUT = re.compile(r"\btimeout\s*=\s*(\d{1,9})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A whole response.  `headers`: lower-case names; repeated ones are joined with ", "."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Malformed(Exception):
    """What came is not an HTTP response; the text says why."""


class TooLarge(Exception):
    """The body is larger than was asked for."""


class Response:
    """Takes the bytes of a response until it is `complete`; then `reply` is there.

    Interim responses (1xx) are passed over.  The body ends as RFC 9112 section 6.3 says: at once
    for an answer to HEAD, 204 and 304, after the last chunk, after Content-Length bytes, or when
    the peer closes.  A transfer coding other than chunked was never asked for and is Malformed.
    `started`: something has come.  `keep_alive`: the connection may carry another exchange.
    """

    __slots__ = (
        "_body",
        "_body_bytes_max",
        "_fault",
        "_framed",
        "_head_bytes",
        "_head_complete",
        "_headers",
        "_is_head",
        "_parser",
        "_quiet_bytes",
        "_status",
        "complete",
        "keep_alive",
        "started",
    )

    def __init__(self, *, is_head: bool, body_bytes_max: int) -> None:
        self.started = False
        self.complete = False
        self.keep_alive = False
        self._is_head = is_head
        self._body_bytes_max = body_bytes_max
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body: bytes | bytearray = b""
        self._framed = False  # the head says where the body ends
        self._head_complete = False
        self._head_bytes = 0
        self._quiet_bytes = 0
        self._fault: Malformed | TooLarge | None = None
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; whether it is complete now, after which nothing may be fed.

        Raises Malformed and TooLarge.
        """
        self.started = True
        self._quiet_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if self.complete:
                self.keep_alive = False  # bytes that nobody asked for follow the response
            elif self._fault is None:
                self._fault = Malformed(str(error))
        if self.complete:
            return True
        if self._fault is None and self._quiet_bytes > QUIET_BYTES_MAX:
            self._fault = Malformed(f"more than {QUIET_BYTES_MAX} bytes without head or body")
        if self._fault is not None:
            raise self._fault
        return False

    def end(self) -> bool:
        """The peer closed in an orderly way: whether that is the end of the body."""
        self.complete = self._head_complete and not self._framed
        return self.complete

    @property
    def has_head(self) -> bool:
        """Whether `status` and `headers` are there."""
        return self._head_complete

    @property
    def status(self) -> int:
        return self._status

    @property
    def headers(self) -> dict[str, str]:
        """Lower-case names; repeated ones are joined with ", "."""
        return self._headers

    @property
    def untaken(self) -> int:
        """The bytes of the body that have come and were not taken yet."""
        return len(self._body)

    def take(self) -> bytes:
        """Remove and return what has come of the body; the bound is on what is not taken."""
        taken, self._body = bytes(self._body), b""
        return taken

    @property
    def reply(self) -> HttpReply:
        assert self.complete
        return HttpReply(self._status, self._headers, bytes(self._body))

    @property
    def idle_hint(self) -> float | None:
        """The seconds for which the server says it keeps an idle connection, if it says so."""
        hint = KEEP_ALIVE_TIMEOUT.search(self._headers.get("keep-alive", ""))
        return float(hint[1]) if hint else None

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self.complete:
            self.keep_alive = False  # another response, to no request

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + 4  # with ": " and the line's end
        if self._head_bytes > HEAD_BYTES_MAX:
            self._fault = self._fault or Malformed(f"a head of more than {HEAD_BYTES_MAX} bytes")
        if self._head_complete or self._fault is not None:
            return  # a trailer, or nothing matters any more
        key, text = known_name(name), value.decode("latin-1").strip(" \t")
        earlier = self._headers.get(key)
        self._headers[key] = text if earlier is None else f"{earlier}, {text}"

    def on_headers_complete(self) -> None:
        if self.complete or self._fault is not None:
            return
        status = self._parser.get_status_code()
        if status < 100 or status == 101:
            self._fault = Malformed(f"status {status:03}, which no request here asks for")
        elif status < 200:
            self._headers.clear()
        else:
            self._status = status
            self._head_complete = True
            self._quiet_bytes = 0
            self._frame_body()

    def _frame_body(self) -> None:
        """Find where the body ends, as far as the head says."""
        coding = self._headers.get("transfer-encoding")
        length = self._headers.get("content-length")
        bodiless = self._is_head or self._status in (204, 304)
        self._framed = coding is not None or length is not None or bodiless
        if coding is not None and coding.lower() != "chunked":
            self._fault = Malformed("a transfer coding that was not asked for")
        elif self._is_head:
            self._complete()  # the parser would wait for the body that Content-Length announces
        elif length is not None and not bodiless and int(length) > self._body_bytes_max:
            self._fault = TooLarge()

    def on_body(self, data: bytes) -> None:
        if self.complete:
            self.keep_alive = False  # a body in answer to HEAD
        elif self._fault is None:
            self._quiet_bytes = 0
            if len(self._body) + len(data) > self._body_bytes_max:
                self._fault = TooLarge()
            elif not self._body:
                self._body = data  # most bodies come in one piece
            else:
                if isinstance(self._body, bytes):
                    self._body = bytearray(self._body)
                self._body += data

    def on_message_complete(self) -> None:
        if self._head_complete and self._fault is None and not self.complete:
            self._complete()

    def _complete(self) -> None:
        self.complete = True
        self.keep_alive = self._parser.should_keep_alive()


@lru_cache(KNOWN_NAMES_MAX)
def known_name(name: bytes) -> str:
    """The header's name in lower case."""
    return name.decode("latin-1").lower()
