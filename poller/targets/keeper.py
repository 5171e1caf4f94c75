"""Sees to it that no process of a function outlives its invocation, its function or poller.

That is the work of one small process beside poller, which `strays.py` is: it notices poller's end
however that comes, and the search for strays never holds up the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import subprocess
import sys
from asyncio.subprocess import Process

from poller.core.model import Seconds

from . import strays

END_MAX: Seconds = 5.0  # for it to kill what is left, once poller ends

_logger = logging.getLogger("poller.targets")


class Keeper:
    """Its process is started with the first one that it keeps; `close` it at the end."""

    def __init__(self) -> None:
        self._mark = f"{os.getpid()}-{secrets.token_hex(8)}."
        self._marks = 0
        self._process: Process | None = None
        self._starting = asyncio.Lock()

    async def close(self) -> None:
        """Return once nothing is left of what was kept."""
        if self._process is None or self._process.stdin is None:
            return
        self._process.stdin.close()
        try:
            async with asyncio.timeout(END_MAX):
                await self._process.wait()
        except TimeoutError:
            _logger.warning("processes of functions may be left: they do not end although killed")

    async def mark(self) -> str:
        """A mark for one more process, which is to carry it in its environment.  Raises OSError."""
        async with self._starting:
            if self._process is None or self._process.returncode is not None:
                if self._process is not None:
                    _logger.warning("what ends processes of functions had ended: it starts again")
                self._process = await self._start()
        self._marks += 1
        return f"{self._mark}{self._marks}"

    def begun(self, group: int) -> None:
        """A process group has begun."""
        self._say(str(group))

    def ended(self, group: int, mark: str) -> None:
        """It has ended, and nothing that carries its mark may stay."""
        self._say(f"-{group} {mark}")

    async def _start(self) -> Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", strays.__file__, self._mark),
            env={},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # what ends poller from the terminal does not end it
        )

    def _say(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError, RuntimeError):  # it is gone: a new one is started
                self._process.stdin.write(f"{line}\n".encode())
