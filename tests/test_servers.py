"""The servers that other tests rely on come up, do what is asked of them, and die with us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import MINISTACK, MOTO, Program
from tests.servers import aws, new_queue, new_stream, new_table, running
from tests.waiting import eventually

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "server", ["moto_url", "ministack_url", "kinesalite_url", "kinesis_local_url"]
)
def test_a_new_stream_takes_and_gives_records(server: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(server)
    stream, kinesis = new_stream(url, shards=2), aws("kinesis", url)

    put = kinesis.put_record(StreamName=stream.name, Data=b"hello", PartitionKey="a")
    iterator = kinesis.get_shard_iterator(
        StreamName=stream.name, ShardId=put["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]

    assert stream.arn.endswith(f":stream/{stream.name}")
    assert [r["Data"] for r in kinesis.get_records(ShardIterator=iterator)["Records"]] == [b"hello"]


@pytest.mark.parametrize("server", ["moto_url", "ministack_url"])
def test_a_new_table_has_a_stream(server: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(server)

    table = new_table(url, "KEYS_ONLY")

    streams = aws("dynamodbstreams", url)
    described = streams.describe_stream(StreamArn=table.stream_arn)["StreamDescription"]
    assert described["StreamViewType"] == "KEYS_ONLY"


@pytest.mark.parametrize("server", ["moto_url", "ministack_url", "fauxqs_url"])
@pytest.mark.parametrize("fifo", [False, True], ids=["standard", "fifo"])
def test_a_new_queue_gives_back_what_it_was_sent(
    server: str, fifo: bool, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(server)
    queue, sqs = new_queue(url, fifo=fifo, VisibilityTimeout="7"), aws("sqs", url)
    fifo_fields = {"MessageGroupId": "g", "MessageDeduplicationId": "d"} if fifo else {}

    sqs.send_message(QueueUrl=queue.url, MessageBody="hello", **fifo_fields)

    received = sqs.receive_message(QueueUrl=queue.url, WaitTimeSeconds=5)["Messages"]
    attributes = sqs.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["VisibilityTimeout"])
    assert [message["Body"] for message in received] == ["hello"]
    assert attributes["Attributes"] == {"VisibilityTimeout": "7"}


def test_a_server_that_does_not_come_up_says_what_it_printed() -> None:
    broken = Program("broken", lambda _port: [sys.executable, "-c", "raise SystemExit('no luck')"])

    with (
        pytest.raises(RuntimeError, match=r"broken did not come up .*\n.*no luck"),
        running(broken),
    ):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="PDEATHSIG is Linux's")
def test_a_server_dies_with_the_run_that_started_it() -> None:
    script = (
        "from tests.programs import MOTO\n"
        "from tests.servers import running\n"
        "with running(MOTO) as server:\n"
        "    print(server.process.pid, flush=True)\n"
        "    input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        run.send_signal(signal.SIGKILL)
        run.wait()

    def gone() -> bool | None:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        status = Path(f"/proc/{pid}/stat").read_text()
        return True if status.rpartition(")")[2].split()[0] == "Z" else None

    assert eventually(gone)


@pytest.mark.parametrize("program", [MOTO, MINISTACK], ids=lambda program: program.name)
def test_a_killed_server_comes_back_on_its_port(program: Program) -> None:
    with running(program) as first:
        first.kill()
        with running(program, first.port) as second:
            assert second.url == first.url
            assert second.process.poll() is None
