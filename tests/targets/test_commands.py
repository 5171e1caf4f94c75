"""Functions that are programs: how they are started, and what cannot be."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from poller.interfaces import Errored, NotReached, Ran
from poller.targets import runtime_process, start_gate
from tests.targets.function_processes import HANDLERS, Recorded, command
from tests.targets.runtimes import invocation

TELLS = """#!{python} -S
import os, sys
sys.path.insert(0, {handlers!r})
sys.argv = [sys.argv[0], "told.handler"]
sys.modules["told"] = told = type(sys)("told")
told.handler = lambda event, context: [sorted(os.environ.items()), os.getcwd(), event]
exec(open({handlers!r} + "/runtime.py").read())
"""


@pytest.fixture(autouse=True)
def quick_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start_gate, "BACKOFF_MIN", 0.02)
    monkeypatch.setattr(start_gate, "BACKOFF_MAX", 0.02)


def program(path: Path, text: str | bytes, mode: int = 0o755) -> None:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)


@pytest.mark.parametrize("on_path", [True, False])
async def test_a_program_is_found_beside_the_code_or_on_path_and_told_what_lambda_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_path: bool
) -> None:
    program(tmp_path / "bootstrap", TELLS.format(python=sys.executable, handlers=str(HANDLERS)))
    monkeypatch.delenv("_HANDLER", raising=False)
    path = str(tmp_path) if on_path else "/usr/bin:/bin"
    name = "bootstrap" if on_path else "./bootstrap"
    environment = {"TABLE": "orders", "PATH": path}
    async with command(name, path=tmp_path, environment=environment, memory=512) as function:
        reply = await function.invoke(invocation(b'{"n": 1}'))

    assert isinstance(reply, Ran), reply
    pairs, folder, event = json.loads(reply.body)
    variables = dict(pairs)
    assert (folder, event) == (str(tmp_path), {"n": 1})
    assert variables["AWS_LAMBDA_RUNTIME_API"].startswith("127.0.0.1:")
    assert "_HANDLER" not in variables
    assert "AWS_EXECUTION_ENV" not in variables
    wanted = {
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        "AWS_LAMBDA_FUNCTION_NAME": "orders",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/orders",
        "AWS_REGION": "us-east-1",
        "LAMBDA_RUNTIME_DIR": str(tmp_path),
        "LAMBDA_TASK_ROOT": str(tmp_path),
        "TABLE": "orders",
    }
    assert {name: variables.get(name) for name in wanted} == wanted


async def test_what_cannot_be_started_is_not_reached_and_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    program(tmp_path / "foreign", b"\x7fELF of no machine")
    program(tmp_path / "orphan", "#!/nonexistent/interpreter\n")
    program(tmp_path / "text", "#!/bin/sh\n", 0o644)
    (tmp_path / "folder").mkdir()
    reasons = {
        "./nothing": "./nothing: No such file or directory",
        "no-such-program": "no-such-program: No such file or directory",
        "./text": "./text: Permission denied",
        "./folder": "./folder: Permission denied",
        "./orphan": "./orphan: the interpreter or loader that it names is missing",
        "./foreign": "./foreign: Exec format error: it is for another machine, or a script "
        "without #!",
    }
    for name, reason in reasons.items():
        caplog.clear()
        async with command(name, "--x", path=tmp_path) as function:
            replies = [await function.invoke(invocation()) for _ in range(2)]
        line = f"function orders: cannot start {reason}"
        assert replies == [NotReached(line)] * 2
        assert caplog.messages == [line]
    async with command("./nothing", path=tmp_path / "gone") as function:
        gone = await function.invoke(invocation())
    why = f"function orders: cannot start {tmp_path}/gone: No such file or directory"
    assert gone == NotReached(why)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 0", "Runtime exited without providing a reason"),
        ("exit 3", "Runtime exited with error: exit status 3"),
        ("kill -9 $$", "Runtime exited with error: signal: killed"),
        ("sleep 60 & exit 4", "Runtime exited with error: exit status 4"),
    ],
)
async def test_a_program_that_ends_before_it_asks_fails_its_invocations_and_is_told_once(
    script: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    output = Recorded()
    async with command("/bin/sh", "-c", f"echo here; {script}", output=output) as function:
        replies = [await function.invoke(invocation()) for _ in range(2)]

    assert replies == [Errored("Runtime.ExitError", reason)] * 2
    assert output.all == [("init", "here")] * 2
    assert caplog.messages == [f"function orders cannot start: Runtime.ExitError: {reason}"]


async def test_a_program_that_never_asks_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_process, "INIT_MAX", 0.1)
    async with command("sleep", "60", timeout=0.1) as function:
        reply = await function.invoke(invocation())

    assert reply == Errored("Sandbox.Timedout", "Task timed out after 0.10 seconds")
