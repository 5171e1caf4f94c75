"""Processes of functions end with the ProcessPool, and with poller however that ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from poller.interfaces import Errored, NotReached, Ran
from tests.targets.function_processes import children, is_alive, python_handler
from tests.targets.runtimes import invocation
from tests.waiting import eventually, soon

KEEPER = 1
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what lives")

PARENT = """
import asyncio, json, sys
from tests.targets.function_processes import python_handler
from tests.targets.runtimes import invocation

async def main():
    event = json.dumps({"file": sys.argv[1], "hang": True}).encode()
    async with python_handler(f"faults.{sys.argv[2]}") as function:
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
        assert len(set(children(os.getpid())) - before) == 3 + KEEPER

    assert set(children(os.getpid())) - before == set()


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


@pytest.mark.parametrize("ends", ["with its function", "by itself", "by a timeout"])
async def test_no_daemon_outlives_the_process_that_left_it(tmp_path: Path, ends: str) -> None:
    file = tmp_path / "pids"
    event = {"file": str(file), "hang": ends == "by a timeout", "end": ends == "by itself"}
    async with python_handler("faults.leaves_daemons", timeout=1.0) as function:
        reply = await function.invoke(invocation(json.dumps(event).encode()))
        assert isinstance(reply, Ran) == (ends == "with its function")
        daemons = [int(pid) for pid in file.read_text().split()[1:]]
        assert len(daemons) == 2
        if ends == "with its function":
            assert all(map(is_alive, daemons))
        else:
            await soon(lambda: not any(map(is_alive, daemons)))

    assert not any(map(is_alive, daemons))


async def test_what_ends_strays_is_started_again_if_it_ends_itself(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    event = json.dumps({"file": str(file), "end": True}).encode()
    before = set(children(os.getpid()))
    made = python_handler("faults.leaves_daemons")
    await made.keeper.mark()
    (keeper,) = set(children(os.getpid())) - before
    os.kill(keeper, signal.SIGKILL)
    async with made as function:
        await soon(lambda: not is_alive(keeper))
        await function.invoke(invocation(event))

    assert not any(is_alive(int(pid)) for pid in file.read_text().split())


async def test_an_interpreter_behind_a_wrapper_is_served_and_ended(tmp_path: Path) -> None:
    wrapper = tmp_path / "python"
    wrapper.write_text(f'#!/bin/sh\n"{sys.executable}" "$@"\nexit $?\n')
    wrapper.chmod(0o755)
    async with python_handler("faults.works", python=str(wrapper)) as function:
        reply = await function.invoke(invocation())

    assert isinstance(reply, Ran), reply
    await soon(lambda: not is_alive(int(reply.body)))


@pytest.mark.parametrize("fault", ["hangs_with_a_child", "leaves_daemons"])
def test_no_process_outlives_a_poller_that_is_killed(tmp_path: Path, fault: str) -> None:
    file = tmp_path / "pids"
    with parent(file, fault) as process:
        eventually(file.exists)
        pids = [int(pid) for pid in file.read_text().split()]
        assert all(map(is_alive, pids))
        process.kill()
        process.wait()

    for pid in pids:
        eventually(lambda pid=pid: not is_alive(pid))


@contextlib.contextmanager
def parent(file: Path, fault: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of its own that runs PARENT."""
    process = subprocess.Popen([sys.executable, "-c", PARENT, str(file), fault], cwd=ROOT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
