"""Lambda's Runtime Interface Emulator with the official Python client, as in Lambda's own images.

with emulator("def handler(event, context): ...", timeout=2) as running:
    running.url
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from poller.targets.http_addresses import EMULATOR_PATH
from tests.emulator.install import installed
from tests.npm.install import Unavailable
from tests.programs import free_port
from tests.servers import LEASH
from tests.waiting import eventually

STOP_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Emulator:
    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{EMULATOR_PATH}"

    def output(self) -> str:
        """All that it and the function printed."""
        return self.log.read_text(errors="replace")

    def listens(self) -> bool:
        """Whether its port is open; asking HTTP would be an invocation."""
        assert self.process.poll() is None, self.output()
        listening = Path("/proc/net/tcp").read_text()
        return f"0100007F:{self.port:04X} 00000000:0000 0A" in listening


@contextlib.contextmanager
def emulator(code: str, *, timeout: int | None = None) -> Iterator[Emulator]:
    """One that runs `handler` of a module with this `code`, until the block ends.

    `timeout`: after which it ends an invocation itself; by default that is minutes.  The test is
    skipped where there is no emulator to be had.
    """
    try:
        program = installed()
    except Unavailable as reason:
        pytest.skip(f"the Runtime Interface Emulator {reason}")
    with tempfile.TemporaryDirectory(prefix="emulator-") as folder:
        (Path(folder) / "app.py").write_text(code)
        running = _started(program, Path(folder), timeout)
        try:
            eventually(running.listens)
            yield running
        finally:
            _end(running)


def _started(program: Path, folder: Path, timeout: int | None) -> Emulator:
    # PDEATHSIG is sent when the starting *thread* ends, so only the main thread will do.
    assert threading.current_thread() is threading.main_thread(), "start it in the main thread"
    port, log = free_port(), folder / "output.log"
    options = {
        "--runtime-interface-emulator-address": f"127.0.0.1:{port}",
        "--runtime-api-address": f"127.0.0.1:{free_port()}",
        "--log-level": "warn",
    }
    told = [word for option in options.items() for word in option]
    runtime = [sys.executable, "-m", "awslambdaric", "app.handler"]
    environment = {"PATH": os.environ["PATH"], "AWS_LAMBDA_FUNCTION_NAME": "orders"}
    if timeout is not None:
        environment["AWS_LAMBDA_FUNCTION_TIMEOUT"] = str(timeout)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", LEASH, str(os.getpid()), str(program), *told, *runtime],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    return Emulator(process, port, log)


def _end(running: Emulator) -> None:
    """End it with its runtimes, which have process groups of their own."""
    children = Path(f"/proc/{running.process.pid}/task")
    runtimes = [
        int(pid)
        for task in (children.iterdir() if children.exists() else ())
        for pid in (task / "children").read_text().split()
    ]
    running.process.kill()
    running.process.wait(STOP_TIMEOUT)
    for pid in runtimes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
