"""`poller run` as a child process: a config goes in, its address, log and metrics come out.

with poller({"functions": ..., "mappings": ...}) as running:
    running.metrics("poller_records_succeeded_total", mapping=uuid)
    assert running.stop() == 0
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.servers import LEASH
from tests.waiting import eventually

START_TIMEOUT = 30.0
STOP_TIMEOUT = 60.0  # running invocations may end, and long polls take up to 20 s
LOG_TAIL_BYTES = 8000

_LISTENING = re.compile(r'listening on (http://[^\s"]+)')
_SAMPLE = re.compile(r"(?P<name>[a-z_]+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)(?: \S+)?")
_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


@dataclass(slots=True)
class Running:
    """One process of `poller run`; its config, log and state are in `folder`."""

    process: subprocess.Popen[bytes]
    folder: Path
    address: str = ""  # http://127.0.0.1:PORT

    def log(self) -> str:
        """All that it has printed."""
        return (self.folder / "output.log").read_bytes().decode(errors="replace")

    def wait(self, timeout: float = STOP_TIMEOUT) -> int:
        """Its exit code, once it has ended by itself."""
        return self.process.wait(timeout)

    def stop(self) -> int:
        """Send SIGTERM; its exit code."""
        self.process.terminate()
        return self.wait()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def hup(self) -> None:
        """Have it reread its config; see `rewrite`."""
        self.process.send_signal(signal.SIGHUP)

    def rewrite(self, config: Mapping[str, Any]) -> None:
        """Another config in the place of the first one."""
        write_config(self.folder, config)

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of a GET at its own port."""
        try:
            with urllib.request.urlopen(self.address + path, timeout=10) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as answer:
            with answer:
                return answer.status, answer.read()

    def is_ready(self) -> bool:
        return self.get("/readyz")[0] == 200

    def lag(self) -> Any:
        """What /lag says."""
        return json.loads(self.get("/lag")[1])

    def metrics(self, name: str, **labels: str) -> float:
        """The sum of the series of this name which have these labels; 0 if there is none."""
        total = 0.0
        for line in self.get("/metrics")[1].decode().splitlines():
            sample = _SAMPLE.fullmatch(line)
            if sample is not None and sample["name"] == name:
                found = dict(_LABEL.findall(sample["labels"] or ""))
                if labels.items() <= found.items():
                    total += float(sample["value"])
        return total


def write_config(folder: Path, config: Mapping[str, Any]) -> Path:
    """`config` as poller.yaml in `folder`; state is kept there too unless it says otherwise."""
    path = folder / "poller.yaml"
    path.write_text(yaml.safe_dump({"state": "sqlite:poller.db", **config}, sort_keys=False))
    return path


@contextlib.contextmanager
def poller(
    config: Mapping[str, Any],
    *arguments: str,
    folder: Path | None = None,
    ready: bool = True,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    """`poller run` with `config` until the block ends, by default in a folder of its own.

    A second start in the same `folder` continues.  `ready=False`: do not wait for /readyz, only
    until it listens.  A test that fails inside the block shows the log.
    """
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="poller-")))
        running = _spawn(folder, write_config(folder, config), arguments, environment or {})
        try:
            _await_start(running, ready=ready)
            yield running
        except BaseException as error:
            error.add_note(f"the log of poller:\n{running.log()[-LOG_TAIL_BYTES:]}")
            raise
        finally:
            _end(running)


def _spawn(
    folder: Path, config: Path, arguments: tuple[str, ...], environment: Mapping[str, str]
) -> Running:
    # PDEATHSIG is sent when the starting *thread* ends, so only the main thread will do.
    assert threading.current_thread() is threading.main_thread(), "start poller in the main thread"
    command = [sys.executable, "-m", "poller", "run", str(config)]
    if "--listen" not in arguments:
        command += ["--listen", "127.0.0.1:0"]
    with (folder / "output.log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", LEASH, str(os.getpid()), *command, *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    return Running(process, folder)


def _await_start(running: Running, *, ready: bool) -> None:
    def listens() -> bool:
        assert running.process.poll() is None, f"exit code {running.process.returncode}"
        found = _LISTENING.search(running.log())
        running.address = found[1] if found else ""
        return found is not None

    eventually(listens, START_TIMEOUT)
    if ready:
        eventually(lambda: running.process.poll() is not None or running.is_ready(), START_TIMEOUT)


def _end(running: Running) -> None:
    if running.process.poll() is None:
        running.process.terminate()
        try:
            running.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            running.process.kill()
    running.process.wait()
