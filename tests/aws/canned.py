"""An AWS-like server of the tests' own: every call is answered by one function, and remembered.

async with canned(lambda call: {"Records": []}) as server:
    ... server.url ... server.calls
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.http1 import close, read_message, reply


@dataclass(frozen=True, slots=True)
class Call:
    """`operation` is what follows the dot in X-Amz-Target; header names are in lower case."""

    operation: str
    line: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Says:
    """A reply that is more than a 200 with JSON."""

    body: bytes = b"{}"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def error(code: str, message: str = "injected", *, status: int = 400, **headers: str) -> Says:
    body = json.dumps({"__type": code, "message": message}).encode()
    return Says(body, status, {name.replace("_", "-"): text for name, text in headers.items()})


Answer = Says | dict[str, Any] | None  # None: no answer at all, until the client gives up


@dataclass(slots=True)
class Canned:
    answer: Callable[[Call], Answer]
    url: str = ""
    calls: list[Call] = field(default_factory=list)

    @property
    def operations(self) -> list[str]:
        return [call.operation for call in self.calls]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (message := await read_message(reader)) is not None:
                target = message.headers.get("x-amz-target", "").rpartition(".")[2]
                call = Call(target, message.first_line, message.headers, message.body)
                self.calls.append(call)
                answer = self.answer(call)
                if answer is None:
                    await reader.read()
                    return
                says = answer if isinstance(answer, Says) else Says(json.dumps(answer).encode())
                writer.write(reply(says.status, says.body, says.headers).encode())
                await writer.drain()
        except ConnectionError:
            return
        finally:
            await close(writer)


@contextlib.asynccontextmanager
async def canned(answer: Callable[[Call], Answer]) -> AsyncIterator[Canned]:
    """A server on a free port of loopback until the block ends."""
    server = Canned(answer)
    async with asyncio.TaskGroup() as connections:
        tasks: list[asyncio.Task[None]] = []
        serving = await asyncio.start_server(
            lambda *streams: tasks.append(connections.create_task(server.serve(*streams))),
            "127.0.0.1",
            0,
        )
        server.url = f"http://127.0.0.1:{serving.sockets[0].getsockname()[1]}"
        try:
            yield server
        finally:
            serving.close()
            for task in tasks:
                task.cancel()
