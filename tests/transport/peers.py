"""A server that does to each connection what a test says, right or wrong, byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from tests.http1 import Message, close, read_message, reset

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Name: value\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """What follows HEAD, any number of times before END."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@dataclass(slots=True)
class Peer:
    """One accepted connection; `number` counts them from 0."""

    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    requests: list[Message]

    async def request(self) -> Message | None:
        """The next request on this connection; None once the client has closed it."""
        message = await read_message(self.reader)
        if message is not None:
            self.requests.append(message)
        return message

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def gone(self) -> None:
        """Return once the client has closed the connection."""
        with contextlib.suppress(OSError):
            while await self.reader.read(65536):
                pass

    def reset(self) -> None:
        reset(self.writer)


Talk = Callable[[Peer], Awaitable[None]]


@dataclass(slots=True)
class Server:
    """`requests` are all that came, over all `connections`; `open` of them are open now."""

    scheme: str
    port: int = 0
    connections: int = 0
    open: int = 0
    requests: list[Message] = field(default_factory=list)

    @property
    def origin(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"


@contextlib.asynccontextmanager
async def serving(
    talk: Talk, *, context: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[Server]:
    """Run `talk` with each connection, which ends when it returns."""
    server = Server("https" if context else "http")
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        peer = Peer(server.connections, reader, writer, server.requests)
        server.connections += 1
        server.open += 1
        try:
            await talk(peer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client went away, or the test is over
        finally:
            server.open -= 1
            tasks.discard(task)
            await close(writer)

    listener = await asyncio.start_server(accept, host, 0, ssl=context)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listener.wait_closed()


def answering(*replies: bytes) -> Talk:
    """Answer every request of a connection with `replies` in turn, the last one for ever."""

    async def talk(peer: Peer) -> None:
        turn = 0
        while await peer.request() is not None:
            await peer.send(replies[min(turn, len(replies) - 1)])
            turn += 1

    return talk
