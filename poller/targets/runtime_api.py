"""Serves the Lambda Runtime API of one function to its runtimes, and invokes the function on them.

A runtime is known by the invocations it takes, not by its connection: some use one connection for
everything, some a fresh one for each call.  So a connection that closes in the middle of an
invocation means that the runtime is gone only if it broke, or if it had carried earlier requests;
whoever owns the runtime's process knows for certain, and says so with `leave`.

An invocation is `queued` until a runtime asks for it, then `taken` until it is answered, and
`late` if it ended without an answer (timed out, cancelled): what still comes for it is ignored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from poller.core.model import Instant, Seconds
from poller.interfaces import Errored, Invocation, NotReached, Ran, Reply

from .runtime_http import BODY_BYTES_MAX, Connection, Request
from .runtime_replies import UNSTATED, exited, reported, timed_out, too_large

QUEUED_MAX = 1000  # invocations that wait for a runtime
CONNECTIONS_MAX = 1000
ENDED_MAX = 100  # invocations remembered after their end, to tell a late answer from a wrong one
PATIENCE: Seconds = 1.0  # how long an invocation waits for a runtime to ask for it
CLOSE_GRACE: Seconds = 0.25  # after a connection closes, for the owner to say what happened

_BASE = b"/2018-06-01/runtime/"
_ACCEPTED = b'{"status":"OK"}\n'


class RuntimeApi:
    """One listening address, at which one function's runtimes ask for invocations.

    A Target in its own right, and an async context manager.  `timeout`: the function's.
    `patience`: how long an invocation waits for a runtime to ask.  `on_next` is called whenever a
    runtime asks for an invocation, `on_init_error` when one reports that it cannot run; it
    returns whether a runtime may report that now.
    """

    def __init__(
        self,
        *,
        timeout: Seconds,
        now: Callable[[], Instant],
        on_init_error: Callable[[Errored], bool],
        on_next: Callable[[], None] = lambda: None,
        patience: Seconds = PATIENCE,
    ) -> None:
        self.address = ""  # HOST:PORT once it is open, as AWS_LAMBDA_RUNTIME_API wants it
        self._timeout = timeout
        self._now = now
        self._on_init_error = on_init_error
        self._on_next = on_next
        self._patience = patience
        self._server: asyncio.Server | None = None
        self._connections: dict[Connection, _Run | None] = {}  # with the run that each took last
        self._waiting: list[Connection] = []
        self._queued: dict[str, _Run] = {}
        self._taken: dict[str, _Run] = {}
        self._late: dict[str, None] = {}
        self._answered: dict[str, None] = {}

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
        await asyncio.sleep(0)  # in which the transports of cut connections close

    async def open(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 is any free one.  Raises OSError."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), host, port)
        bound_host, bound_port = self._server.sockets[0].getsockname()[:2]
        self.address = f"{bound_host}:{bound_port}"

    def close(self) -> None:
        """Stop listening, end every invocation, cut every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.leave("the Runtime API is closed")
        for connection in tuple(self._connections):
            connection.abort()

    @property
    def owing(self) -> bool:
        """Whether a runtime still works on an invocation, also on one that has timed out."""
        return bool(self._taken or self._late)

    async def invoke(self, invocation: Invocation, *, timeout: Seconds | None = None) -> Reply:
        """Run the function once; `timeout` is what is left of the function's, if not all of it.

        NotReached if no runtime asks for it within `patience`.
        """
        if self._server is None:
            return NotReached("the Runtime API is closed")
        if len(self._queued) >= QUEUED_MAX:
            return NotReached(f"{QUEUED_MAX} invocations wait for a runtime", throttled=True)
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        run = _Run(invocation, self._timeout if timeout is None else timeout, reply)
        assert run.id not in self._taken, "an invocation has an id of its own"
        if self._waiting:
            self._hand(self._waiting.pop(), run)
        else:
            self._queued[run.id] = run
            run.timer = reply.get_loop().call_later(self._patience, self._give_up, run)
        try:
            return await reply
        finally:
            self._let_go(run)

    def leave(self, reason: str) -> None:
        """The runtimes are gone: what they had taken has failed, what waits was not reached."""
        for run in self._taken.values():
            run.settle(exited(run.id, reason))
        for run in self._queued.values():
            run.settle(NotReached(reason))
        self._queued.clear()

    # What connections report.

    def opened(self, connection: Connection) -> bool:
        if self._server is None or len(self._connections) >= CONNECTIONS_MAX:
            return False
        self._connections[connection] = None
        return True

    def closed(self, connection: Connection, *, unexpected: bool) -> None:
        run = self._connections.pop(connection, None)
        if connection in self._waiting:
            self._waiting.remove(connection)
        elif run is not None and run.id in self._taken and unexpected:
            reply = exited(run.id, UNSTATED)
            run.left = run.reply.get_loop().call_later(CLOSE_GRACE, run.settle, reply)

    def asked(self, connection: Connection, request: Request) -> None:
        path = request.path
        parts = path.removeprefix(_BASE).split(b"/") if path.startswith(_BASE) else []
        match request.method, parts:
            case _ if b"origin" in request.headers or b"sec-fetch-site" in request.headers:
                connection.refuse(403, "Forbidden", "A web page is no runtime.")
            case b"GET", [b"invocation", b"next"]:
                self._next(connection)
            case b"POST", [b"invocation", request_id, b"response" | b"error" as kind]:
                self._answer(connection, request, request_id, failed=kind == b"error")
            case b"POST", [b"init", b"error"]:
                self._init_error(connection, request)
            case (
                _,
                [b"invocation", b"next"]
                | [b"invocation", _, b"response" | b"error"]
                | [b"init", b"error"],
            ):
                connection.refuse(405, "MethodNotAllowed", "The method is not allowed here.")
            case _:
                connection.refuse(404, "NotFound", "The Runtime API has no such path.")

    # What requests do.

    def _next(self, connection: Connection) -> None:
        before = self._connections[connection]
        if before is not None:  # its runtime is through with it, whatever came of it
            before.settle(exited(before.id, "Runtime asked for the next event before it answered"))
            self._taken.pop(before.id, None)
            self._late.pop(before.id, None)
            self._connections[connection] = None
        run = self._oldest_queued()
        if run is None:
            self._waiting.append(connection)
        else:
            self._hand(connection, run)
        self._on_next()

    def _oldest_queued(self) -> _Run | None:
        while self._queued:
            run = self._queued.pop(next(iter(self._queued)))
            if not run.reply.done():  # it was not cancelled a moment ago
                return run
        return None

    def _hand(self, connection: Connection, run: _Run) -> None:
        run.stop_timers()
        loop = run.reply.get_loop()
        run.timer = loop.call_later(run.timeout, run.settle, timed_out(self._timeout))
        self._taken[run.id] = run
        self._connections[connection] = run
        deadline = int((self._now() + run.timeout) * 1000)
        headers = (
            f"Lambda-Runtime-Aws-Request-Id: {run.id}\r\n"
            f"Lambda-Runtime-Deadline-Ms: {deadline}\r\n"
            f"Lambda-Runtime-Invoked-Function-Arn: {run.invocation.function_arn}\r\n"
        )
        trace_id = run.invocation.trace_id
        if trace_id and trace_id.isprintable():  # it comes from outside: no line of its own
            headers += f"Lambda-Runtime-Trace-Id: {trace_id}\r\n"
        connection.reply(200, run.invocation.event, headers)

    def _answer(
        self, connection: Connection, request: Request, id_: bytes, *, failed: bool
    ) -> None:
        request_id = id_.decode("latin-1")
        if b"lambda-runtime-function-response-mode" in request.headers:
            why = "Responses cannot be streamed: leave Lambda-Runtime-Function-Response-Mode out."
            connection.refuse(400, "InvalidFunctionResponseMode", why)
        elif request_id in self._taken or request_id in self._late:
            self._late.pop(request_id, None)
            _remember(self._answered, request_id)
            run = self._taken.pop(request_id, None)
            if run is not None:
                run.settle(_read(request, failed=failed))
            _accept(connection, request)
        elif request_id in self._answered:
            why = "The invocation has been answered before."
            connection.refuse(403, "InvalidStateTransition", why)
        else:
            connection.refuse(400, "InvalidRequestID", "Invalid request ID")

    def _init_error(self, connection: Connection, request: Request) -> None:
        if self._on_init_error(_read_error(request)):
            _accept(connection, request)
        else:
            why = "The runtime has been initialised already."
            connection.refuse(403, "InvalidStateTransition", why)

    # How an invocation ends without an answer.

    def _give_up(self, run: _Run) -> None:
        self._queued.pop(run.id, None)
        if self._taken:
            run.settle(NotReached("every runtime is busy", throttled=True))
        else:
            run.settle(NotReached(f"no runtime asks for invocations at {self.address}"))

    def _let_go(self, run: _Run) -> None:
        run.stop_timers()
        self._queued.pop(run.id, None)
        if self._taken.pop(run.id, None) is not None:
            _remember(self._late, run.id)


