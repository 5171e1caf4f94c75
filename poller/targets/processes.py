"""The `handler` kind of function: a Python callable, run by the official Lambda runtime client.

What the function does wrong, also while it is initialised, is a function error as on AWS.  What
keeps poller from running it at all (no interpreter, no folder, no runtime client in it) exists on
no AWS and is not reached: its records wait for the remedy instead of being given up.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from poller.core.model import Instant, Seconds
from poller.interfaces import Errored, Invocation, NotReached, Reply

from . import bootstrap
from .output import to_stderr
from .runtime_environment import RuntimeEnvironment, log_stream_name
from .runtime_process import Launch, RuntimeProcess
from .start_gate import Failure, StartGate

STOP_GRACE: Seconds = 0.5  # between SIGTERM and SIGKILL
KILL_WAIT: Seconds = 5.0  # for the kernel to end what was killed

_logger = logging.getLogger("poller.targets")


@dataclass(frozen=True, slots=True)
class _Ready:
    """A process that waits for its first invocation, and what that may take of the timeout."""

    process: RuntimeProcess
    left: Seconds


class PythonHandler:
    """A Target and an async context manager: processes started when needed, and kept.

    `handler`: package.module.name.  `python`: the interpreter, which must have awslambdaric; one
    with a slash is relative to `path`.  `path`: the folder of the code.  `timeout`: of one
    invocation.  `environment`, `memory`: see
    RuntimeEnvironment.  `on_output` gets each line that the processes print.
    Raises ConfigError for an environment that cannot be.
    """

    def __init__(
        self,
        name: str,
        handler: str,
        *,
        python: str,
        path: Path,
        timeout: Seconds,
        environment: Mapping[str, str],
        memory: int | None,
        region: str,
        now: Callable[[], Instant],
        on_output: Callable[[str], None] = to_stderr,
    ) -> None:
        folder = path.absolute()
        self._name = name
        self._timeout = timeout
        self._now = now
        self._environment = RuntimeEnvironment(
            name, handler, str(folder), region, memory, environment
        )
        self._launch = Launch(
            (python, bootstrap.__file__, str(os.getpid()), handler),
            folder,
            self._variables,
            timeout,
            now,
            on_output,
        )
        self._gate: StartGate[_Ready] = StartGate(name, self._start)
        self._started = 0
        self._closed = False
        self._processes: set[RuntimeProcess] = set()
        self._idle: list[RuntimeProcess] = []  # the last one used is the first one used again

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """End every process; what they still run fails."""
        self._closed = True
        for process in self._processes:
            process.terminate()
        try:
            await self._end(STOP_GRACE)
        finally:
            for process in self._processes:
                process.kill()
        if not await self._end(KILL_WAIT):
            _logger.warning("function %s: a process does not end although killed", self._name)

    async def invoke(self, invocation: Invocation) -> Reply:
        """Run the handler once, in a process that is idle or in a new one."""
        reply = await self._invoke_warm(invocation)
        return await self._invoke_cold(invocation) if reply is None else reply

    async def _invoke_warm(self, invocation: Invocation) -> Reply | None:
        """None if there is no idle process, or none that lives to take it."""
        while self._idle:
            reply = await self._run(self._idle.pop(), invocation, self._timeout)
            if not isinstance(reply, NotReached):
                return reply
        return None

    async def _invoke_cold(self, invocation: Invocation) -> Reply:
        match await self._gate.start():
            case _Ready(process=process, left=left):
                return await self._run(process, invocation, left)
            case failure:
                return failure

    async def _run(self, process: RuntimeProcess, invocation: Invocation, left: Seconds) -> Reply:
        reply: Reply | None = None
        try:
            reply = await process.invoke(invocation, left)
            return reply
        finally:
            if process.usable and not isinstance(reply, NotReached) and not self._closed:
                self._idle.append(process)
            else:
                process.kill()

    async def _start(self) -> _Ready | Failure:
        if self._closed:
            return NotReached(f"function {self._name} is being stopped")
        self._started += 1
        process = RuntimeProcess(self._launch, self._forget)
        self._processes.add(process)
        try:
            await process.start()
        except OSError as error:
            what = error.filename or self._launch.arguments[0]
            return NotReached(f"function {self._name}: cannot start {what}: {error.strerror}")
        ready = False
        try:
            outcome = await process.initialise()
            ready = not isinstance(outcome, Errored)
        finally:
            if not ready:
                process.kill()
        match outcome:
            case Errored(error_type=bootstrap.CLIENT_MISSING, message=remedy):
                return NotReached(f"function {self._name}: {remedy}")
            case Errored():
                return outcome
            case left:
                return _Ready(process, left)

    def _variables(self, api: str) -> dict[str, str]:
        log_stream = log_stream_name(self._now(), self._started)
        return self._environment.variables(os.environ, api=api, log_stream=log_stream)

    def _forget(self, process: RuntimeProcess) -> None:
        self._processes.discard(process)
        if process in self._idle:
            self._idle.remove(process)

    async def _end(self, grace: Seconds) -> bool:
        """Whether every process has ended within `grace`."""
        try:
            async with asyncio.timeout(grace):
                while self._processes:
                    await next(iter(self._processes)).gone()
        except TimeoutError:
            return False
        return True
