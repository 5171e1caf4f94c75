"""`poller run --template`: a SAM template runs with one command, and its tables are waited for."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.outside.poller_process import LOG_TAIL_BYTES, Running
from tests.outside.watched import assert_clean, await_line
from tests.servers import LEASH, Queue, Stream, aws, new_queue, new_stream, new_table
from tests.waiting import eventually

EXAMPLE = Path(__file__).parents[2] / "config" / "examples" / "sam" / "template.yaml"
START_TIMEOUT = 30.0


@contextlib.contextmanager
def running(url: str, *arguments: str, folder: Path) -> Iterator[Running]:
    """`poller run` with these arguments at the emulator `url`, until the block ends."""
    command = [sys.executable, "-m", "poller", "run", "--listen", "127.0.0.1:0", *arguments]
    with (folder / "output.log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", LEASH, str(os.getpid()), *command],
            cwd=folder,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "AWS_ENDPOINT_URL": url},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    poller = Running(process, folder)
    try:
        eventually(lambda: _listens(poller), START_TIMEOUT)
        yield poller
    except BaseException as error:
        error.add_note(f"the log of poller:\n{poller.log()[-LOG_TAIL_BYTES:]}")
        raise
    finally:
        process.kill()
        process.wait()
    assert_clean(poller.log())


def _listens(running: Running) -> bool:
    assert running.process.poll() is None, f"exit code {running.process.returncode}"
    _, found, rest = running.log().partition("listening on ")
    running.address = rest.split()[0] if found and rest.split() else ""
    return bool(running.address)


class Deployed:
    """What the example template names, in an emulator, under names of this test alone."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.mark = uuid.uuid4().hex[:8]
        self.orders: Stream = new_stream(url, name=f"orders-{self.mark}")
        self.jobs: Queue = new_queue(url, name=f"jobs-{self.mark}", VisibilityTimeout="60")
        self.failed: Queue = new_queue(url, name=f"failed-{self.mark}")

    @property
    def table(self) -> str:
        return f"users-{self.mark}"

    def template(self, folder: Path) -> Path:
        """The example, whose Stage may be anything here."""
        text = EXAMPLE.read_text().replace("AllowedValues: [dev, prod]", "Description: any")
        (folder / "src").mkdir(exist_ok=True)
        code = EXAMPLE.parent / "src" / "app.py"
        (folder / "src" / "app.py").write_text(code.read_text())
        template = folder / "template.yaml"
        template.write_text(text)
        return template

    def send(self, number: int) -> None:
        """One item to the stream and to the queue."""
        kinesis, sqs = aws("kinesis", self.url), aws("sqs", self.url)
        data = f"order-{number}".encode()
        kinesis.put_record(StreamName=self.orders.name, Data=data, PartitionKey="key")
        sqs.send_message(QueueUrl=self.jobs.url, MessageBody=f"job-{number}")

    def put(self, number: int) -> None:
        """One item to the table."""
        item = {"id": {"S": f"user-{number}"}}
        aws("dynamodb", self.url).put_item(TableName=self.table, Item=item)