@dataclass(slots=True, eq=False)
class _Run:
    """One invocation on its way; `timer` ends it, `left` ends it when its connection closed."""

    invocation: Invocation
    timeout: Seconds
    reply: asyncio.Future[Reply]
    timer: asyncio.TimerHandle | None = None
    left: asyncio.TimerHandle | None = None

    @property
    def id(self) -> str:
        return self.invocation.request_id

    def settle(self, reply: Reply) -> None:
        """The first reply counts."""
        if not self.reply.done():
            self.reply.set_result(reply)

    def stop_timers(self) -> None:
        for timer in (self.timer, self.left):
            if timer is not None:
                timer.cancel()


def _read(request: Request, *, failed: bool) -> Reply:
    if failed:
        return _read_error(request)
    return too_large() if request.body is None else Ran(request.body)


def _read_error(request: Request) -> Errored:
    stated = request.headers.get(b"lambda-runtime-function-error-type", b"").decode("latin-1")
    return too_large() if request.body is None else reported(request.body, stated)


def _accept(connection: Connection, request: Request) -> None:
    if request.body is None:
        why = f"Exceeded maximum allowed payload size ({BODY_BYTES_MAX} bytes)."
        connection.refuse(413, "RequestEntityTooLarge", why)
    else:
        connection.reply(202, _ACCEPTED)


def _remember(names: dict[str, None], name: str) -> None:
    """Add to a bounded memory; the oldest goes first."""
    names[name] = None
    if len(names) > ENDED_MAX:
        del names[next(iter(names))]
