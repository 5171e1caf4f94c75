"""One process that runs a Lambda runtime: its start, the Runtime API it is served on, its end.

Each process has a Runtime API of its own on a fresh port, so that its end is the end of exactly
what it had taken.  It leads a process group, and what it leaves behind is killed with it.

Its memory is looked at ten times a second while it works, its children's included, and once more
when an invocation ends, by the peak that the kernel noted.  So what it has for less than a tenth
of a second and only together with its children goes unnoticed, and what it takes within that time
it has.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from poller.core.model import Instant, Seconds
from poller.interfaces import Errored, Invocation, NotReached, Reply

from . import process_memory
from .keeper import Keeper
from .output_pipe import Pipe
from .runtime_api import RuntimeApi
from .runtime_replies import exit_reason, exited, timed_out
from .transcript import Transcript, Usage

INIT_MAX: Seconds = 10.0  # initialisation beyond this counts to the function's timeout
RETURN_MAX: Seconds = 10.0  # in which a runtime must ask again after an answer
DRAIN_MAX: Seconds = 0.5  # for output behind the process's end, which its children may hold open
MEMORY_LOOK: Seconds = 0.1  # between looks at its memory, where that has a limit
FAMILY_LOOK: Seconds = 1.0  # between looks at its children's, where it has none

_KILLED = exit_reason(-signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Launch:
    """How a function's processes are started.

    `function`, `handler`: as extensions are told them.
    `variables`: the environment of the process that is served at the address and carries the mark
    given.  `memory_max`: bytes, None for no limit.  `transcript`: one more, for a process's output.
    """

    function: str
    handler: str
    arguments: Sequence[str]
    folder: Path
    variables: Callable[[str, str], Mapping[str, str]]
    timeout: Seconds
    memory_max: int | None
    now: Callable[[], Instant]
    transcript: Callable[[], Transcript]
    keeper: Keeper


class RuntimeProcess(asyncio.SubprocessProtocol):
    """A process, once `start` has returned.

    `on_gone` is called when it has ended, `on_overrun` when it needs more memory than it may.
    """

    def __init__(
        self,
        launch: Launch,
        *,
        on_gone: Callable[[RuntimeProcess], None],
        on_overrun: Callable[[], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self.retired = False  # it is to take no further invocation
        self._loop = loop
        self._launch = launch
        self._on_gone = on_gone
        self._on_overrun = on_overrun
        self._ready: asyncio.Future[Errored | None] = loop.create_future()
        self._gone: asyncio.Future[None] = loop.create_future()
        self._started_at = loop.time()
        self._initialisation: Seconds | None = None  # until it has been told
        self._taken_at: Seconds | None = None  # of the invocation that it runs
        self._transcript = launch.transcript()
        self._pipe = Pipe(self._transcript.feed)
        self._transport: asyncio.SubprocessTransport | None = None
        self._mark = ""
        self._exited = False
        self._overran = False
        self._memory_used = 0
        self._memory_seen_at: Seconds = float("-inf")
        self._memory_look: asyncio.TimerHandle | None = None
        self._api = RuntimeApi(
            timeout=launch.timeout,
            now=launch.now,
            on_next=self._initialised,
            on_taken=self._taken,
            on_init_error=self._init_failed,
            patience=RETURN_MAX,
            function=launch.function,
            handler=launch.handler,
        )

    async def start(self) -> None:
        """Raises OSError if the machine will not: no such program, no such folder."""
        try:
            self._mark = await self._launch.keeper.mark()
            await self._api.open()
            with self._pipe.opened() as output:
                await self._loop.subprocess_exec(
                    lambda: self,
                    *self._launch.arguments,
                    cwd=self._launch.folder,
                    env=self._launch.variables(self._api.address, self._mark),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
        except BaseException:
            self._api.close()
            self._be_gone()
            raise
        self._look_again()

    @property
    def usable(self) -> bool:
        """Whether another invocation may be given to it."""
        spent = self._exited or self._overran or self.retired
        return not spent and not self._api.owing

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
        spent = self._loop.time() - self._started_at
        return self._launch.timeout - max(0.0, spent - INIT_MAX)

    async def invoke(self, invocation: Invocation, left: Seconds) -> Reply:
        """NotReached if it ends, or hangs, before it takes the invocation."""
        if self._exited or self._has_ended():
            return NotReached("the process has ended")
        reply = await self._api.invoke(invocation, timeout=left)
        return reply if self._taken_at is None else self._told(invocation, reply, self._taken_at)

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
        self._launch.keeper.begun(self._transport.get_pid())

    def process_exited(self) -> None:
        assert self._transport is not None
        self.kill()  # what it left behind
        self._exited = True
        self._launch.keeper.ended(self._transport.get_pid(), self._mark)
        self._pipe.drain()
        reason = exit_reason(cast("int", self._transport.get_returncode()))
        self._settle(Errored("Runtime.ExitError", reason))
        self._api.leave(reason)
        self._api.close()
        self._pipe.close_soon(DRAIN_MAX, self._be_gone)

    def connection_lost(self, _exc: Exception | None) -> None:
        assert self._transport is not None
        self._transport.close()

    # What the Runtime API reports.

    def _initialised(self) -> None:
        if self._settle(None):
            self._pipe.drain()
            self._transcript.initialised()
            self._initialisation = self._loop.time() - self._started_at
            self._see(process_memory.peak(self._pid))

    def _init_failed(self, error: Errored) -> bool:
        return self._settle(error)

    def _taken(self, invocation: Invocation) -> None:
        self._pipe.drain()
        self._transcript.begin(invocation)
        self._taken_at = self._loop.time()
        self._look_again()

    def _settle(self, failure: Errored | None) -> bool:
        first = not self._ready.done()
        if first:
            self._ready.set_result(failure)
        return first

    # How an invocation ends.

    def _told(self, invocation: Invocation, reply: Reply, taken_at: Seconds) -> Reply:
        """`reply` with what is to be said of the invocation."""
        duration = self._loop.time() - taken_at
        self._taken_at = None
        self._pipe.drain()
        reply = self._within_memory(invocation, reply)
        initialisation, self._initialisation = self._initialisation, None
        usage = Usage(duration, self._memory_megabytes(), initialisation)
        log = self._transcript.end(reply, usage)
        return replace(reply, log=log) if log and not isinstance(reply, NotReached) else reply

    # Its memory.

    def _look_again(self) -> None:
        if self._launch.memory_max is not None and self._memory_look is None:
            self._memory_look = self._loop.call_later(MEMORY_LOOK, self._look_at_memory)

    def _look_at_memory(self) -> None:
        self._memory_look = None
        if not self._exited and (self._taken_at is not None or not self._ready.done()):
            self._see(process_memory.used_by_family(self._pid, self._launch.memory_max))
            self._look_again()

    def _within_memory(self, invocation: Invocation, reply: Reply) -> Reply:
        """`reply`, unless the process has had more than it may."""
        if not self._exited:
            now = self._loop.time()
            if now - self._memory_seen_at >= FAMILY_LOOK:
                self._memory_seen_at = now
                self._see(process_memory.used_by_family(self._pid, self._launch.memory_max))
            self._see(process_memory.peak(self._pid))
        return exited(invocation.request_id, _KILLED) if self._overran else reply

    def _see(self, used: int) -> None:
        self._memory_used = max(self._memory_used, used)
        limit = self._launch.memory_max
        if limit is not None and used > limit and not self._overran:
            self._overran = True
            self._on_overrun()
            self.kill()

    def _memory_megabytes(self) -> int | None:
        limit = self._launch.memory_max
        used = min(self._memory_used, limit) if self._overran and limit else self._memory_used
        return -(-used // process_memory.MB) or None

    # Its end.

    @property
    def _pid(self) -> int:
        assert self._transport is not None
        return self._transport.get_pid()

    def _has_ended(self) -> bool:
        """Whether it has, also where that has not been reported yet."""
        if sys.platform != "linux":
            return False
        try:
            return os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def _be_gone(self) -> None:
        if not self._gone.done():
            self._transcript.rest()
            self._on_gone(self)
            self._gone.set_result(None)

    def _signal(self, number: signal.Signals) -> None:
        # The group may be empty, or all that is left of it is a child that changed its user.
        if self._transport is not None and not self._exited:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, number)
