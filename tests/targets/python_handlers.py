"""PythonHandlers over the handler files of these tests, and what /proc says of their processes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from poller.targets.processes import PythonHandler

HANDLERS = Path(__file__).parent / "handlers"
TIMEOUT = 20.0  # only a test that fails waits that long


@dataclass(slots=True)
class Output:
    """The lines that processes printed."""

    lines: list[str] = field(default_factory=list)

    def __call__(self, line: str) -> None:
        self.lines.append(line)


def python_handler(
    handler: str,
    *,
    name: str = "orders",
    python: str = sys.executable,
    path: Path = HANDLERS,
    timeout: float = TIMEOUT,
    environment: Mapping[str, str] | None = None,
    memory: int | None = None,
    on_output: Callable[[str], None] | None = None,
) -> PythonHandler:
    """A function in us-east-1."""
    return PythonHandler(
        name,
        handler,
        python=python,
        path=path,
        timeout=timeout,
        environment=environment or {},
        memory=memory,
        region="us-east-1",
        now=time.time,
        on_output=on_output or Output(),
    )


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that only waits to be reaped does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def children(pid: int) -> list[int]:
    """The living children of a process, by /proc."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and is_alive(int(folder.name)):
            try:
                parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(parent) == pid:
                found.append(int(folder.name))
    return found
