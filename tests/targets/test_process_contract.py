"""What holds for every function with processes, whichever runtime they run."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from poller.interfaces import Errored, NotReached, Ran
from poller.targets.runtime_process import RuntimeProcess
from tests.targets.function_processes import (
    HANDLERS,
    Kept,
    Recorded,
    command,
    is_alive,
    python_handler,
)
from tests.targets.runtimes import invocation
from tests.waiting import soon

Make = Callable[..., Kept]


def as_command(handler: str, **settings: Any) -> Kept:
    """The same handler, served by the tests' own runtime."""
    return command(sys.executable, "-S", "runtime.py", handler, **settings)


@pytest.fixture(params=[python_handler, as_command], ids=["handler", "command"])
def make(request: pytest.FixtureRequest) -> Make:
    made: Make = request.param
    return made


async def test_processes_stay_warm_and_the_last_one_used_is_used_again(make: Make) -> None:
    async with make("faults.works") as function:
        replies = [await function.invoke(invocation()) for _ in range(20)]

    assert len(set(replies)) == 1
    assert isinstance(replies[0], Ran)


async def test_what_a_function_raises_is_a_function_error_and_its_process_lives(
    make: Make,
) -> None:
    output = Recorded()
    async with make("faults.raises", output=output) as function:
        replies = [await function.invoke(invocation(b'{"order": 7}')) for _ in range(2)]

    for reply in replies:
        assert isinstance(reply, Errored)
        assert (reply.error_type, reply.message) == ("OrderRefused", "no 7")
    assert [frame.split()[0] for frame in output.frames] == ["START", "END", "REPORT"] * 2
    assert ["Init Duration" in frame for frame in output.frames[2::3]] == [True, False]


@pytest.mark.parametrize(
    ("handler", "event", "reason"),
    [
        ("faults.ends", b'{"status": 3}', "Runtime exited with error: exit status 3"),
        ("faults.ends", b'{"status": 0}', "Runtime exited without providing a reason"),
        ("faults.is_killed", b"{}", "Runtime exited with error: signal: killed"),
    ],
)
@pytest.mark.proves("S12.2.exit")
async def test_a_process_that_ends_in_the_middle_fails_its_invocation_alone(
    make: Make, handler: str, event: bytes, reason: str
) -> None:
    output = Recorded()
    async with make(handler, output=output) as function:
        whats = [invocation(event) for _ in range(2)]
        replies = [await function.invoke(what) for what in whats]

    messages = [f"RequestId: {what.request_id} Error: {reason}" for what in whats]
    assert replies == [Errored("Runtime.ExitError", message) for message in messages]
    assert [output.frames[1:4], output.frames[6:9]] == [
        [message, "Runtime.ExitError", f"END RequestId: {what.request_id}"]
        for message, what in zip(messages, whats, strict=True)
    ]


@pytest.mark.proves("S12.2.timeout")
async def test_a_timeout_kills_the_process_and_the_next_invocation_gets_another(
    make: Make,
) -> None:
    output = Recorded()
    async with make("faults.hangs", timeout=1.0, output=output) as function:
        first = await function.invoke(invocation(b'{"hang": false}'))
        assert isinstance(first, Ran), first
        hanging = invocation()
        late = await function.invoke(hanging)
        pid = int(first.body)
        await soon(lambda: not is_alive(pid))
        after = await function.invoke(invocation(b'{"hang": false}'))

    assert late == Errored("Sandbox.Timedout", "Task timed out after 1.00 seconds")
    assert isinstance(after, Ran)
    assert after != first
    (said,) = (frame for frame in output.frames if "timed out" in frame)
    assert said.endswith(f"Z {hanging.request_id} Task timed out after 1.00 seconds")


async def test_a_cancelled_invocation_ends_its_process_and_its_children(
    make: Make, tmp_path: Path
) -> None:
    file = tmp_path / "pids"
    event = json.dumps({"file": str(file)}).encode()
    async with make("faults.hangs_with_a_child") as function:
        task = asyncio.create_task(function.invoke(invocation(event)))
        await soon(file.exists)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        for pid in file.read_text().split():
            await soon(lambda pid=int(pid): not is_alive(pid))


