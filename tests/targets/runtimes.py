"""A Lambda runtime that tests play by hand: raw HTTP/1.1 to a Runtime API."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from poller.interfaces import Invocation

ARN = "arn:aws:lambda:us-east-1:123456789012:function:orders"
NEXT = "/2018-06-01/runtime/invocation/next"
INIT_ERROR = "/2018-06-01/runtime/init/error"
TIMEOUT = 10.0  # only a test that fails waits that long


def response_path(request_id: str) -> str:
    return f"/2018-06-01/runtime/invocation/{request_id}/response"


def error_path(request_id: str) -> str:
    return f"/2018-06-01/runtime/invocation/{request_id}/error"


def invocation(
    event: bytes = b"{}", request_id: str | None = None, *, log_tail: bool = False
) -> Invocation:
    """One with a trace id, and an id of its own unless given."""
    trace_id = "Root=1-5759e988-bd862e3f"
    id_ = request_id or str(uuid.uuid4())
    return Invocation(event, id_, ARN, trace_id, log_tail=log_tail)


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply of the Runtime API; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> str:
        """The errorType of an error's body, which has nothing but that and a message."""
        said: dict[str, Any] = json.loads(self.body)
        assert sorted(said) == ["errorMessage", "errorType"]
        return str(said["errorType"])

    @property
    def request_id(self) -> str:
        return self.headers["lambda-runtime-aws-request-id"]


@dataclass(frozen=True, slots=True)
class Runtime:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def ask(self, method: str, path: str, body: bytes = b"", headers: str = "") -> None:
        """Send a request; `headers` are whole lines."""
        length = f"Content-Length: {len(body)}\r\n" if method != "GET" else ""
        self.send(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{length}{headers}\r\n".encode() + body)

    async def answer(self) -> Answer:
        """The next reply."""
        async with asyncio.timeout(TIMEOUT):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status, *lines = head.rstrip().split("\r\n")
            pairs = (line.split(": ", 1) for line in lines)
            headers = {name.lower(): value for name, value in pairs}
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(status.split()[1]), headers, body)

    async def call(self, method: str, path: str, body: bytes = b"", headers: str = "") -> Answer:
        self.ask(method, path, body, headers)
        return await self.answer()

    async def end(self) -> bytes:
        """Everything until the other side closes."""
        async with asyncio.timeout(TIMEOUT):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""

    def reset(self) -> None:
        """Cut the connection without a farewell."""
        self.writer.transport.abort()


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[Runtime]:
    """A runtime's connection to HOST:PORT."""
    host, port = address.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 24)
    try:
        yield Runtime(reader, writer)
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)
