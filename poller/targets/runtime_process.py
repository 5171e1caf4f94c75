"""One process that runs a Lambda runtime: its start, the Runtime API it is served on, its end.

Each process has a Runtime API of its own on a fresh port, so that its end is the end of exactly
what it had taken.  It leads a process group, and what it leaves behind is killed with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from poller.core.model import Instant, Seconds
from poller.interfaces import Errored, Invocation, NotReached, Reply

from .runtime_api import RuntimeApi
from .runtime_replies import exit_reason, timed_out

INIT_MAX: Seconds = 10.0  # initialisation beyond this counts to the function's timeout
RETURN_MAX: Seconds = 10.0  # in which a runtime must ask again after an answer
DRAIN_MAX: Seconds = 0.5  # for output behind the process's end, which its children may hold open
LINE_BYTES_MAX = 64 * 1024  # a longer line of output is broken up

_OUTPUT = 1


@dataclass(frozen=True, slots=True)
class Launch:
    """How a function's processes are started.

    `variables`: the environment of the process that is served at the address given.
    `on_output`: gets each line of output, without its end, at most LINE_BYTES_MAX bytes of it.
    """

    arguments: Sequence[str]
    folder: Path
    variables: Callable[[str], Mapping[str, str]]
    timeout: Seconds
    now: Callable[[], Instant]
    on_output: Callable[[str], None]


class RuntimeProcess(asyncio.SubprocessProtocol):
    """A process, once `start` has returned.  `on_gone` is called when it has ended."""

    def __init__(self, launch: Launch, on_gone: Callable[[RuntimeProcess], None]) -> None:
        loop = asyncio.get_running_loop()
        self._launch = launch
        self._on_gone = on_gone
        self._ready: asyncio.Future[Errored | None] = loop.create_future()
        self._gone: asyncio.Future[None] = loop.create_future()
        self._started_at = loop.time()
        self._lines = Lines(launch.on_output)
        self._transport: asyncio.SubprocessTransport | None = None
        self._exited = False
        self._drained: asyncio.TimerHandle | None = None
        self._api = RuntimeApi(
            timeout=launch.timeout,
            now=launch.now,
            on_next=self._initialised,
            on_init_error=self._init_failed,
            patience=RETURN_MAX,
        )

    async def start(self) -> None:
        """Raises OSError if the machine will not: no such program, no such folder."""
        try:
            await self._api.open()
            await asyncio.get_running_loop().subprocess_exec(
                lambda: self,
                *self._launch.arguments,
                cwd=self._launch.folder,
                env=self._launch.variables(self._api.address),
                stdin=subprocess.PIPE,  # where there is no PDEATHSIG its end says: poller is gone
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except BaseException:
            self._api.close()
            self._be_gone()
            raise

    @property
    def usable(self) -> bool:
        """Whether another invocation may be given to it."""
        return not self._exited and not self._api.owing

    async def initialise(self) -> Seconds | Errored:
        """Wait until it asks for its first invocation.

        How much that has left of the function's timeout, or why the function cannot run.
        """
        try:
            async with asyncio.timeout(INIT_MAX + self._launch.timeout):
                failure = await asyncio.shield(self._ready)
        except TimeoutError:
            return timed_out(self._launch.timeout)
        if failure is not None:
            return failure
        spent = asyncio.get_running_loop().time() - self._started_at
        return self._launch.timeout - max(0.0, spent - INIT_MAX)

    async def invoke(self, invocation: Invocation, left: Seconds) -> Reply:
        """NotReached if it ends, or hangs, before it takes the invocation."""
        if self._exited:
            return NotReached("the process has ended")
        return await self._api.invoke(invocation, timeout=left)

    def terminate(self) -> None:
        """Ask it to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it and its children at once."""
        self._signal(signal.SIGKILL)

    async def gone(self) -> None:
        """Return once it has ended and its output is read."""
        await asyncio.shield(self._gone)

    # What the event loop reports.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == _OUTPUT:
            self._lines.feed(data)

    def process_exited(self) -> None:
        assert self._transport is not None
        self.kill()  # what it left behind
        self._exited = True
        reason = exit_reason(cast("int", self._transport.get_returncode()))
        self._settle(Errored("Runtime.ExitError", reason))
        self._api.leave(reason)
        self._api.close()
        loop = asyncio.get_running_loop()
        self._drained = loop.call_later(DRAIN_MAX, self._transport.close)

    def connection_lost(self, _exc: Exception | None) -> None:
        assert self._transport is not None
        assert self._drained is not None
        self._drained.cancel()
        self._transport.close()
        self._lines.end()
        self._be_gone()

    # What the Runtime API reports.

    def _initialised(self) -> None:
        self._settle(None)

    def _init_failed(self, error: Errored) -> bool:
        return self._settle(error)

    def _settle(self, failure: Errored | None) -> bool:
        first = not self._ready.done()
        if first:
            self._ready.set_result(failure)
        return first

    def _be_gone(self) -> None:
        if not self._gone.done():
            self._on_gone(self)
            self._gone.set_result(None)

    def _signal(self, number: signal.Signals) -> None:
        # The group may be empty, or all that is left of it is a child that changed its user.
        if self._transport is not None and not self._exited:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._transport.get_pid(), number)


class Lines:
    """Cuts output into lines; bytes that are no UTF-8 survive as replacement characters."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = b""

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._emit(line)
        while len(self._rest) > LINE_BYTES_MAX:
            self._emit(self._rest[:LINE_BYTES_MAX])
            self._rest = self._rest[LINE_BYTES_MAX:]

    def end(self) -> None:
        """Pass on what has no line end."""
        if self._rest:
            self._emit(self._rest)
            self._rest = b""

    def _emit(self, line: bytes) -> None:
        for start in range(0, max(1, len(line)), LINE_BYTES_MAX):
            part = line[start : start + LINE_BYTES_MAX]
            # The runtime client ends the lines of its error reports with carriage returns.
            for text in part.decode("utf-8", "replace").rstrip("\r").split("\r"):
                self._on_line(text)