async def test_all_that_come_at_one_time_run_at_one_time(make: Make, tmp_path: Path) -> None:
    event = json.dumps({"folder": str(tmp_path), "count": 6}).encode()
    async with make("meeting.handler") as function:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(function.invoke(invocation(event))) for _ in range(6)]
        replies = {task.result() for task in running}

    assert len(replies) == 6
    assert {type(reply) for reply in replies} == {Ran}


async def test_a_process_that_ends_while_it_is_idle_costs_nothing(make: Make) -> None:
    async with make("faults.dies_behind_its_answer") as function:
        first = await function.invoke(invocation())
        assert isinstance(first, Ran), first
        await soon(lambda: not is_alive(int(first.body)))
        second = await function.invoke(invocation())

    assert isinstance(second, Ran)
    assert second != first


async def test_a_process_that_ignores_sigterm_is_killed(make: Make) -> None:
    async with make("faults.ignores_sigterm") as function:
        reply = await function.invoke(invocation())

    assert isinstance(reply, Ran), reply
    assert not is_alive(int(reply.body))


async def test_each_line_belongs_to_the_invocation_that_printed_it(make: Make) -> None:
    output = Recorded()
    whats = [invocation(json.dumps({"lines": [str(n), "é" * 500]}).encode()) for n in range(30)]
    async with make("faults.says", output=output) as function:
        for what in whats:
            await function.invoke(what)

    said = [each for each in output.all if each[1] not in output.frames]
    assert said == [
        (what.request_id, line)
        for number, what in enumerate(whats)
        for line in (str(number), "é" * 500)
    ]


async def test_a_function_without_output_works(make: Make) -> None:
    async with make("faults.closes_its_output") as function:
        replies = {await function.invoke(invocation()) for _ in range(2)}

    assert len(replies) == 1
    assert {type(reply) for reply in replies} == {Ran}


async def test_output_without_an_end_is_passed_on_in_pieces_and_held_by_nobody(make: Make) -> None:
    output = Recorded()
    async with make("faults.floods", output=output) as function:
        reply = await function.invoke(invocation(b'{"megabytes": 20}'))

    assert reply == Ran(b"null")
    assert sum(map(len, output.lines)) == 20 * 1024 * 1024
    assert max(map(len, output.lines)) <= 64 * 1024


async def test_the_end_of_the_output_comes_with_the_reply_if_it_is_wanted(make: Make) -> None:
    lines = ["x" * 100] * 100 + ["last"]
    async with make("faults.says") as function:
        what = invocation(json.dumps({"lines": lines}).encode(), log_tail=True)
        reply = await function.invoke(what)
        without = await function.invoke(invocation(json.dumps({"lines": lines}).encode()))

    assert isinstance(reply, Ran), reply
    assert len(reply.log) == 4096
    *_, before, last, end, report = reply.log.decode().splitlines()
    assert (before, last, end) == ("x" * 100, "last", f"END RequestId: {what.request_id}")
    assert report.startswith(f"REPORT RequestId: {what.request_id}\tDuration: ")
    assert without == Ran(b"null")


async def test_a_function_without_limit_may_have_any_memory(make: Make) -> None:
    output = Recorded()
    async with make("faults.leaks", output=output) as function:
        reply = await function.invoke(invocation(b'{"megabytes": 200}'))

    assert isinstance(reply, Ran), reply
    assert "\tMemory Size: 128 MB\tMax Memory Used: 2" in output.frames[-1]


