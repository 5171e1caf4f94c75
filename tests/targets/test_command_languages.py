"""Runtimes in several languages as functions of the kind `command`."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from poller.interfaces import Errored, Ran
from tests.runtimes.starting import HERE, LANGUAGES, Command
from tests.targets.function_processes import Recorded, children, command
from tests.targets.runtimes import invocation
from tests.waiting import soon


@pytest.fixture(params=LANGUAGES, ids=[each.__name__ for each in LANGUAGES])
def program(request: pytest.FixtureRequest) -> Command:
    found: Command = request.param()
    return found


async def test_a_runtime_is_kept_killed_and_replaced_whatever_it_is_written_in(
    program: Command,
) -> None:
    output = Recorded()
    before = set(children(os.getpid()))
    wait = {"WAIT_MS": "300"}
    async with command(*program, path=HERE, environment=wait, output=output) as function:
        both = await asyncio.gather(*(function.invoke(invocation()) for _ in range(2)))
        assert all(isinstance(each, Ran) for each in both), both
        assert sum("Init Duration" in frame for frame in output.frames) == 2
        third = invocation()
        running = asyncio.create_task(function.invoke(third))
        await soon(lambda: any(third.request_id in frame for frame in output.frames))
        for pid in set(children(os.getpid())) - before:  # also one that is idle
            os.kill(pid, signal.SIGKILL)
        killed = await running
        await soon(lambda: set(children(os.getpid())) == before)
        again = await function.invoke(invocation())

    reason = "Runtime exited with error: signal: killed"
    message = f"RequestId: {third.request_id} Error: {reason}"
    assert killed == Errored("Runtime.ExitError", message)
    assert isinstance(again, Ran), again
    assert set(children(os.getpid())) - before == set()
