"""Real AWS-compatible servers as child processes on loopback, and what is made in them.

    with running(MOTO) as server:
        queue = new_queue(server.url)

The fixtures of conftest.py (`moto_url`, ...) start each server once for a whole run.  A server
gets a free port, is ready once it answers HTTP, and dies with this process, even by kill -9.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from tests.programs import Program, free_port
from tests.waiting import eventually

READY_TIMEOUT = 30.0
STOP_TIMEOUT = 2.0  # moto takes longer than that over a SIGTERM, and none has anything to save
POLL_INTERVAL = 0.05
STARTS_MAX = 3  # a free port may be taken by another process before the server binds it
LOG_TAIL_BYTES = 4000

# Runs a command that the kernel kills when the thread which started it is gone.
LEASH = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the parent is gone already")
os.execvp(sys.argv[2], sys.argv[2:])
"""


@dataclass(slots=True)
class Server:
    """One running server."""

    program: Program
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    url: str = field(init=False)

    def __post_init__(self) -> None:
        self.url = f"http://127.0.0.1:{self.port}"

    def output(self) -> str:
        """The end of what it printed."""
        return self.log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")

    def stop(self) -> None:
        """Ask it to end, and make it end if it does not within STOP_TIMEOUT."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def running(program: Program, port: int | None = None) -> Iterator[Server]:
    """A server of this kind, ready, until the block ends; on `port` if it must be that one.

    Raises RuntimeError with its output if it does not come up; Unavailable if it cannot be had.
    """
    program.prepare()
    with tempfile.TemporaryDirectory(prefix=f"{program.name}-") as folder:
        server = _started(program, port, Path(folder))
        try:
            yield server
        finally:
            server.stop()


def _started(program: Program, port: int | None, folder: Path) -> Server:
    for start in range(1, STARTS_MAX + 1):
        server = _spawn(program, port or free_port(), folder)
        if _becomes_ready(server):
            return server
        server.stop()
        exited = server.process.returncode not in (-signal.SIGTERM, -signal.SIGKILL)
        if start == STARTS_MAX or not exited:
            break
    raise RuntimeError(
        f"{program.name} did not come up on {server.url} within {READY_TIMEOUT:.0f} s "
        f"(exit code {server.process.returncode}); its output:\n{server.output()}"
    )


def _spawn(program: Program, port: int, folder: Path) -> Server:
    # PDEATHSIG is sent when the starting *thread* ends, so only the main thread will do.
    assert threading.current_thread() is threading.main_thread(), "start servers in the main thread"
    log = folder / "output.log"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "PYTHONUNBUFFERED": "1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        **program.environment(port),
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", LEASH, str(os.getpid()), *program.command(port)],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    return Server(program, port, process, log)


def _becomes_ready(server: Server) -> bool:
    """Whether it answers HTTP, with whatever status, before it exits or READY_TIMEOUT is over."""
    give_up_at = time.monotonic() + READY_TIMEOUT
    while server.process.poll() is None and time.monotonic() < give_up_at:
        try:
            urllib.request.urlopen(server.url, timeout=5).close()
        except urllib.error.HTTPError as answer:
            answer.close()
        except OSError:
            time.sleep(POLL_INTERVAL)
            continue
        return server.process.poll() is None
    return False


# What is made in them.


@dataclass(frozen=True, slots=True)
class Stream:
    name: str
    arn: str


@dataclass(frozen=True, slots=True)
class Table:
    name: str
    stream_arn: str


@dataclass(frozen=True, slots=True)
class Queue:
    name: str
    url: str
    arn: str


@functools.cache
def aws(service: str, url: str) -> Any:
    """The boto3 client of `service` at the endpoint `url`, without retries; one per pair."""
    session: Any = boto3.session.Session()
    return session.client(
        service,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=30),
    )


def close_clients() -> None:
    """Forget the clients of `aws` and close their connections."""
    aws.cache_clear()


def new_stream(url: str, shards: int = 1, *, name: str | None = None) -> Stream:
    """A new active Kinesis stream; its name is unique unless one is given."""
    kinesis, name = aws("kinesis", url), name or _unique("stream")
    kinesis.create_stream(StreamName=name, ShardCount=shards)

    def active() -> Stream | None:
        summary = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
        return Stream(name, summary["StreamARN"]) if summary["StreamStatus"] == "ACTIVE" else None

    return eventually(active)


def new_consumer(url: str, stream: Stream, name: str = "fast") -> str:
    """The ARN of a new active consumer of a stream."""
    kinesis = aws("kinesis", url)
    made = kinesis.register_stream_consumer(StreamARN=stream.arn, ConsumerName=name)
    arn: str = made["Consumer"]["ConsumerARN"]

    def active() -> bool:
        about = kinesis.describe_stream_consumer(ConsumerARN=arn)["ConsumerDescription"]
        return bool(about["ConsumerStatus"] == "ACTIVE")

    eventually(active)
    return arn


def new_table(
    url: str, view: str | None = "NEW_AND_OLD_IMAGES", *, name: str | None = None
) -> Table:
    """A new active DynamoDB table with the string key `id` and a stream of `view` (None: none)."""
    dynamodb, name = aws("dynamodb", url), name or _unique("table")
    stream = {"StreamEnabled": True, "StreamViewType": view} if view else {"StreamEnabled": False}
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification=stream,
    )

    def active() -> Table | None:
        table = dynamodb.describe_table(TableName=name)["Table"]
        ready = table["TableStatus"] == "ACTIVE"
        return Table(name, table.get("LatestStreamArn", "")) if ready else None

    return eventually(active)


def new_queue(url: str, *, fifo: bool = False, name: str | None = None, **attributes: str) -> Queue:
    """A new SQS queue; `attributes` as SQS names them, such as VisibilityTimeout="2"."""
    sqs = aws("sqs", url)
    name = name or _unique("queue") + (".fifo" if fifo else "")
    if fifo:
        attributes = {"FifoQueue": "true", **attributes}
    queue_url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]

    def listed() -> Queue | None:
        found = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
        return Queue(name, queue_url, found["Attributes"]["QueueArn"])

    return eventually(listed)


def _unique(kind: str) -> str:
    return f"{kind}-{uuid.uuid4().hex[:12]}"
