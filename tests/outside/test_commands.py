"""The commands of poller: what they print, their exit codes, signals, rereading, and state."""

from __future__ import annotations

import base64
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.functions import Answer, function
from tests.outside.poller_process import Running, write_config
from tests.outside.sqs_lanes import send
from tests.outside.watched import (
    ENVIRONMENT,
    Mapped,
    assert_clean,
    await_line,
    config,
    lines,
    uuid_of,
    watched,
)
from tests.programs import free_port
from tests.servers import Stream, aws, new_queue, new_stream
from tests.waiting import eventually

DONE, FAILED, WRONG = 0, 1, 2
COMMAND_TIMEOUT = 60.0
FROM_THE_START = {"StartingPosition": "TRIM_HORIZON", "BatchSize": 10}
NOWHERE = "http://127.0.0.1:9"
QUEUE_ARN = "arn:aws:sqs:us-east-1:000000000000:orders"
STREAM_ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/orders"


def command(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`poller` with these arguments, until it ends."""
    ended = subprocess.run(
        [sys.executable, "-m", "poller", *arguments],
        cwd=folder,
        env={**os.environ, **ENVIRONMENT},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT,
        check=False,
    )
    assert_clean(ended.stderr)
    return ended


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


@pytest.mark.parametrize("name", ["", "run", "check", "demo"])
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
        (["filter", "{}"], "filter"),
        (["run"], "CONFIG"),
        (["run", "poller.yaml", "--template", "template.yaml"], "--template"),
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


# Signals.


def test_stopping_lets_what_runs_end_and_a_restart_continues_behind_it(
    ministack_url: str, tmp_path: Path
) -> None:
    stream, finish = new_stream(ministack_url), threading.Event()
    put(ministack_url, stream, "a")
    with function(lambda call: Answer(after=finish) if call.number == 0 else Answer()) as stub:
        settings = config(
            ministack_url, Mapped(stream.arn, stub, {**FROM_THE_START, "BatchSize": 1}, timeout=20)
        )
        with watched(settings, folder=tmp_path) as running:
            stub.wait(lambda: len(stub.calls) == 1)
            put(ministack_url, stream, "b", "c")
            running.process.terminate()
            await_line(running, "stopping")
            eventually(lambda: running.get("/readyz")[0] == 503)
            assert running.get("/healthz")[0] == 200
            finish.set()
            assert running.wait() == DONE
        assert bodies(stub.succeeded) == ["a"]
        changed = {**settings["mappings"][0], "StartingPosition": "LATEST"}
        with watched({**settings, "mappings": [changed]}, folder=tmp_path) as running:
            stub.wait(lambda: len(stub.succeeded) == 3)
            assert lines(running, "WARNING", "StartingPosition has changed", "no effect")
            assert running.stop() == DONE
        assert bodies(stub.succeeded) == ["a", "b", "c"]


def test_a_second_ctrl_c_ends_at_once(ministack_url: str) -> None:
    stream, never = new_stream(ministack_url), threading.Event()
    put(ministack_url, stream, "a")
    with (
        function(lambda _call: Answer(after=never)) as stub,
        watched(
            config(ministack_url, Mapped(stream.arn, stub, FROM_THE_START, timeout=900))
        ) as running,
    ):
        stub.wait(lambda: len(stub.calls) == 1)
        running.process.send_signal(signal.SIGINT)
        await_line(running, "stopping", "Ctrl-C")
        assert running.process.poll() is None
        running.process.send_signal(signal.SIGINT)
        assert running.wait(10) == FAILED


def test_rereading_applies_what_changed_and_disturbs_nothing_else(ministack_url: str) -> None:
    kept, removed, changed, added = (new_stream(ministack_url) for _ in range(4))
    for stream in (kept, removed, changed, added):
        put(ministack_url, stream, "first")
    finish = threading.Event()
    with (
        function(lambda call: Answer(after=finish) if call.number == 0 else Answer()) as slow,
        function() as quick,
        function() as replaced,
    ):

        def to(stream: Stream, name: str, stub: Any) -> Mapped:
            return Mapped(stream.arn, stub, FROM_THE_START, timeout=30, name=name)

        before = config(
            ministack_url,
            to(kept, "kept", slow),
            to(removed, "removed", quick),
            to(changed, "changed", quick),
        )
        with watched(before) as running:
            slow.wait(lambda: len(slow.calls) == 1)
            quick.wait(lambda: len(quick.calls) == 2)
            running.rewrite(
                config(
                    ministack_url,
                    to(kept, "kept", slow),
                    to(changed, "changed", replaced),
                    to(added, "added", replaced),
                )
            )
            running.hup()
            await_line(running, "the config was reread", "3 mappings")
            for stream in (removed, changed, added):
                put(ministack_url, stream, "second")
            replaced.wait(lambda: len(replaced.records) == 3)
            assert sorted(bodies(replaced.records)) == ["first", "second", "second"]
            assert {mapping["source"] for mapping in running.lag()["mappings"].values()} == {
                kept.arn, changed.arn, added.arn,
            }  # fmt: skip
            assert len(slow.calls) == 1, "the running invocation goes on"
            finish.set()
            slow.wait(lambda: slow.succeeded != [])

            running.rewrite(before)
            running.hup()
            await_line(running, "the config was reread")
            quick.wait(lambda: len(quick.records) == 3)
            assert bodies(quick.records) == ["first", "first", "second"], "it continues"
            assert len(slow.calls) == 1


def _rereads(running: Running, settings: Mapping[str, Any], *said: str) -> None:
    running.rewrite(settings)
    running.hup()
    await_line(running, *said)


def test_a_reread_file_that_is_invalid_or_needs_a_restart_changes_nothing(
    ministack_url: str, tmp_path: Path
) -> None:
    stream = new_stream(ministack_url)
    with function() as stub:
        settings = config(ministack_url, Mapped(stream.arn, stub, FROM_THE_START))
        with watched(settings, folder=tmp_path) as running:
            wrong = {**settings, "mappings": [{**settings["mappings"][0], "BatchSize": 0}]}
            _rereads(running, wrong, "ERROR", "changes nothing", "poller.yaml:", "BatchSize")
            (tmp_path / "poller.yaml").write_text("functions: [")
            running.hup()
            await_line(running, "ERROR", "changes nothing", "poller.yaml:1")
            (tmp_path / "poller.yaml").unlink()
            running.hup()
            await_line(running, "ERROR", "changes nothing", "cannot be read")
            moved = {**settings, "aws": {**settings["aws"], "endpoint_url": NOWHERE}}
            _rereads(running, moved, "aws has changed", "restart")
            _rereads(running, {**settings, "state": "sqlite:b.db"}, "state has changed", "restart")
            put(ministack_url, stream, "still")
            stub.wait(lambda: bodies(stub.succeeded) == ["still"])
            assert running.is_ready()
            assert not (tmp_path / "b.db").exists()


def test_a_changed_address_is_reported_as_needing_a_restart(tmp_path: Path) -> None:
    port, other = free_port(), free_port()
    settings = {"functions": {}, "mappings": [], "listen": f"127.0.0.1:{port}"}
    path = write_config(tmp_path, settings)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "poller", "run", str(path)],
            cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    running = Running(process, tmp_path, f"http://127.0.0.1:{port}")
    try:

        def logged(text: str) -> bool:
            assert process.poll() is None
            return text in (tmp_path / "log").read_text()

        eventually(lambda: logged(f"listening on http://127.0.0.1:{port}"))
        running.rewrite({**settings, "listen": f"127.0.0.1:{other}"})
        running.hup()
        eventually(lambda: logged("listen has changed"))
        assert running.get("/healthz")[0] == 200
        assert running.stop() == DONE
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
    assert_clean((tmp_path / "log").read_text())


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


def test_logs_can_be_json(tmp_path: Path) -> None:
    with watched({"functions": {}, "mappings": []}, "--log-format", "json", folder=tmp_path) as one:
        assert one.stop() == DONE
        logged = [json.loads(line) for line in one.log().splitlines() if line.startswith("{")]
    assert any("listening on" in line["message"] for line in logged)
    assert {"time", "level", "logger", "message"} <= logged[0].keys()
