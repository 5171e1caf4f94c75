"""One exchange whose response is read while it comes, on a connection of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from poller.transport.connection import tune
from poller.transport.errors import (
    BodyTooLarge,
    ConnectionLost,
    Garbled,
    HttpError,
    TimedOut,
    cut,
    describe,
)
from poller.transport.response import HttpReply, Malformed, Response, TooLarge

UNTAKEN_BYTES_MAX = 256 * 1024  # beyond these nothing more is read from the socket
LIVE_AFTER = 1.0  # seconds without a byte, after which a peer that was held up is no longer


class HttpStream(asyncio.Protocol):
    """A response of any length; what its reader does not take holds the server up.

    `held_up`: more may be on its way that the peer sent, or wanted to send, a while ago.  `usable`:
    the socket is open.  `on_lost` is called once, when it is gone.
    """

    def __init__(
        self,
        origin: str,
        loop: asyncio.AbstractEventLoop,
        on_lost: Callable[[HttpStream], None],
        response: Response,
    ) -> None:
        self.held_up = False
        self.usable = True
        self._origin = origin
        self._loop = loop
        self._on_lost = on_lost
        self._response = response
        self._error: HttpError | None = None
        self._changed: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport

    async def ask(self, head: bytes, body: bytes, *, timeout: float) -> None:
        """Write a request and wait for the head of the response, up to `timeout` seconds.

        Raises ConnectionLost, TimedOut, Garbled.
        """
        self._transport.write(head + body)
        try:
            async with asyncio.timeout(timeout):
                while not self._response.has_head:
                    self._check()
                    await self._change()
        except TimeoutError:
            self.abort()
            raise TimedOut(f"{self._origin} gave no response within {timeout:g} s") from None
        except BaseException:
            self.abort()
            raise

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> dict[str, str]:
        """As `HttpReply` has them."""
        return self._response.headers

    async def take(self) -> bytes:
        """The next bytes of the body; none once it has ended as it should.

        Raises ConnectionLost and Garbled, after all that came before.  May be cancelled at any
        time, without losing a byte.
        """
        asked_at = self._loop.time()
        while not (taken := self._response.take()):
            if self._response.complete:
                return b""
            self._check()
            await self._change()
        if self._loop.time() - asked_at >= LIVE_AFTER:
            self.held_up = False
        if not self._transport.is_closing():
            self._transport.resume_reading()
        return taken

    async def whole(self, *, timeout: float) -> HttpReply:
        """The rest of the response, if it is short.  Raises ConnectionLost, TimedOut, Garbled."""
        taken = b""
        try:
            async with asyncio.timeout(timeout):
                while chunk := await self.take():
                    taken += chunk
                    if len(taken) > UNTAKEN_BYTES_MAX:
                        raise self._too_large()
        except TimeoutError:
            raise TimedOut(f"{self._origin} gave no whole response within {timeout:g} s") from None
        finally:
            self.abort()
        return HttpReply(self.status, self.headers, taken)

    def abort(self) -> None:
        """Close at once; to be called by whoever has the stream, when done with it."""
        self.usable = False
        self._transport.abort()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
        if self._transport.is_closing():
            raise self._cut("closed")

    async def _change(self) -> None:
        """Return once something has come, or nothing more will."""
        self._changed = self._loop.create_future()
        try:
            await self._changed
        finally:
            self._changed = None

    def _wake(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    def _fail(self, error: HttpError) -> None:
        self._error = self._error or error
        self.abort()
        self._wake()

    def _cut(self, why: str) -> ConnectionLost:
        return cut(self._origin, why, unanswered=not self._response.started)

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"{self._origin} answered with too large a body")

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        tune(transport)

    def data_received(self, data: bytes) -> None:
        response = self._response
        if response.complete or self._error is not None:
            return
        try:
            complete = response.feed(data)
        except Malformed as error:
            self._fail(Garbled(f"{self._origin} answered what is not HTTP: {error}"))
            return
        except TooLarge:  # only where a length is announced: the rest is held up long before
            self._fail(self._too_large())
            return
        if complete:
            self.abort()
        elif response.untaken >= UNTAKEN_BYTES_MAX:
            self.held_up = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        if not self._response.complete and not self._response.end():
            self._fail(self._cut("closed"))
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self.usable = False
        if not self._response.complete and self._error is None:
            self._error = self._cut("closed" if error is None else describe(error))
        self._wake()
        self._on_lost(self)