@pytest.mark.parametrize(
    "event",
    [
        {"megabytes": 200},
        {"megabytes": 200, "seconds": 60},
        {"megabytes": 200, "child": True},
    ],
    ids=["for a moment", "and keeps it", "in a child"],
)
async def test_who_takes_more_than_its_memory_is_killed_and_its_invocation_fails(
    make: Make, event: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    output = Recorded()
    async with make("faults.leaks", memory=128, output=output) as function:
        whats = [invocation(json.dumps(event).encode()) for _ in range(2)]
        replies = [await function.invoke(what) for what in whats]
        after = await function.invoke(invocation(b'{"megabytes": 1}'))

    killed = "Runtime exited with error: signal: killed"
    assert replies == [
        Errored("Runtime.ExitError", f"RequestId: {what.request_id} Error: {killed}")
        for what in whats
    ]
    assert isinstance(after, Ran), after
    reports = [frame for frame in output.frames if frame.startswith("REPORT")]
    assert ["Max Memory Used: 128 MB" in report for report in reports] == [True, True, False]
    assert caplog.messages == [
        "function orders: a process needs more than its memory, 128 MB, and is killed"
    ]


async def test_changed_code_runs_from_the_next_invocation_on(make: Make, tmp_path: Path) -> None:
    for name in ("faults.py", "runtime.py"):
        shutil.copy(HANDLERS / name, tmp_path)
    beside = tmp_path / "beside.py"
    beside.write_text("VERSION = 1")
    output = Recorded()
    async with make("faults.code", path=tmp_path, environment=UNCACHED, output=output) as function:
        assert await function.invoke(invocation()) == Ran(b"1")
        running = asyncio.create_task(function.invoke(invocation(b'{"seconds": 0.5}')))
        await soon(lambda: sum(frame.startswith("START") for frame in output.frames) == 2)
        beside.write_text("VERSION = 22")
        function.renew()
        assert await function.invoke(invocation()) == Ran(b"22")
        assert await running == Ran(b"1")
        assert await function.invoke(invocation()) == Ran(b"22")


async def test_a_process_that_starts_while_its_code_changes_starts_anew(
    make: Make, tmp_path: Path
) -> None:
    for name in ("faults.py", "runtime.py"):
        shutil.copy(HANDLERS / name, tmp_path)
    module, started, may_go_on = (tmp_path / name for name in ("slow.py", "started", "go"))
    module.write_text(
        "import pathlib, time\n"
        "pathlib.Path('started').touch()\n"
        "while not pathlib.Path('go').exists():\n"
        "    time.sleep(0.01)\n"
        "handler = lambda event, context: 'old'\n"
    )
    async with make("slow.handler", path=tmp_path, environment=UNCACHED) as function:
        waiting = asyncio.create_task(function.invoke(invocation()))
        await soon(started.exists)
        module.write_text("handler = lambda event, context: 'new'")
        function.renew()
        may_go_on.touch()
        assert await waiting == Ran(b'"new"')


async def test_right_code_is_tried_at_once_however_long_it_was_wrong(
    make: Make, tmp_path: Path
) -> None:
    for name in ("faults.py", "runtime.py"):
        shutil.copy(HANDLERS / name, tmp_path)
    module = tmp_path / "wrong.py"
    module.write_text("import nothing")
    async with make("wrong.handler", path=tmp_path, environment=UNCACHED) as function:
        for _ in range(2):
            assert isinstance(await function.invoke(invocation()), Errored)
        waiting = asyncio.create_task(function.invoke(invocation()))
        await asyncio.sleep(0.05)
        module.write_text("handler = lambda event, context: 'right'")
        function.renew()
        assert await waiting == Ran(b'"right"')


async def test_nothing_is_started_once_the_function_is_closed(make: Make) -> None:
    async with make("faults.works") as function:
        pass

    assert await function.invoke(invocation()) == NotReached("function orders is being stopped")


async def test_what_starts_while_the_function_is_closed_ends(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that is slow to start a process: the function is closed before it has."""
    may_start, started = asyncio.Event(), RuntimeProcess.start
    begun: list[RuntimeProcess] = []

    async def slow(process: RuntimeProcess) -> None:
        begun.append(process)
        await may_start.wait()
        await started(process)

    monkeypatch.setattr(RuntimeProcess, "start", slow)
    async with make("faults.works") as function:
        running = asyncio.ensure_future(function.invoke(invocation()))
        await soon(lambda: bool(begun))
        asyncio.get_running_loop().call_later(0.1, may_start.set)

    assert await running == NotReached("function orders is being stopped")
    await begun[0].gone()


UNCACHED = {"PYTHONDONTWRITEBYTECODE": "1"}
