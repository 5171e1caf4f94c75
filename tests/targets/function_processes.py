"""Functions with processes, over the files of these tests, and what /proc says of processes."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from poller.targets.keeper import Keeper
from poller.targets.output import Output
from poller.targets.processes import ProcessPool, Program
from poller.targets.processes import python_handler as python_program

HANDLERS = Path(__file__).parent / "handlers"
TIMEOUT = 20.0  # only a test that fails waits that long


@dataclass(slots=True)
class Recorded:
    """What processes printed, what was added to it, and all of it with its place."""

    lines: list[str] = field(default_factory=list)
    frames: list[str] = field(default_factory=list)
    all: list[tuple[str, str]] = field(default_factory=list)

    def printed(self, function: str, place: str, lines: Sequence[str]) -> None:
        self.lines += lines
        self.all += [(place, line) for line in lines]

    def framed(self, function: str, place: str, lines: Sequence[str]) -> None:
        self.frames += lines
        self.all += [(place, line) for line in lines]


@dataclass(frozen=True, slots=True)
class Kept:
    """A pool with a keeper of its own: an async context manager."""

    pool: ProcessPool
    keeper: Keeper

    async def __aenter__(self) -> ProcessPool:
        return await self.pool.__aenter__()

    async def __aexit__(self, *_: object) -> None:
        await self.pool.__aexit__()
        await self.keeper.close()


def python_handler(handler: str, *, python: str = sys.executable, **settings: Any) -> Kept:
    """A function that is a Python callable; `settings` as `kept` has them."""
    return kept(python_program(python, handler), **settings)


def command(*arguments: str, **settings: Any) -> Kept:
    """A function that is a program; `settings` as `kept` has them."""
    return kept(Program(arguments), **settings)


def kept(
    program: Program,
    *,
    name: str = "orders",
    path: Path = HANDLERS,
    timeout: float = TIMEOUT,
    environment: Mapping[str, str] | None = None,
    memory: int | None = None,
    output: Output | None = None,
) -> Kept:
    """A function in us-east-1."""
    keeper = Keeper()
    pool = ProcessPool(
        name,
        program,
        path=path,
        timeout=timeout,
        environment=environment or {},
        memory=memory,
        region="us-east-1",
        now=time.time,
        output=output or Recorded(),
        keeper=keeper,
    )
    return Kept(pool, keeper)


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
