"""Serves the Lambda Runtime API of one function to its runtimes, and invokes the function on them.

A runtime is known by the invocations it takes, not by its connection: some use one connection for
everything, some a fresh one for each call.  Whoever owns a runtime's process knows for certain when
it is gone, and says so with `leave`; of other runtimes `Closings` judges by their connections.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Self

from poller.core.model import Instant, Seconds
from poller.interfaces import Errored, Invocation, NotReached, Reply

from .runtime_closings import Closings
from .runtime_extensions import Extensions
from .runtime_headers import invocation_headers
from .runtime_http import BODY_BYTES_MAX, Connection, Ending, Request
from .runtime_replies import (
    UNSTATED,
    exited,
    read_error,
    read_response,
    timed_out,
    too_large,
    truncated,
    wrong_mode,
)
from .runtime_routes import accept, id_in, refuse_answer, route
from .runtime_runs import QUEUED_MAX, Run, Runs

CONNECTIONS_MAX = 1000
OTHER_BYTES_MAX = 256 * 1024  # of a body that is no answer
PATIENCE: Seconds = 1.0  # how long an invocation waits for a runtime to ask for it
CLOSE_GRACE: Seconds = 0.25  # for an answer on another connection than the one that says no more
LOOK_PERIOD: Seconds = 10.0  # between looks for requests that do not get on

_CLOSED = "the Runtime API is closed"
_ASKED_AGAIN = "Runtime asked for the next event before it answered"

_logger = logging.getLogger("poller.targets")


class RuntimeApi:
    """One listening address, at which one function's runtimes ask for invocations.

    A Target in its own right, and an async context manager.  `timeout`: the function's.
    `patience`: how long an invocation waits for a runtime to ask.  `on_next` is called whenever a
    runtime asks for an invocation, `on_taken` when one gets an invocation, `on_init_error` when
    one reports that it cannot run; it returns whether a runtime may report that now.  `function`
    and `handler`: what extensions are told.  `admits`: whether a connection from this address may
    stay.  `closings`: where nobody owns the runtimes; without, one process is all of them.
    """

    def __init__(
        self,
        *,
        timeout: Seconds,
        now: Callable[[], Instant],
        on_init_error: Callable[[Errored], bool],
        on_next: Callable[[], None] = lambda: None,
        on_taken: Callable[[Invocation], None] = lambda _: None,
        patience: Seconds = PATIENCE,
        function: str = "",
        handler: str = "",
        admits: Callable[[str], bool] = lambda _: True,
        closings: Closings | None = None,
    ) -> None:
        self.address = ""  # HOST:PORT once it is open, as AWS_LAMBDA_RUNTIME_API wants it
        self.extensions = Extensions(function=function, handler=handler, now=now)
        self._timeout = timeout
        self._now = now
        self._on_init_error = on_init_error
        self._on_next = on_next
        self._on_taken = on_taken
        self._patience = patience
        self._admits = admits
        self._closings = closings
        self._server: asyncio.Server | None = None
        self._look_timer: asyncio.TimerHandle | None = None
        self._connections: dict[Connection, str] = {}  # with the id that each took last
        self._waiting: dict[Connection, bytes] = {}  # for an invocation; with the User-Agent
        self._runs = Runs()

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
        self.address = f"[{bound_host}]" if ":" in bound_host else bound_host
        self.address += f":{bound_port}"

    def close(self) -> None:
        """Stop listening, end every invocation, close every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._look_timer is not None:
            self._look_timer.cancel()
        self.leave(_CLOSED)
        self.extensions.shut_down()
        for connection in tuple(self._connections):
            connection.abort()

    @property
    def owing(self) -> bool:
        """Whether a runtime still works on an invocation, also on one that has timed out."""
        return self._runs.owed

    @property
    def attended(self) -> bool:
        """Whether a runtime asks for invocations, or runs one in time."""
        return bool(self._waiting or self._runs.taken)

    async def invoke(
        self,
        invocation: Invocation,
        *,
        timeout: Seconds | None = None,
        whole: Seconds | None = None,
    ) -> Reply:
        """Run the function once; `timeout` is what is left of the function's, if not all of it,
        and `whole` the function's, if another than was said.

        NotReached if no runtime asks for it within `patience`.
        """
        if self._server is None:
            return NotReached(_CLOSED)
        if len(self._runs.queued) >= QUEUED_MAX:
            return NotReached(f"{QUEUED_MAX} invocations wait for a runtime", throttled=True)
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        whole = self._timeout if whole is None else whole
        run = Run(invocation, whole if timeout is None else timeout, whole, reply)
        assert run.id not in self._runs.taken, "an invocation has an id of its own"
        if self._waiting:
            self._hand(*self._waiting.popitem(), run)
        else:
            self._runs.queued[run.id] = run
            run.timer = reply.get_loop().call_later(self._patience, self._give_up, run)
        try:
            return await reply
        finally:
            self._runs.let_go(run)

    def leave(self, reason: str) -> None:
        """The runtimes are gone: what they had taken has failed, what waits was not reached."""
        for run in self._runs.taken.values():
            run.settle(exited(run.id, reason))
        self.end_queued(NotReached(reason))

    def end_queued(self, reply: Reply) -> None:
        """What waits for a runtime comes to this."""
        for run in self._runs.queued.values():
            run.settle(reply)
        self._runs.queued.clear()

    # What connections report.

    def opened(self, connection: Connection) -> bool:
        if self._server is None or not self._admits(connection.peer):
            return False
        if len(self._connections) >= CONNECTIONS_MAX:
            return False
        self._connections[connection] = ""
        if self._closings is not None:
            connection.watch()
        if self._look_timer is None:
            self._look_timer = asyncio.get_running_loop().call_later(LOOK_PERIOD, self._look)
        return True

    def closed(self, connection: Connection, how: Ending) -> None:
        taken = self._connections.pop(connection, "")
        self._waiting.pop(connection, None)
        self.extensions.closed(connection)
        answered = self._runs.taken.get(id_in(connection.sending_to))
        if answered is not None:
            answered.settle(too_large() if connection.sends_too_much else truncated(answered.id))
        run = self._runs.taken.get(taken)
        if run is not None and self._closings is not None and how is not Ending.HERE:
            loop = run.reply.get_loop()
            if self._closings.means_gone(
                broke=how is Ending.BROKEN,
                after=loop.time() - run.taken_at,
                client=run.client,
            ):
                run.leave_after(CLOSE_GRACE, exited(run.id, UNSTATED))

    def body_max(self, path: bytes) -> int:
        return BODY_BYTES_MAX if self._runs.is_open(id_in(path)) else OTHER_BYTES_MAX

    def asked(self, connection: Connection, request: Request) -> None:
        route(self, connection, request)

    # What runtimes call.

    def next(self, connection: Connection, client: bytes) -> None:
        before = self._connections[connection]
        if before:  # its runtime is through with it, whatever came of it
            self._connections[connection] = ""
            run = self._runs.drop(before)
            if run is not None:
                run.settle(exited(run.id, _ASKED_AGAIN))
        elif self._closings is None:  # one process asks, so it is through with what it has taken
            for taken in self._runs.taken.values():
                taken.leave_after(CLOSE_GRACE, exited(taken.id, _ASKED_AGAIN))
        run = self._runs.oldest_queued()
        if run is None:
            self._waiting[connection] = client
        else:
            self._hand(connection, client, run)
        self._on_next()

    def _hand(self, connection: Connection, client: bytes, run: Run) -> None:
        loop = run.reply.get_loop()
        run.stop_timers()
        run.timer = loop.call_later(run.timeout, _time_out, run)
        run.taken_at = loop.time()
        run.client = client
        self._runs.taken[run.id] = run
        self._connections[connection] = run.id
        deadline = int((self._now() + run.timeout) * 1000)
        headers = invocation_headers(run.invocation, deadline)
        self._on_taken(run.invocation)
        connection.reply(200, run.invocation.event, headers)
        self.extensions.told(run.invocation, connection.peer, deadline)

    def answer(
        self, connection: Connection, request: Request, request_id: str, *, failed: bool
    ) -> None:
        if not self._runs.is_open(request_id):
            refuse_answer(connection, again=self._runs.was_answered(request_id))
            return
        run, held_gone = self._runs.answer(request_id)
        wrong = None if failed else wrong_mode(request)
        if run is not None:
            run.settle(wrong or (read_error if failed else read_response)(request))
        if held_gone:
            self._misled(late=run is None)
        if self._connections.get(connection) == request_id:
            self._connections[connection] = ""
            if run is not None and self._closings is not None:
                self._closings.kept(run.reply.get_loop().time() - run.taken_at)
        if wrong is not None:
            connection.refuse(400, "InvalidFunctionResponseMode", wrong.message)
        else:
            accept(connection, request)

    def init_error(self, connection: Connection, request: Request) -> None:
        if self._on_init_error(read_error(request)):
            accept(connection, request)
        else:
            why = "The runtime has been initialised already."
            connection.refuse(403, "InvalidStateTransition", why)

    # How an invocation ends without an answer.

    def _give_up(self, run: Run) -> None:
        self._runs.queued.pop(run.id, None)
        if self._runs.are_with(self._connections.values()):
            run.settle(NotReached("every runtime is busy", throttled=True))
        else:
            run.settle(NotReached(f"no runtime asks for invocations at {self.address}"))

    def _look(self) -> None:
        """Cut off who does not get on with a request; as long as there are connections."""
        loop = asyncio.get_running_loop()
        for connection in tuple(self._connections):
            if connection.is_stalled(loop.time()):
                connection.abort()
        again = self._connections and self._server is not None
        self._look_timer = loop.call_later(LOOK_PERIOD, self._look) if again else None

    def _misled(self, *, late: bool) -> None:
        """A runtime answers that was held for gone: what was wrong once would be again."""
        if self._closings is not None and self._closings.misled() and late:
            line = (
                "function %s: a runtime closed its connection and worked on; from now on one that "
                "is gone without an answer is noticed by the timeout"
            )
            _logger.warning(line, self.extensions.function)


def _time_out(run: Run) -> None:
    run.settle(timed_out(run.whole))
