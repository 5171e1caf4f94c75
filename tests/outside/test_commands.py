"""The commands of poller: what they print, exit codes, its own port, and its state file."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.functions import Answer, function
from tests.outside.poller_process import write_config
from tests.outside.sqs_lanes import send
from tests.outside.watched import (
    Mapped,
    await_line,
    command,
    config,
    uuid_of,
    watched,
)
from tests.servers import Stream, aws, new_queue, new_stream
from tests.waiting import eventually

DONE, FAILED, WRONG = 0, 1, 2
FROM_THE_START = {"StartingPosition": "TRIM_HORIZON", "BatchSize": 10}


def put(url: str, stream: Stream, *bodies: str) -> None:
    records = [{"Data": body.encode(), "PartitionKey": "key"} for body in bodies]
    aws("kinesis", url).put_records(StreamName=stream.name, Records=records)


def bodies(records: Sequence[Any]) -> list[str]:
    return [base64.b64decode(record["kinesis"]["data"]).decode() for record in records]


# What is printed.


def test_the_version_is_one_line() -> None:
    ended = command("--version")
    assert (ended.returncode, ended.stderr) == (DONE, "")
    name, version = ended.stdout.split()
    assert name == "poller"
    assert version[0].isdigit()


@pytest.mark.parametrize("name", ["", "run", "check", "demo", "filter", "import"])
def test_help_says_how_a_command_is_used(name: str) -> None:
    ended = command(*filter(None, [name]), "--help")
    assert (ended.returncode, ended.stderr) == (DONE, "")
    assert ended.stdout.startswith(f"usage: poller {name}".rstrip())
    assert name == "" or {"--log-level", "--log-format"} <= set(ended.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "COMMAND"),
        (["fly"], "fly"),
        (["filter"], "PATTERN"),
        (["filter", "{}"], "the pattern must not be an empty object"),
        (["filter", '{"a": [1]}', "missing.json"], "missing.json"),
        (["filter", "@missing.json"], "missing.json"),
        (["run"], "CONFIG"),
        (["run", "--template", "missing.yaml"], "missing.yaml"),
        (["run", "poller.yaml", "--parameter", "A=1"], "--template"),
        (["run", "--template", "missing.yaml", "--parameter", "A"], "KEY=VALUE"),
        (["check"], "CONFIG"),
        (["import"], "--function"),
        (["import", "--function", "not a name"], "--function"),
        (["import", "--function", "f", "--endpoint-url", "ftp://h"], "--endpoint-url"),
        (["run", "poller.yaml", "--until-idle", "-1"], "--until-idle"),
        (["run", "poller.yaml", "--listen", "0.0.0.0:9310"], "auth"),
        (["run", "poller.yaml", "--state", "dynamodb:poller"], "dynamodb"),
        (["run", "missing.yaml"], "missing.yaml"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    write_config(tmp_path, {"functions": {}, "mappings": []})
    ended = command(*arguments, folder=tmp_path)
    assert (ended.returncode, ended.stdout) == (WRONG, "")
    (line,) = ended.stderr.splitlines()
    assert said in line


# Running to the end.


def test_until_idle_ends_once_everything_is_delivered(ministack_url: str, tmp_path: Path) -> None:
    stream = new_stream(ministack_url, shards=2)
    sent = [f"r{number}" for number in range(50)]
    put(ministack_url, stream, *sent)
    with function() as stub:
        settings = config(ministack_url, Mapped(stream.arn, stub, FROM_THE_START))
        write_config(tmp_path, settings)
        ended = command("run", "poller.yaml", *("--listen", "127.0.0.1:0"), *("--until-idle", "2"),
                        folder=tmp_path)  # fmt: skip
        assert ended.returncode == DONE
        assert bodies(stub.succeeded) == sent


@pytest.mark.slow
def test_until_idle_ends_once_a_queue_is_empty(ministack_url: str, tmp_path: Path) -> None:
    queue = new_queue(ministack_url)
    send(ministack_url, queue, *map(str, range(20)))
    with function() as stub:
        write_config(tmp_path, config(ministack_url, Mapped(queue.arn, stub)))
        ended = command("run", "poller.yaml", *("--listen", "127.0.0.1:0"), *("--until-idle", "2"),
                        folder=tmp_path)  # fmt: skip
        assert ended.returncode == DONE
        assert len(stub.succeeded) == 20


# Its own port.


def test_the_status_routes_answer(ministack_url: str) -> None:
    queue = new_queue(ministack_url, VisibilityTimeout="30")
    missing = f"{queue.arn}-missing"
    hold = threading.Event()
    with (
        function(lambda _call: Answer(after=hold)) as stub,
        watched(
            config(
                ministack_url,
                Mapped(queue.arn, stub, {"BatchSize": 1}, timeout=30),
                Mapped(missing, stub),
            ),
            ready=False,
        ) as running,
    ):
        await_line(running, "queue", "trying again until it is there")
        assert running.get("/healthz") == (200, b'{"status": "ok"}')
        status, body = running.get("/readyz")
        assert status == 503
        (waiting,) = [
            each for each in json.loads(body)["waiting_for"] if each["state"] == "Creating"
        ]
        assert waiting["mapping"] == uuid_of(running, missing)
        assert "does not exist" in waiting["reason"]
        uuid = uuid_of(running, queue.arn)
        assert running.lag()["mappings"][uuid]["function"] == "f0"
        assert running.metrics("poller_mapping_state", mapping=uuid, state="Enabled") == 1
        state = running.metrics(
            "poller_mapping_state", mapping=waiting["mapping"], state="Creating"
        )
        assert state == 1
        assert running.get("/nothing/here")[0] == 404
        request = urllib.request.Request(running.address + "/lag", headers={"Host": "evil.example"})
        with pytest.raises(urllib.error.HTTPError, match="403") as refused:
            urllib.request.urlopen(request)
        refused.value.close()
        hold.set()


def test_lag_counts_the_messages_that_wait_in_a_queue(ministack_url: str) -> None:
    queue = new_queue(ministack_url, VisibilityTimeout="30")
    send(ministack_url, queue, *map(str, range(9)))
    with (
        function(lambda _call: Answer(status=429)) as stub,
        watched(config(ministack_url, Mapped(queue.arn, stub, {"BatchSize": 1}))) as running,
    ):
        stub.wait(lambda: len(stub.calls) >= 5)
        eventually(lambda: running.lag()["total"]["records"] == 9, 3)


# State.


def test_a_state_file_is_for_one_poller_at_a_time(tmp_path: Path) -> None:
    settings = {"functions": {}, "mappings": []}
    with watched(settings, "--state", "sqlite:given.db", folder=tmp_path) as running:
        assert (tmp_path / "given.db").exists()
        assert not (tmp_path / "poller.db").exists()
        second = command("run", "poller.yaml", *("--listen", "127.0.0.1:0"),
                         *("--state", "sqlite:given.db"), folder=tmp_path)  # fmt: skip
        assert second.returncode == FAILED
        (line,) = second.stderr.splitlines()
        assert "given.db is in use by another poller" in line
        assert running.get("/healthz")[0] == 200


def _of_newer_version(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA application_id={0x706F6C6C}")
    connection.execute("PRAGMA user_version=99")
    connection.close()


def _of_another_program(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (a)")
    connection.close()


def _no_database(path: Path) -> None:
    path.write_text("no database at all, but long enough to be looked at as one\n" * 100)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_no_database, "is not an SQLite database"),
        (_of_another_program, "belongs to another program"),
        (_of_newer_version, "was written by a newer poller"),
    ],
)
def test_a_state_file_that_cannot_be_used_is_left_as_it_is(
    damage: Any, said: str, tmp_path: Path
) -> None:
    path = write_config(tmp_path, {"functions": {}, "mappings": []})
    state = tmp_path / "poller.db"
    damage(state)
    before = state.read_bytes()
    ended = command("run", str(path), "--listen", "127.0.0.1:0")
    assert ended.returncode == FAILED
    (line,) = ended.stderr.splitlines()
    assert str(state) in line
    assert said in line
    assert state.read_bytes() == before


def test_a_damaged_state_file_is_reported(tmp_path: Path) -> None:
    settings = {"functions": {}, "mappings": []}
    with watched(settings, folder=tmp_path) as running:
        assert running.stop() == DONE
    state = tmp_path / "poller.db"
    content = bytearray(state.read_bytes())
    content[4096:] = b"\xff" * len(content[4096:])
    state.write_bytes(content)
    ended = command("run", "poller.yaml", "--listen", "127.0.0.1:0", folder=tmp_path)
    assert ended.returncode == FAILED
    (line,) = ended.stderr.splitlines()
    assert f"{state} is damaged" in line
    assert state.read_bytes() == content


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_state_file_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    write_config(tmp_path, {"functions": {}, "mappings": []})
    state = tmp_path / "poller.db"
    state.touch(0o400)
    ended = command("run", "poller.yaml", "--listen", "127.0.0.1:0", folder=tmp_path)
    assert ended.returncode == FAILED
    (line,) = ended.stderr.splitlines()
    assert f"{state} cannot be written" in line


def test_logs_can_be_json_to_the_last_line(tmp_path: Path) -> None:
    with watched({"functions": {}, "mappings": []}, "--log-format", "json", folder=tmp_path) as one:
        assert one.stop() == DONE
        logged = [json.loads(line) for line in one.log().splitlines()]
    assert any("listening on" in line["message"] for line in logged)
    assert {"time", "level", "logger", "message"} <= logged[0].keys()
