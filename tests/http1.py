"""Whole HTTP/1.1 messages on asyncio streams: as much of the protocol as a proxy needs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

HEAD_BYTES_MAX = 64 * 1024
BODY_BYTES_MAX = 64 * 1024 * 1024
LINGER_NOT = struct.pack("ii", 1, 0)  # close() then sends a reset


@dataclass(frozen=True, slots=True)
class Message:
    """A request or a reply; header names in lower case, the body without its framing."""

    first_line: str
    headers: Mapping[str, str]
    body: bytes

    def head(self) -> bytes:
        """The first line and the headers, as sent."""
        lines = [self.first_line, *(f"{name}: {value}" for name, value in self.headers.items())]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def encode(self) -> bytes:
        return self.head() + self.body

    def with_body(self, body: bytes) -> Message:
        """The same with another body, and without the checksum of the old one."""
        headers = {name: value for name, value in self.headers.items() if "crc32" not in name}
        return Message(self.first_line, {**headers, "content-length": str(len(body))}, body)


def reply(status: int, body: bytes, headers: Mapping[str, str]) -> Message:
    lower = {name.lower(): value for name, value in headers.items()}
    first_line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"
    return Message(first_line, {**lower, "content-length": str(len(body))}, body)


async def read_message(reader: asyncio.StreamReader, *, bodiless: bool = False) -> Message | None:
    """The next message, its chunks joined; None at the end of the stream.

    `bodiless`: it answers a HEAD, so it has no body whatever its headers say.
    Raises asyncio.IncompleteReadError if it ends half way.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as end:
        if not end.partial:
            return None
        raise
    first_line, *lines = head.decode("latin-1")[:-4].split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    if bodiless:
        return Message(first_line, headers, b"")
    if headers.get("transfer-encoding", "").lower() == "chunked":
        del headers["transfer-encoding"]
        body = await _chunks(reader)
        return Message(first_line, {**headers, "content-length": str(len(body))}, body)
    length = int(headers.get("content-length", "0"))
    assert length <= BODY_BYTES_MAX, f"a body of {length} bytes"
    return Message(first_line, headers, await reader.readexactly(length))


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while True:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        if size == 0:
            await reader.readuntil(b"\r\n")
            return bytes(body)
        body += await reader.readexactly(size)
        assert len(body) <= BODY_BYTES_MAX, f"a body of more than {BODY_BYTES_MAX} bytes"
        await reader.readexactly(2)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close the connection at once, so that the other side sees a reset."""
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:  # else it is closed already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
    writer.transport.abort()


async def close(writer: asyncio.StreamWriter) -> None:
    """Close the connection and wait until it is, whatever became of the other side."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
