"""Stopping, ending at once, and rereading the config: what SIGTERM, Ctrl-C and SIGHUP do."""

from __future__ import annotations

import base64
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.functions import Answer, function
from tests.outside.poller_process import Running, write_config
from tests.outside.watched import (
    Mapped,
    assert_clean,
    await_line,
    config,
    lines,
    watched,
)
from tests.programs import free_port
from tests.servers import Stream, aws, new_stream
from tests.waiting import eventually

DONE, FAILED = 0, 1
FROM_THE_START = {"StartingPosition": "TRIM_HORIZON", "BatchSize": 10}
NOWHERE = "http://127.0.0.1:9"


def put(url: str, stream: Stream, *bodies: str) -> None:
    records = [{"Data": body.encode(), "PartitionKey": "key"} for body in bodies]
    aws("kinesis", url).put_records(StreamName=stream.name, Records=records)


def bodies(records: Sequence[Any]) -> list[str]:
    return [base64.b64decode(record["kinesis"]["data"]).decode() for record in records]


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