@pytest.mark.parametrize("server", ["ministack", "moto"])
def test_a_template_with_the_three_event_types_starts_with_one_command(
    server: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    deployed = Deployed(request.getfixturevalue(f"{server}_url"))
    new_table(deployed.url, name=deployed.table)
    template = deployed.template(tmp_path)
    stage = f"Stage={deployed.mark}"
    with running(
        deployed.url, "--template", str(template), "--parameter", stage, folder=tmp_path
    ) as one:
        deployed.send(1)
        deployed.put(1)
        for text in ("order order-1", "job job-1", "user user-1"):
            await_line(one, f"{deployed.mark} {text}")
        eventually(one.is_ready)
        assert one.stop() == 0
    assert (tmp_path / "poller.db").exists()


def test_a_table_that_is_not_there_is_waited_for_and_holds_up_nothing(
    ministack_url: str, tmp_path: Path
) -> None:
    deployed = Deployed(ministack_url)
    template = deployed.template(tmp_path)
    arguments = ("--template", str(template), "--parameter", f"Stage={deployed.mark}")
    with running(ministack_url, *arguments, "--until-idle", "1", folder=tmp_path) as one:
        deployed.send(1)
        await_line(one, f"{deployed.mark} order order-1")
        await_line(one, f"table {deployed.table}", "trying again until it is there")
        status, body = one.get("/readyz")
        assert (status, b"Creating" in body) == (503, True)
        one.process.send_signal(signal.SIGHUP)
        await_line(one, "the config was reread: 3 mappings")
        new_table(ministack_url, name=deployed.table)
        await_line(one, f"table {deployed.table}: the stream is there now")
        deployed.put(1)
        await_line(one, f"{deployed.mark} user user-1")
        eventually(one.is_ready)
        # It did not count as idle before the table was there, and does now.
        assert one.process.wait(30) == 0
    log = one.log()
    assert log.count("trying again until it is there") == 1
    assert log.count("the stream is there now") == 1


def test_a_restart_continues_where_the_template_stopped(ministack_url: str, tmp_path: Path) -> None:
    deployed = Deployed(ministack_url)
    new_table(ministack_url, name=deployed.table)
    template = deployed.template(tmp_path)
    arguments = ("--template", str(template), "--parameter", f"Stage={deployed.mark}")
    for number in (1, 2):
        deployed.send(number)
        deployed.put(number)
        with running(ministack_url, *arguments, folder=tmp_path) as one:
            await_line(one, f"{deployed.mark} order order-{number}")
            await_line(one, f"{deployed.mark} user user-{number}")
            assert one.stop() == 0
            log = one.log()
        assert f"order order-{3 - number}" not in log
        assert f"user user-{3 - number}" not in log


def test_rereading_takes_over_what_changed_in_the_template(
    ministack_url: str, tmp_path: Path
) -> None:
    deployed = Deployed(ministack_url)
    new_table(ministack_url, name=deployed.table)
    template = deployed.template(tmp_path)
    arguments = ("--template", str(template), "--parameter", f"Stage={deployed.mark}")
    with running(ministack_url, *arguments, folder=tmp_path) as one:
        deployed.put(1)
        await_line(one, f"{deployed.mark} user user-1")
        text = template.read_text()
        template.write_text(text.replace("STAGE: !Ref Stage", "STAGE: !Sub again-${Stage}"))
        one.process.send_signal(signal.SIGHUP)
        await_line(one, "the config was reread: 3 mappings")
        deployed.put(2)
        await_line(one, f"again-{deployed.mark} user user-2")
        template.write_text(
            text.replace("Type: SQS\n          Properties", "Type: MQ\n          X")
        )
        one.process.send_signal(signal.SIGHUP)
        await_line(one, "the config was reread and changes nothing")
        deployed.put(3)
        await_line(one, f"again-{deployed.mark} user user-3")


def test_a_config_beside_the_template_says_how_a_function_runs(
    ministack_url: str, tmp_path: Path
) -> None:
    deployed = Deployed(ministack_url)
    new_table(ministack_url, name=deployed.table)
    with tempfile.TemporaryDirectory() as elsewhere:
        template = deployed.template(Path(elsewhere))
        text = template.read_text().replace("python3.12", "nodejs22.x")
        template.write_text(text)
        config = tmp_path / "poller.yaml"
        (tmp_path / "own.py").write_text("def handler(event, context):\n    print('own')\n")
        config.write_text("functions: {Worker: {handler: own.handler}}\n")
        with running(
            ministack_url,
            *(str(config), "--template", str(template)),
            *("--parameter", f"Stage={deployed.mark}"),
            folder=tmp_path,
        ) as one:
            deployed.send(1)
            await_line(one, "own")
            assert one.stop() == 0


def test_a_disabled_mapping_of_a_missing_table_is_not_waited_for(
    ministack_url: str, tmp_path: Path
) -> None:
    deployed = Deployed(ministack_url)
    template = deployed.template(tmp_path)
    source = "Stream: !GetAtt Users.StreamArn"
    template.write_text(
        template.read_text().replace(source, f"{source}\n            Enabled: false")
    )
    arguments = ("--template", str(template), "--parameter", f"Stage={deployed.mark}")
    with running(ministack_url, *arguments, "--until-idle", "1", folder=tmp_path) as one:
        deployed.send(1)
        await_line(one, f"{deployed.mark} order order-1")
        eventually(one.is_ready)
        assert one.process.wait(30) == 0
