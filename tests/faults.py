"""A proxy in front of a real server that throttles, delays, cuts and resets as a test says.

    with faulty(url) as proxy:
        proxy.inject(throttled(), on="GetRecords", skip=1, times=3)
        client = aws("kinesis", proxy.url)

Calls that no rule names pass through unchanged.  `proxy.calls` lists every call.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.background import Background, background
from tests.http1 import HEAD_BYTES_MAX, Message, close, read_message, reply, reset


@dataclass(frozen=True, slots=True)
class Call:
    """One request: `operation` is what follows the dot in X-Amz-Target, or else the path.

    `at` is on the monotonic clock.
    """

    operation: str
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    at: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer in the server's place; it never sees the call."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reset:
    """Reset the connection; `forwarded`: after the server has done what was asked."""

    forwarded: bool = False


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection without a byte of reply, as a server does with an idle one."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Send the reply's head and this many bytes of its body, then close."""

    body_bytes: int


@dataclass(frozen=True, slots=True)
class Slow:
    """Send the reply in this many pieces with a pause before each."""

    pieces: int
    pause: float


@dataclass(frozen=True, slots=True)
class Delay:
    """Pass the call on after this many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Pass the call on, and the reply's body through `change`, as parsed JSON."""

    change: Callable[[Any], Any]


Fault = Answer | Reset | Close | Cut | Slow | Delay | Rewrite


def refused(code: str, message: str = "injected", *, status: int = 400, **headers: str) -> Answer:
    """An AWS JSON error, such as refused("ExpiredIteratorException")."""
    body = json.dumps({"__type": code, "message": message}).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, body, {"Content-Type": "application/x-amz-json-1.1", **names})


def throttled(code: str = "ProvisionedThroughputExceededException", *, status: int = 400) -> Answer:
    """What Kinesis and DynamoDB Streams say when asked too often."""
    return refused(code, "Rate exceeded", status=status)


@dataclass(slots=True)
class Rule:
    fault: Fault
    on: str | None
    skip: int
    times: int | None  # None: for ever

    def takes(self, call: Call) -> bool:
        """Whether this rule is for this call; counts the calls that match it."""
        if self.on not in (None, call.operation) or self.times == 0:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


class Proxy:
    """One proxy; its methods may be called from any thread."""

    def __init__(self, upstream: str, runner: Background) -> None:
        parts = urlsplit(upstream)
        assert parts.hostname is not None
        assert parts.port is not None
        self._upstream = (parts.hostname, parts.port)
        self._runner = runner
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._script: Callable[[Call], Fault | None] | None = None
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        # A task that waits for the server alone, its client gone, is known to nobody else.
        self._serving: set[asyncio.Task[None] | None] = set()
        self._port = 0
        self.calls: list[Call] = []
        self.up()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def inject(
        self, fault: Fault, *, on: str | None = None, skip: int = 0, times: int | None = 1
    ) -> None:
        """From now on let `skip` calls of the operation `on` pass, then do this to `times`.

        `on=None` means any operation, `times=None` for ever.  Of several rules the first that
        takes a call decides.
        """
        with self._lock:
            self._rules.append(Rule(fault, on, skip, times))

    def script(self, decide: Callable[[Call], Fault | None]) -> None:
        """Let `decide` say what happens to calls that no rule takes (None: pass them on)."""
        self._script = decide

    def heal(self) -> None:
        """Forget all rules and the script."""
        with self._lock:
            self._rules.clear()
        self._script = None

    def count(self, operation: str) -> int:
        """How many calls of this operation have come."""
        return sum(call.operation == operation for call in self.calls)

    def down(self) -> None:
        """Refuse connections and reset the open ones, until `up`."""
        self._runner.run(self._close())

    def up(self) -> None:
        """Accept connections, on the same port as before."""
        self._runner.run(self._open())

    async def _open(self) -> None:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self._port, limit=HEAD_BYTES_MAX
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for writer in tuple(self._writers):
            reset(writer)
        await self._server.wait_closed()
        self._server = None

    def _fault_for(self, call: Call) -> Fault | None:
        with self._lock:
            self.calls.append(call)
            for rule in self._rules:
                if rule.takes(call):
                    return rule.fault
        return self._script(call) if self._script else None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self._serving.add(asyncio.current_task())
        try:
            while (request := await read_message(reader)) is not None:
                exchange = Exchange(request, writer, self._upstream)
                if not await exchange.perform(self._fault_for(_call(request))):
                    break
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # either side went away, or the test is over
        finally:
            self._writers.discard(writer)
            await close(writer)
            self._serving.discard(asyncio.current_task())


@contextlib.contextmanager
def faulty(upstream: str) -> Iterator[Proxy]:
    """A proxy in front of the server at `upstream` (http://HOST:PORT)."""
    with background() as runner:
        proxy = Proxy(upstream, runner)
        try:
            yield proxy
        finally:
            proxy.down()


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request on its way to the server, and its reply on the way back."""

    request: Message
    client: asyncio.StreamWriter
    upstream: tuple[str, int]

    async def perform(self, fault: Fault | None) -> bool:
        """Do the exchange under `fault`; whether the connection goes on."""
        match fault:
            case None:
                await self._send((await self._forward()).encode())
            case Delay(seconds):
                await asyncio.sleep(seconds)
                await self._send((await self._forward()).encode())
            case Slow(pieces, pause):
                await self._send_slowly((await self._forward()).encode(), pieces, pause)
            case Rewrite(change):
                real = await self._forward()
                body = json.dumps(change(json.loads(real.body))).encode()
                await self._send(real.with_body(body).encode())
            case Answer(status, body, headers):
                await self._send(reply(status, body, headers).encode())
            case Cut(body_bytes):
                real = await self._forward()
                await self._send(real.head() + real.body[:body_bytes])
                return False
            case Reset(forwarded):
                if forwarded:
                    await self._forward()
                reset(self.client)
                return False
            case Close():
                return False
        return True

    async def _forward(self) -> Message:
        # A connection for each call: a kept one might be closed by the server just now, and that
        # would be a fault which no test has asked for.
        reader, writer = await asyncio.open_connection(*self.upstream, limit=HEAD_BYTES_MAX)
        try:
            writer.write(self.request.encode())
            answer = await read_message(
                reader, bodiless=self.request.first_line.startswith("HEAD ")
            )
        finally:
            await close(writer)
        if answer is None:
            raise ConnectionResetError("the server closed the connection")
        return answer

    async def _send(self, data: bytes) -> None:
        self.client.write(data)
        await self.client.drain()

    async def _send_slowly(self, data: bytes, pieces: int, pause: float) -> None:
        size = -(-len(data) // pieces)
        for start in range(0, len(data), size):
            await asyncio.sleep(pause)
            await self._send(data[start : start + size])


def _call(request: Message) -> Call:
    path = request.first_line.split(" ")[1]
    target = request.headers.get("x-amz-target")
    operation = target.rpartition(".")[2] if target else path
    return Call(operation, request.headers, request.body, time.monotonic())
