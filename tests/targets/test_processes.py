"""Functions of the `handler` kind, with real processes: what invocations become."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from poller.errors import ConfigError
from poller.interfaces import Errored, NotReached, Ran
from poller.targets import output_lines, runtime_process, start_gate
from tests.targets.function_processes import HANDLERS, Recorded, is_alive, python_handler
from tests.targets.runtimes import ARN, invocation
from tests.waiting import soon


@pytest.fixture(autouse=True)
def quick_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start_gate, "BACKOFF_MIN", 0.02)
    monkeypatch.setattr(start_gate, "BACKOFF_MAX", 0.02)


async def test_a_handler_in_a_package_gets_its_event_and_its_context() -> None:
    what = invocation(json.dumps({"Records": [{"n": 1}]}).encode())
    environment = {"TABLE": "orders", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    async with python_handler(
        "app.orders.handler", timeout=60.0, memory=512, environment=environment
    ) as function:
        reply = await function.invoke(what)

    assert isinstance(reply, Ran), reply
    said = json.loads(reply.body)
    assert 0 < said.pop("remaining_ms") <= 60_000
    assert said.pop("pid") != os.getpid()
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", said.pop("log_stream"))
    variables = said.pop("environment")
    assert said == {
        "event": {"Records": [{"n": 1}]},
        "request_id": what.request_id,
        "arn": ARN,
        "name": "orders",
        "version": "$LATEST",
        "memory": "512",
        "log_group": "/aws/lambda/orders",
        "folder": str(HANDLERS),
    }
    assert {name: variables.get(name) for name in [*environment, "_HANDLER", "AWS_REGION"]} == {
        "TABLE": "orders",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "_HANDLER": "app.orders.handler",
        "AWS_REGION": "us-east-1",
    }
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert variables["AWS_EXECUTION_ENV"] == f"AWS_Lambda_python{version}"
    assert variables["_X_AMZN_TRACE_ID"] == what.trace_id
    assert variables["LAMBDA_TASK_ROOT"] == str(HANDLERS)


@pytest.mark.parametrize(("qualifier", "version"), [("live", "$LATEST"), ("2", "2")])
async def test_a_qualifier_is_no_part_of_the_name_that_a_handler_is_told(
    qualifier: str, version: str
) -> None:
    async with python_handler("app.orders.handler", name=f"orders:{qualifier}") as function:
        reply = await function.invoke(invocation())
    assert isinstance(reply, Ran), reply
    said = json.loads(reply.body)
    assert (said["name"], said["version"]) == ("orders", version)
    assert said["log_group"] == "/aws/lambda/orders"
    assert f"/[{version}]" in said["log_stream"]


async def test_an_event_of_100_records_arrives_byte_for_byte() -> None:
    records = ", ".join(f'{{"kinesis": {{"data": "{"é/+" * 250}", "n":{n}}}}}' for n in range(100))
    event = f'{{"Records" :[{records}] }}'.encode()
    async with python_handler("raw.handler") as function:
        reply = await function.invoke(invocation(event))

    assert len(event) > 80_000
    assert reply == Ran(json.dumps(hashlib.sha256(event).hexdigest()).encode())


async def test_what_a_handler_raises_is_a_function_error_and_its_process_lives() -> None:
    async with python_handler("faults.raises") as function:
        replies = [await function.invoke(invocation(b'{"order": 7}')) for _ in range(2)]
        missing = await function.invoke(invocation(b"{}"))

    errors = [each for each in (*replies, missing) if isinstance(each, Errored)]
    assert [(each.error_type, each.message) for each in errors] == [
        ("OrderRefused", "no 7"),
        ("OrderRefused", "no 7"),
        ("KeyError", "'order'"),
    ]
    assert "stackTrace" in json.loads(errors[0].payload)


@pytest.mark.parametrize(
    ("handler", "error_type", "message"),
    [
        ("nothing.handler", "Runtime.ImportModuleError", "Unable to import module 'nothing'"),
        ("faults.nothing", "Runtime.HandlerNotFound", "Handler 'nothing' missing on module"),
        ("faults", "Runtime.MalformedHandlerName", "Bad handler 'faults'"),
        ("wrong.handler", "Runtime.UserCodeSyntaxError", "Syntax error in module 'wrong'"),
        ("raises.handler", "RuntimeError", "not today"),
        ("leaves.handler", "Runtime.ExitError", "Runtime exited with error: exit status 3"),
        ("vanishes.handler", "Runtime.ExitError", "Runtime exited with error: signal: killed"),
        ("_thread.handler", "Runtime.BuiltInModuleConflict", "Cannot use built-in module"),
    ],
)
async def test_a_function_that_cannot_be_initialised_fails_its_invocations(
    tmp_path: Path, handler: str, error_type: str, message: str
) -> None:
    modules = {
        "faults": "",
        "wrong": "def handler(:",
        "raises": "raise RuntimeError('not today')",
        "leaves": "import sys; sys.exit(3)",
        "vanishes": "import os; os.kill(os.getpid(), 9)",
    }
    for name, code in modules.items():
        (tmp_path / f"{name}.py").write_text(code)
    async with python_handler(handler, path=tmp_path) as function:
        replies = [await function.invoke(invocation()) for _ in range(2)]

    for reply in replies:
        assert isinstance(reply, Errored)
        assert reply.error_type == error_type
        assert message in reply.message


async def test_it_starts_again_once_the_code_is_right_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "poller.targets")
    async with python_handler("later.handler", path=tmp_path) as function:
        wrong = [await function.invoke(invocation()) for _ in range(3)]
        (tmp_path / "later.py").write_text("handler = lambda event, context: 5")
        right = await function.invoke(invocation())

    assert {type(reply) for reply in wrong} == {Errored}
    assert right == Ran(b"5")
    missing = "Unable to import module 'later': No module named 'later'"
    assert caplog.messages == [
        f"function orders cannot start: Runtime.ImportModuleError: {missing}",
        "function orders starts again",
    ]


@pytest.fixture
def bare_python(tmp_path: Path) -> str:
    """An interpreter with nothing installed."""
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    return str(bare / "bin" / "python")


async def test_what_keeps_poller_from_running_it_is_not_reached(
    tmp_path: Path, bare_python: str
) -> None:
    folder = tmp_path / "nothing"
    async with python_handler("faults.works", python="/nonexistent/python") as function:
        no_python = await function.invoke(invocation())
    async with python_handler("faults.works", path=folder) as function:
        no_folder = await function.invoke(invocation())
    async with python_handler("faults.works", python=bare_python) as function:
        no_client = await function.invoke(invocation())

    cannot = "function orders: cannot start"
    reason = "No such file or directory"
    assert no_python == NotReached(f"{cannot} /nonexistent/python: {reason}")
    assert no_folder == NotReached(f"{cannot} {folder}: {reason}")
    assert no_client == NotReached(
        f"function orders: awslambdaric is not installed for {bare_python}: "
        f"run `{bare_python} -m pip install awslambdaric`"
    )


async def test_initialisation_beyond_its_limit_counts_to_the_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runtime_process, "INIT_MAX", 0.0)
    slow = {"IMPORT_SECONDS": "0.5"}
    async with python_handler("slow_start.handler", environment=slow, timeout=20.0) as function:
        reply = await function.invoke(invocation())

    assert isinstance(reply, Ran), reply
    assert 0 < int(reply.body) <= 19_500


async def test_an_initialisation_without_end_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_process, "INIT_MAX", 0.2)
    never = {"IMPORT_SECONDS": "60"}
    async with python_handler("slow_start.handler", environment=never, timeout=0.1) as function:
        reply = await function.invoke(invocation())

    assert reply == Errored("Sandbox.Timedout", "Task timed out after 0.10 seconds")


async def test_a_process_that_does_not_come_back_for_more_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runtime_process, "RETURN_MAX", 0.2)
    async with python_handler("stuck.handler") as function:
        first = await function.invoke(invocation())
        assert isinstance(first, Ran), first
        second = await function.invoke(invocation())
        await soon(lambda: not is_alive(int(first.body)))

    assert isinstance(second, Ran)
    assert second != first


async def test_an_answer_that_is_too_large_or_no_json_is_a_function_error() -> None:
    async with python_handler("faults.returns_too_much") as function:
        too_large = [await function.invoke(invocation()) for _ in range(2)]
    async with python_handler("faults.returns_no_json") as function:
        no_json = await function.invoke(invocation())

    message = "Response payload size exceeded maximum allowed payload size (6291556 bytes)."
    assert too_large == [Errored("Function.ResponseSizeTooLarge", message)] * 2
    assert isinstance(no_json, Errored)
    assert no_json.error_type == "Runtime.MarshalError"


async def test_output_is_passed_on_by_lines_whatever_it_is() -> None:
    output = Recorded()
    async with python_handler("prints.handler", output=output) as function:
        reply = await function.invoke(invocation())

    assert isinstance(reply, Errored), reply
    longest = output_lines.LINE_BYTES_MAX
    logged = output.lines.pop(-2)
    assert output.lines == [
        "at import",
        "héllo",
        "world",
        "\ufffd\ufffd binary \0",
        *["x" * longest] * (200_000 // longest),
        "x" * (200_000 % longest),
        "to stderr",
        "no end of line",
    ]
    assert logged.startswith("[WARNING]\t")
    assert logged.endswith("\tlogged")


async def test_a_stack_trace_is_passed_on_as_lines_of_its_own() -> None:
    output = Recorded()
    async with python_handler("faults.raises", output=output) as function:
        await function.invoke(invocation(b'{"order": 7}'))

    assert output.lines[:2] == ["[ERROR] OrderRefused: no 7", "Traceback (most recent call last):"]


@pytest.mark.parametrize("variable", ["_HANDLER", "AWS_LAMBDA_RUNTIME_API", "A=B", ""])
def test_a_variable_that_cannot_be_given_is_refused(variable: str) -> None:
    with pytest.raises(ConfigError, match=f"function orders: environment: {variable!r} "):
        python_handler("faults.works", environment={variable: "x"})


async def test_poller_s_own_variables_stay_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLLER_TOKEN", "secret")
    monkeypatch.setenv("AWS_LAMBDA_MAX_CONCURRENCY", "5")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session")
    async with python_handler("app.orders.handler") as function:
        reply = await function.invoke(invocation())

    assert isinstance(reply, Ran), reply
    variables = json.loads(reply.body)["environment"]
    assert "POLLER_TOKEN" not in variables
    assert "AWS_LAMBDA_MAX_CONCURRENCY" not in variables
    assert variables["AWS_SESSION_TOKEN"] == "session"
    assert variables["PATH"] == os.environ["PATH"]


async def test_failing_starts_are_one_at_a_time_and_never_in_a_tight_loop(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(start_gate, "BACKOFF_MIN", 0.3)
    monkeypatch.setattr(start_gate, "BACKOFF_MAX", 0.3)
    (tmp_path / "counted.py").write_text("open('starts', 'a').write('x')\nraise ValueError")
    async with python_handler("counted.handler", path=tmp_path) as function:
        await function.invoke(invocation())
        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(10):
                tasks.create_task(function.invoke(invocation()))

    assert (tmp_path / "starts").read_text() == "xx"
    assert time.monotonic() - began >= 0.2
