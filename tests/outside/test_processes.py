"""Functions whose processes `poller run` starts: what they print, their end, their new code."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.outside.lambda_api import REGION
from tests.outside.poller_process import Running
from tests.outside.watched import await_line, lines, watched
from tests.servers import aws, new_stream
from tests.targets.function_processes import HANDLERS, is_alive
from tests.waiting import eventually

OUTSIDE_HANDLERS = Path(__file__).parent / "handlers"
UNCACHED = {"PYTHONDONTWRITEBYTECODE": "1"}


def functions(**declared: dict[str, Any]) -> dict[str, Any]:
    return {"aws": {"region": REGION}, "functions": declared, "mappings": []}


def handler(name: str, **settings: Any) -> dict[str, Any]:
    return {"handler": name, "path": str(HANDLERS), "timeout": 30, **settings}


@contextlib.contextmanager
def client(running: Running) -> Iterator[Any]:
    settings = Config(retries={"total_max_attempts": 1})
    with contextlib.closing(
        boto3.client(
            "lambda", endpoint_url=running.address, region_name=REGION, config=settings,
            aws_access_key_id="any", aws_secret_access_key="any",
        )
    ) as found:  # fmt: skip
        yield found


def invoke(running: Running, function: str, event: Any) -> tuple[str, Any]:
    """The request id, and what the function returned or how it failed."""
    with client(running) as api:
        reply = api.invoke(FunctionName=function, Payload=json.dumps(event))
        return reply["ResponseMetadata"]["RequestId"], json.loads(reply["Payload"].read())


@pytest.mark.proves("S12.2.output")
def test_what_functions_print_is_there_line_by_line_with_the_id_of_its_invocation() -> None:
    command = f"{sys.executable} -S runtime.py faults.says"
    declared = functions(
        one=handler("faults.says"),
        other={"command": command, "path": str(HANDLERS)},
    )
    with watched(declared) as running:
        for name in ("one", "other"):
            id_, _ = invoke(running, name, {"lines": ["a b", "\x1b[31mred\x1b[0m \x1b]0;x\x07"]})
            await_line(running, f"[{name} {id_}] REPORT")
            start, first, second, end, report = lines(running, f"[{name} {id_}] ")
            mark = f"[{name} {id_}] "
            assert start == f"{mark}START RequestId: {id_} Version: $LATEST"
            assert (first, second) == (f"{mark}a b", f"{mark}\x1b[31mred\x1b[0m \ufffd]0;x\ufffd")
            assert end == f"{mark}END RequestId: {id_}"
            assert report.startswith(f"{mark}REPORT RequestId: {id_}\tDuration: ")
        assert running.stop() == 0


def test_output_is_json_where_the_log_is() -> None:
    declared = functions(one=handler("faults.says"))
    with watched(declared, "--log-format", "json") as running:
        id_, _ = invoke(running, "one", {"lines": ['{"level": "x"}', "\x00"]})
        await_line(running, id_, "REPORT")
        said = [json.loads(line) for line in lines(running, id_)]
        assert {each["function"] for each in said} == {"one"}
        assert {each["requestId"] for each in said} == {id_}
        assert [each["message"] for each in said][1:3] == ['{"level": "x"}', "\x00"]


def test_a_runtime_that_is_killed_in_the_middle_of_a_batch_is_retried_by_the_mapping(
    ministack_url: str, tmp_path: Path
) -> None:
    stream = new_stream(ministack_url)
    records = [{"Data": str(n).encode(), "PartitionKey": "key"} for n in range(3)]
    aws("kinesis", ministack_url).put_records(StreamName=stream.name, Records=records)
    settings = {
        "aws": {"region": REGION, "endpoint_url": ministack_url},
        "functions": {
            "kept": {
                "handler": "attempts.handler", "path": str(OUTSIDE_HANDLERS), "timeout": 300,
                "environment": {"ATTEMPTS": str(tmp_path)},
            },
        },
        "mappings": [
            {
                "EventSourceArn": stream.arn, "FunctionName": "kept", "BatchSize": 3,
                "StartingPosition": "TRIM_HORIZON", "MaximumRetryAttempts": 1,
            },
        ],
    }  # fmt: skip
    with watched(settings) as running:
        first = attempt(tmp_path, 0)
        os.kill(first["pid"], signal.SIGKILL)
        second = attempt(tmp_path, 1)
        assert first["items"] == second["items"] == ["0", "1", "2"]
        assert first["pid"] != second["pid"]
        killed = f"RequestId: {first['id']} Error: Runtime exited with error: signal: killed"
        assert await_line(running, killed).startswith(f"[kept {first['id']}]")
        await_line(running, f"[kept {second['id']}] END")
        eventually(lambda: running.metrics("poller_records_succeeded_total") == 3)
        assert running.metrics("poller_records_dropped_total") == 0


def attempt(folder: Path, number: int) -> Any:
    file = folder / f"{number}.json"
    eventually(file.exists)
    return json.loads(file.read_text())


@pytest.mark.parametrize("stops", [True, False], ids=["stopped", "killed"])
def test_nothing_of_a_function_outlives_poller(tmp_path: Path, stops: bool) -> None:
    file = tmp_path / "pids"
    with watched(functions(one=handler("faults.leaves_daemons"))) as running:
        invoke(running, "one", {"file": str(file)})
        pids = [int(pid) for pid in file.read_text().split()]
        assert all(map(is_alive, pids))
        if stops:
            assert running.stop() == 0
            assert not any(map(is_alive, pids))
        else:
            running.kill()
            eventually(lambda: not any(map(is_alive, pids)))


def test_changed_code_runs_after_one_reload_for_all_changes(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    shutil.copy(HANDLERS / "faults.py", code)
    (code / "beside.py").write_text("VERSION = 1")
    one = handler("faults.code", path="code", environment=UNCACHED)
    with watched(functions(one=one), "--reload", folder=tmp_path) as running:
        assert invoke(running, "one", {})[1] == 1
        for name in (".git/index", "node_modules/x/index.js", "it.log"):  # of no interest
            (code / name).parent.mkdir(parents=True, exist_ok=True)
            (code / name).touch()
        replace(code / "beside.py", "VERSION = 22")
        await_line(running, "INFO beside.py changed: processes of one start anew")
        assert invoke(running, "one", {})[1] == 22
        for number in range(30):
            replace(tmp_path / "new" / f"{number:02}.py", "")
        (tmp_path / "new").rename(code / "package")
        many = "package/00.py, package/01.py, package/02.py and 27 more changed"
        await_line(running, f"INFO {many}: processes of one start anew")
        assert invoke(running, "one", {})[1] == 22
        assert running.stop() == 0
        assert len(lines(running, "start anew")) == 2


def replace(file: Path, text: str) -> None:
    """In one step, so that nobody sees half of it."""
    file.parent.mkdir(exist_ok=True)
    part = file.with_suffix(".tmp")
    part.write_text(text)
    part.rename(file)


def test_the_log_of_poller_and_its_state_are_no_code(tmp_path: Path) -> None:
    shutil.copy(HANDLERS / "faults.py", tmp_path)
    (tmp_path / "beside.py").write_text("VERSION = 1")
    one = handler("faults.code", path=".", environment=UNCACHED)
    with watched(functions(one=one), "--reload", folder=tmp_path) as running:
        assert invoke(running, "one", {})[1] == 1
        replace(tmp_path / "beside.py", "VERSION = 22")
        line = await_line(running, "start anew")
        assert "INFO beside.py changed" in line
        assert invoke(running, "one", {})[1] == 22
        assert len(lines(running, "start anew")) == 1


def test_with_nothing_to_reload_one_line_says_so() -> None:
    declared = functions(gone={"url": "http://127.0.0.1:1/"})
    with watched(declared, "--reload") as running:
        await_line(running, "WARNING", "--reload", "nothing is reloaded")
