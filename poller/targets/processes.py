"""The kinds of function that poller starts processes for: `handler` and `command`.

A `handler` is a Python callable, run by the official Lambda runtime client; a `command` is any
program that speaks the Lambda Runtime API itself.

What the function does wrong, also while it is initialised, is a function error as on AWS.  What
keeps poller from running it at all (no program, no folder, no runtime client in the interpreter)
exists on no AWS and is not reached: its records wait for the remedy instead of being given up.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from poller.core.model import Instant, Seconds
from poller.interfaces import Errored, Invocation, NotReached, Ran, Reply

from . import bootstrap, process_memory
from .keeper import Keeper
from .output import Output
from .runtime_environment import MEMORY_DEFAULT, RuntimeEnvironment, log_stream_name
from .runtime_process import Launch, RuntimeProcess
from .start_failures import why_not_started
from .start_gate import Failure, StartGate
from .transcript import Transcript

STOP_GRACE: Seconds = 0.5  # between SIGTERM and SIGKILL
KILL_WAIT: Seconds = 5.0  # for the kernel to end what was killed

_logger = logging.getLogger("poller.targets")


@dataclass(frozen=True, slots=True)
class Program:
    """What the processes of a function run: a program with its arguments.

    A program with a slash is relative to the folder of the code.  `handler`: as the function is
    told it, None where it is not.
    """

    arguments: Sequence[str]
    handler: str | None = None


def python_handler(python: str, handler: str) -> Program:
    """The callable `handler`, package.module.name, in an interpreter that has awslambdaric."""
    return Program((python, bootstrap.__file__, handler), handler)


@dataclass(frozen=True, slots=True)
class _Ready:
    """A process that waits for its first invocation, and what that may take of the timeout."""

    process: RuntimeProcess
    left: Seconds


class ProcessPool:
    """A Target and an async context manager: processes started when needed, and kept.

    `path`: the folder of the code, in which they run.  `timeout`: of one invocation.
    `environment`: what its configuration names.  `memory`: MB that a process may have with its
    children; with None there is no limit, and the function is told AWS's default.
    Raises ConfigError for an environment that cannot be.
    """

    def __init__(
        self,
        name: str,
        program: Program,
        *,
        path: Path,
        timeout: Seconds,
        environment: Mapping[str, str],
        memory: int | None,
        region: str,
        now: Callable[[], Instant],
        output: Output,
        keeper: Keeper,
    ) -> None:
        self.folder = path.absolute()
        self._name = name
        self._timeout = timeout
        self._memory = memory
        self._now = now
        self._output = output
        told = MEMORY_DEFAULT if memory is None else memory
        self._environment = RuntimeEnvironment(
            name, program.handler, str(self.folder), region, told, environment
        )
        self._launch = Launch(
            name,
            program.handler or "",
            program.arguments,
            self.folder,
            self._variables,
            timeout,
            None if memory is None else memory * process_memory.MB,
            now,
            self._transcript,
            keeper,
        )
        self._gate: StartGate[_Ready] = StartGate(name, self._start)
        self._started = 0
        self._renewed = 0
        self._closed = False
        self._processes: set[RuntimeProcess] = set()
        self._idle: list[RuntimeProcess] = []  # the last one used is the first one used again
        self._overrun_told = False

    async def __aenter__(self) -> Self:
        if self._memory is not None and not process_memory.is_known():
            _logger.warning("function %s: nothing here tells its memory: no limit", self._name)
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
        """Run the function once, in a process that is idle or in a new one."""
        reply = await self._invoke_warm(invocation)
        return await self._invoke_cold(invocation) if reply is None else reply

    def renew(self) -> None:
        """The code has changed: what runs ends with the old one, what comes gets the new one."""
        self._renewed += 1
        self._overrun_told = False
        self._gate.forget()
        for process in self._processes:
            process.retired = True
        while self._idle:
            self._dismiss(self._idle.pop())

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
            if isinstance(reply, NotReached) or self._closed:
                process.kill()
            elif process.usable:
                self._idle.append(process)
            elif process.retired and isinstance(reply, Ran):
                self._dismiss(process)
            else:
                process.kill()

    async def _start(self) -> _Ready | Failure:
        """One more process; with code that changed meanwhile it begins anew."""
        while True:
            code = self._renewed
            outcome = await self._start_one()
            if code == self._renewed:
                return outcome
            if isinstance(outcome, _Ready):
                self._dismiss(outcome.process)

    async def _start_one(self) -> _Ready | Failure:
        if (closed := self._closed_now()) is not None:
            return closed
        self._started += 1
        process = RuntimeProcess(self._launch, on_gone=self._forget, on_overrun=self._overran)
        self._processes.add(process)
        try:
            await process.start()
        except OSError as error:
            why = why_not_started(error, self._launch.arguments[0], self.folder)
            return NotReached(f"function {self._name}: cannot start {why}")
        if (closed := self._closed_now()) is not None:  # there was nothing to end yet
            process.kill()
            return closed
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

    def _closed_now(self) -> NotReached | None:
        """What an invocation comes to once the function is closed."""
        return NotReached(f"function {self._name} is being stopped") if self._closed else None

    def _variables(self, api: str, mark: str) -> dict[str, str]:
        log_stream = log_stream_name(self._now(), self._started, self._environment.version)
        return self._environment.variables(os.environ, api=api, log_stream=log_stream, mark=mark)

    def _transcript(self) -> Transcript:
        return Transcript(
            self._name,
            version=self._environment.version,
            memory=self._environment.memory,
            output=self._output,
            now=self._now,
        )

    def _overran(self) -> None:
        if not self._overrun_told:
            self._overrun_told = True
            why = "a process needs more than its memory, %d MB, and is killed"
            _logger.warning(f"function %s: {why}", self._name, self._memory)

    def _dismiss(self, process: RuntimeProcess) -> None:
        """Have it end of its own accord, but soon."""
        process.terminate()
        asyncio.get_running_loop().call_later(STOP_GRACE, process.kill)

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
