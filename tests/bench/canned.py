"""A server that answers from memory, several times faster than any client asks: `canned --port N`.

X-Amz-Target decides (see replies.py).  A request without one is an invocation: a function that does
nothing.  It speaks just enough HTTP/1.1: keep-alive, pipelining, bodies with a Content-Length.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import re
import sys
from collections.abc import Callable
from pathlib import Path

import orjson

from tests.bench.replies import Body, answers
from tests.programs import Program

BUFFER_BYTES_MAX = 64 * 1024 * 1024
TARGET = re.compile(rb"\r\nx-amz-target: *([^\r]+)", re.IGNORECASE)
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nx-amzn-RequestId: "
    b"00000000-0000-4000-8000-000000000000\r\nContent-Length: %d\r\n\r\n"
)
NOTHING = HEAD % 0
UNKNOWN = b'{"__type":"UnknownOperationException"}'
REFUSED = b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n" % len(UNKNOWN) + UNKNOWN

CANNED = Program(
    "canned",
    lambda port: [sys.executable, "-m", "tests.bench.canned", "--port", str(port)],
    lambda _port: {"PYTHONPATH": str(Path(__file__).parents[2])},
)


class Connection(asyncio.Protocol):
    """Answers each request as soon as the last byte of it is here."""

    def __init__(self, known: dict[bytes, Callable[[Body], bytes]]) -> None:
        self._known = known
        self._buffer = bytearray()
        self._wanted = 0  # bytes that the buffer must hold before looking again is of use
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        while len(buffer) >= self._wanted:
            head_end = buffer.find(b"\r\n\r\n")
            if head_end < 0:
                self._wanted = len(buffer) + 1
                return
            head = bytes(buffer[:head_end])
            length = LENGTH.search(head)
            end = head_end + 4 + (int(length[1]) if length else 0)
            if len(buffer) < end:
                self._wanted = end
                return
            target = TARGET.search(head)
            self._answer(target[1] if target else None, bytes(buffer[head_end + 4 : end]))
            del buffer[:end]
            self._wanted = 1

    def _answer(self, target: bytes | None, body: bytes) -> None:
        if target is None:
            self._transport.write(NOTHING)
        elif target in self._known:
            reply = self._known[target](orjson.loads(body))
            self._transport.writelines([HEAD % len(reply), reply])
        else:
            self._transport.write(REFUSED)


async def serve(port: int) -> None:
    """Until the process is ended."""
    known = answers(f"http://127.0.0.1:{port}")
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(known), "127.0.0.1", port)
    gc.freeze()
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
