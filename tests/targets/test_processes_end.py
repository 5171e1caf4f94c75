"""Processes of functions end with the PythonHandler, and with poller however that ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from poller.interfaces import Errored, NotReached, Ran
from tests.targets.python_handlers import children, is_alive, python_handler
from tests.targets.runtimes import invocation
from tests.waiting import eventually, soon

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what lives")

PARENT = """
import asyncio, json, sys
from tests.targets.python_handlers import python_handler
from tests.targets.runtimes import invocation

async def main():
    environment = json.loads(sys.argv[2])
    event = json.dumps({"file": sys.argv[1]}).encode()
    async with python_handler("faults.hangs_with_a_child", environment=environment) as function:
        await function.invoke(invocation(event))

asyncio.run(main())
"""


async def test_no_process_outlives_its_function(tmp_path: Path) -> None:
    before = set(children(os.getpid()))
    event = json.dumps({"folder": str(tmp_path), "count": 3}).encode()
    async with python_handler("meeting.handler") as function:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(3):
                tasks.create_task(function.invoke(invocation(event)))
        assert len(set(children(os.getpid())) - before) == 3

    assert set(children(os.getpid())) - before == set()


async def test_a_process_that_ignores_sigterm_is_killed() -> None:
    async with python_handler("faults.ignores_sigterm") as function:
        reply = await function.invoke(invocation())

    assert isinstance(reply, Ran), reply
    assert not is_alive(int(reply.body))


async def test_what_runs_when_the_function_ends_fails_and_its_children_end_too(
    tmp_path: Path,
) -> None:
    file = tmp_path / "pids"
    event = json.dumps({"file": str(file)}).encode()
    async with python_handler("faults.hangs_with_a_child") as function:
        task = asyncio.create_task(function.invoke(invocation(event)))
        await soon(file.exists)

    reply = await task
    assert isinstance(reply, Errored)
    assert reply.message.endswith("Runtime exited with error: signal: terminated")
    for pid in file.read_text().split():
        await soon(lambda pid=int(pid): not is_alive(pid))
    assert await function.invoke(invocation()) == NotReached("function orders is being stopped")


async def test_an_interpreter_behind_a_wrapper_is_served_and_ended(tmp_path: Path) -> None:
    wrapper = tmp_path / "python"
    wrapper.write_text(f'#!/bin/sh\n"{sys.executable}" "$@"\nexit $?\n')
    wrapper.chmod(0o755)
    async with python_handler("faults.works", python=str(wrapper)) as function:
        reply = await function.invoke(invocation())

    assert isinstance(reply, Ran), reply
    await soon(lambda: not is_alive(int(reply.body)))


@pytest.mark.parametrize("kernel_helps", [True, False])
def test_no_process_outlives_a_poller_that_is_killed(tmp_path: Path, kernel_helps: bool) -> None:
    environment = {}
    if not kernel_helps:  # as where there is no PDEATHSIG: the end of a pipe is all there is
        (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['ctypes'] = None")
        environment["PYTHONPATH"] = str(tmp_path)
    file = tmp_path / "pids"
    with parent(file, environment) as process:
        eventually(file.exists)
        pid, child = map(int, file.read_text().split())
        assert is_alive(pid)
        process.kill()
        process.wait()

    try:
        eventually(lambda: not is_alive(pid))
        assert kernel_helps or eventually(lambda: not is_alive(child))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, 9)


@contextlib.contextmanager
def parent(file: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process of its own that runs PARENT."""
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(file), json.dumps(environment)], cwd=ROOT
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
