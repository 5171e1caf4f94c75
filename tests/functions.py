"""A function behind HTTP for end-to-end tests: it notes every call and answers as a test says.

with function() as stub:
    config = {"functions": {"orders": {"url": stub.url}}}
    stub.answers = lambda call: Answer(status=503) if call.number < 2 else Answer()
    stub.wait(lambda: len(stub.records) == 100)
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

from aiohttp import web

from tests.background import Background, background
from tests.waiting import TIMEOUT, eventually, soon

BODY_BYTES_MAX = 16 * 1024 * 1024
HOLD_TIMEOUT = 600.0


@dataclass(slots=True)
class Call:
    """One invocation as the function saw it; times are on the monotonic clock."""

    number: int  # from 0, in the order of arrival
    path: str
    headers: Mapping[str, str]  # any case will do
    body: bytes
    started: float
    ended: float | None = None  # None while it runs
    answer: Answer | None = None

    @property
    def event(self) -> Any:
        return json.loads(self.body)

    @property
    def records(self) -> list[Any]:
        """The event's Records, or nothing if it has none."""
        event = self.event
        return list(event.get("Records", [])) if isinstance(event, dict) else []


@dataclass(frozen=True, slots=True)
class Answer:
    """What to reply: after `delay` seconds and, with `after`, not before that is set.

    `body`: bytes as they are, anything else as JSON.  `cut`: close the connection instead, after
    the headers and half of the body, or with nothing sent if there is no body.
    """

    body: Any = b""
    status: int = 200
    delay: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    after: threading.Event | None = None

    def payload(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


def failed_items(*identifiers: str) -> Answer:
    """A partial batch response that names these sequence numbers or message ids."""
    return Answer({"batchItemFailures": [{"itemIdentifier": name} for name in identifiers]})


def errored(error_type: str = "Exception", message: str = "no") -> Answer:
    """A function error."""
    body = {"errorType": error_type, "errorMessage": message}
    return Answer(body, headers={"X-Amz-Function-Error": "Unhandled"})


class Function:
    """A running stub.  `answers` is called in its thread, once per call, and must not block."""

    def __init__(self, answers: Callable[[Call], Answer], runner: Background) -> None:
        self.answers = answers
        self.calls: list[Call] = []
        self.running_max = 0
        self._running = 0
        self._runner = runner
        self._site: web.AppRunner | None = None
        self._port = 0
        self.up()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/"

    @property
    def records(self) -> list[Any]:
        """The records of all calls so far, also of those that failed."""
        return [record for call in tuple(self.calls) for record in call.records]

    @property
    def succeeded(self) -> list[Any]:
        """The records of the calls that were answered with 2xx and without a function error."""
        return [
            record
            for call in tuple(self.calls)
            if call.ended is not None and call.answer is not None and _is_success(call.answer)
            for record in call.records
        ]

    def wait(self, predicate: Callable[[], bool], timeout: float = TIMEOUT) -> None:
        """Return once `predicate` is true; an AssertionError after `timeout` seconds."""
        eventually(lambda: predicate() or None, timeout)

    async def until(self, predicate: Callable[[], bool], timeout: float = TIMEOUT) -> None:
        """`wait` for async tests."""
        await soon(lambda: predicate() or None, timeout)

    def down(self) -> None:
        """Refuse connections, until `up`; what runs is cut off."""
        self._runner.run(self._close())

    def up(self) -> None:
        """Accept connections, on the same port as before."""
        self._runner.run(self._open())

    async def _open(self) -> None:
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._site = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._site.setup()
        await web.TCPSite(self._site, "127.0.0.1", self._port).start()
        self._port = self._site.addresses[0][1]

    async def _close(self) -> None:
        if self._site is not None:
            await self._site.cleanup()
            self._site = None

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        call = Call(len(self.calls), request.path, request.headers, body, time.monotonic())
        self.calls.append(call)
        self._running += 1
        self.running_max = max(self.running_max, self._running)
        try:
            answer = call.answer = self.answers(call)
            await _pause(answer)
        finally:
            self._running -= 1
            call.ended = time.monotonic()
        return await _reply(request, answer)


@contextlib.contextmanager
def function(answers: Callable[[Call], Answer] = lambda _call: Answer()) -> Iterator[Function]:
    """A function that is up until the block ends; by default it succeeds with an empty body."""
    with background() as runner:
        stub = Function(answers, runner)
        try:
            yield stub
        finally:
            stub.down()


async def _pause(answer: Answer) -> None:
    await asyncio.sleep(answer.delay)
    if answer.after is not None:
        await soon(answer.after.is_set, HOLD_TIMEOUT)


async def _reply(request: web.Request, answer: Answer) -> web.StreamResponse:
    payload = answer.payload()
    if not answer.cut:
        return web.Response(body=payload, status=answer.status, headers=answer.headers)
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    if payload:
        response.content_length = len(payload)
        await response.prepare(request)
        await response.write(payload[: len(payload) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


def _is_success(answer: Answer) -> bool:
    names = {name.lower() for name in answer.headers}
    return 200 <= answer.status < 300 and not answer.cut and "x-amz-function-error" not in names
