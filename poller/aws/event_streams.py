"""Replies that are streams of events (application/vnd.amazon.eventstream), one event at a time."""

from __future__ import annotations

import asyncio
import struct
from typing import Any, NamedTuple

from botocore.eventstream import EventStreamBuffer, EventStreamMessage, ParserError

from poller.core.model import Seconds
from poller.transport.http1 import HttpError, HttpStream

from .failures import AwsError, said, unanswered

# Besides its own errors, botocore lets these out on frames whose checksums are right.
_UNREADABLE = (ParserError, struct.error, KeyError, ValueError)


class Event(NamedTuple):
    """`fresh`: it was sent after it was asked for, so that nothing can be on its way before it."""

    kind: str
    payload: bytes
    fresh: bool


class EventStream:
    """Reads the events of one reply; what is not asked for holds the server up.

    Frames are parsed, and their checksums checked, by botocore.
    """

    def __init__(self, place: str, stream: HttpStream) -> None:
        self._place = place
        self._stream = stream
        self._frames: Any = EventStreamBuffer()
        self._unparsed = 0  # bytes of a frame that is not whole yet

    async def next(self, *, silence_max: Seconds) -> Event | None:
        """The next event; None once the stream has ended in an orderly way.

        Raises AwsError: with the code of an exception that the server sends as an event;
        ConnectionLost, Garbled, or TimedOut after `silence_max` without a byte.  May be cancelled
        at any time, without losing an event.
        """
        message, fresh = self._parse(), False
        if message is None:
            fresh = not self._unparsed
        while message is None:
            chunk = await self._take(silence_max)
            if not chunk:
                if self._unparsed:
                    raise AwsError(self._place, "ConnectionLost", "it ended within an event")
                return None
            self._unparsed += len(chunk)
            self._frames.add_data(chunk)
            message = self._parse()
        return self._event(message, fresh and not self._stream.held_up)

    def close(self) -> None:
        self._stream.abort()

    async def _take(self, silence_max: Seconds) -> bytes:
        try:
            async with asyncio.timeout(silence_max):
                return await self._stream.take()
        except TimeoutError:
            why = f"not a byte for {silence_max:g} s"
            raise AwsError(self._place, "TimedOut", why) from None
        except HttpError as error:
            raise unanswered(self._place, error) from None

    def _parse(self) -> EventStreamMessage | None:
        try:
            message = next(self._frames, None)
        except _UNREADABLE as error:
            why = " ".join(str(error).split()) or type(error).__name__
            raise AwsError(self._place, "Garbled", f"not an event stream: {why}") from None
        if message is not None:
            self._unparsed -= message.prelude.total_length
        return message

    def _event(self, message: EventStreamMessage, fresh: bool) -> Event:
        headers = {name: str(value) for name, value in message.headers.items()}
        match headers.get(":message-type"):
            case "exception":
                raise said(self._place, headers.get(":exception-type", ""), message.payload)
            case "error":
                code = headers.get(":error-code", "InternalFailure")
                raise AwsError(self._place, code, headers.get(":error-message", ""))
        return Event(headers.get(":event-type", ""), message.payload, fresh)
