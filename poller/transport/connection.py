"""One connection: a request is written in one piece, then its response is awaited."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from poller.transport.errors import (
    BodyTooLarge,
    Garbled,
    HttpError,
    TimedOut,
    cut,
    describe,
)
from poller.transport.response import HttpReply, Malformed, Response, TooLarge

JOINED_BODY_BYTES_MAX = 16 * 1024  # up to here one copy is cheaper than a second buffer
PROBE_AFTER = 60  # seconds of silence after which TCP asks whether the peer is still there
HINT_MARGIN = 1.0  # a server closes its idle connection at the hinted time, not after it


class Connection(asyncio.Protocol):
    """Carries one exchange at a time; any cut, cancellation or error closes it for good.

    `exchanges` counts the finished ones.  `usable`: it may carry another one.  `keep_until`: the
    moment of the loop's time up to which it may wait for one.  `on_lost` is called once, when
    the socket is gone.
    """

    def __init__(
        self, origin: str, loop: asyncio.AbstractEventLoop, on_lost: Callable[[Connection], None]
    ) -> None:
        self.exchanges = 0
        self.usable = True
        self.keep_until = 0.0
        self._origin = origin
        self._loop = loop
        self._on_lost = on_lost
        self._waiter: asyncio.Future[HttpReply] | None = None
        self._response: Response | None = None
        self._transport: asyncio.Transport

    async def exchange(
        self, head: bytes, body: bytes, response: Response, *, timeout: float, idle_max: float
    ) -> HttpReply:
        """Write a request and wait for `response` to be complete.

        `timeout`: seconds from now; `idle_max`: for which the connection is kept afterwards.
        Raises ConnectionLost, TimedOut, Garbled.  Cancelling it closes the connection.
        """
        assert self._waiter is None
        if self._transport.is_closing():
            raise cut(self._origin, "closed", unanswered=True)
        self._response = response
        waiter: asyncio.Future[HttpReply] = self._loop.create_future()
        self._waiter = waiter
        timer = self._loop.call_later(timeout, self._time_out, timeout)
        if len(body) <= JOINED_BODY_BYTES_MAX:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))
        try:
            reply = await waiter
        except BaseException:
            self.abort()
            if waiter.done() and not waiter.cancelled():
                waiter.exception()  # it lost a race against a cancellation; nobody else will look
            raise
        finally:
            timer.cancel()
            self._waiter = self._response = None
        self.exchanges += 1
        self._rest(response, idle_max)
        return reply

    def abort(self) -> None:
        """Close at once; what was not sent yet never will be."""
        self.usable = False
        self._transport.abort()

    def _rest(self, response: Response, idle_max: float) -> None:
        """Become idle, if both ends are through with the exchange; else close."""
        hint = response.idle_hint
        keep = idle_max if hint is None else min(idle_max, hint - HINT_MARGIN)
        unsent = self._transport.get_write_buffer_size()  # answered before it was all read
        if not response.keep_alive or keep <= 0 or unsent or self._transport.is_closing():
            self.abort()
        else:
            self.keep_until = self._loop.time() + keep

    def _time_out(self, timeout: float) -> None:
        self._fail(TimedOut(f"{self._origin} gave no whole response within {timeout:g} s"))

    def _fail(self, error: HttpError) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
        self.abort()

    def _succeed(self, response: Response) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(response.reply)

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        tune(transport)

    def data_received(self, data: bytes) -> None:
        response = self._response
        if response is None or response.complete:
            self.abort()  # bytes that nobody asked for
            return
        try:
            complete = response.feed(data)
        except Malformed as error:
            self._fail(Garbled(f"{self._origin} answered what is not HTTP: {error}"))
        except TooLarge:
            self._fail(BodyTooLarge(f"{self._origin} answered with too large a body"))
        else:
            if complete:
                self._succeed(response)

    def eof_received(self) -> None:
        response = self._response
        if response is not None and not response.complete:
            if response.end():
                self._succeed(response)
            else:
                self._fail(cut(self._origin, "closed", unanswered=not response.started))
        self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self.usable = False
        response = self._response
        if response is not None and not response.complete:
            why = "closed" if error is None else describe(error)
            self._fail(cut(self._origin, why, unanswered=not response.started))
        self._on_lost(self)


def tune(transport: asyncio.BaseTransport) -> None:
    """Send at once, and notice a peer that is gone."""
    sock = transport.get_extra_info("socket")
    with suppress(OSError):  # some systems say so here if the peer has already gone
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):  # not on every system
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_AFTER)
