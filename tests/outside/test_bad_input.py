"""What users, servers and functions do wrong: each gets one clear line and the right retries, and
nothing else in the process suffers.  That no log has a traceback or a secret is `watched`'s.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import re
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.background import background
from tests.faults import Answer as Reply
from tests.faults import Call as Request
from tests.faults import Close, Cut, Delay, Fault, Proxy, Reset, faulty, refused, throttled
from tests.functions import Answer, Call, Function, errored, function
from tests.outside.sqs_lanes import left_in, send
from tests.outside.watched import (
    ENVIRONMENT,
    SECRET_KEY,
    SESSION_TOKEN,
    Mapped,
    assert_clean,
    await_line,
    config,
    lines,
    uuid_of,
    watched,
)
from tests.servers import Queue, aws, new_queue, new_stream
from tests.waiting import eventually

FAILED, WRONG = 1, 2
COMMAND_TIMEOUT = 60.0
ACCOUNT = "000000000000"
FROM_THE_START = {"StartingPosition": "TRIM_HORIZON"}

# Each line with a remark is wrong: what `check` says of it begins with the remark's path and has
# the remark's words.
WRONG_CONFIG = """\
aws:
  region: us east            # aws.region: region
  account_id: 12             # aws.account_id: 12 digits
  endpoint: http://x         # aws.endpoint: did you mean endpoint
  endpoints:
    kinesis: ftp://x         # aws.endpoints.kinesis: URL
    kineses: http://x        # aws.endpoints.kineses: did you mean kinesis
state: redis:x               # state: sqlite:PATH
listen: 9310                 # listen: HOST:PORT
lisen: 127.0.0.1:9310        # lisen: did you mean listen
functions:
  works: {url: "http://127.0.0.1:1/"}
  nothing: {timeout: 3}      # functions.nothing: nothing to run
  both:                      # functions.both: handler and url
    url: http://127.0.0.1:1/
    handler: app.handler
  slow:
    url: http://127.0.0.1:1/
    timeout: soon            # functions.slow.timeout: from 1 to 900
    concurency: 3            # functions.slow.concurency: did you mean concurrency
  secretive:
    url: "http://me:outside-url-password@/nowhere"  # functions.secretive.url: URL
    headers: {Key: "outside-header-value\\n"}  # functions.secretive.headers.Key: control
  unset:
    url: ${OUTSIDE_NOT_SET}  # functions.unset.url: OUTSIDE_NOT_SET is not set
mappings:
  - FunctionName: works
    EventSourceArn: arn:aws:kinesis:us-east-1:000000000000:stream/a
    StartingPosition: TRIM_HORIZON
  - FunctionName: works      # mappings[1]: the mapping on line
    EventSourceArn: arn:aws:kinesis:us-east-1:000000000000:stream/a
    StartingPosition: LATEST
  - FunctionName: missing    # mappings[2].FunctionName: Function does not exist
    EventSourceArn: arn:aws:sqs:us-east-1:000000000000:a
  - FunctionName: works
    EventSourceArn: arn:aws:sns:us-east-1:000000000000:a  # mappings[3].EventSourceArn: event source
  - FunctionName: works
    EventSourceArn: no ARN at all  # mappings[4].EventSourceArn: ARN
  - FunctionName: works
    EventSourceArn: arn:aws:sqs:us-east-1:000000000000:b
    BatchSize: "10"          # mappings[5].BatchSize: 10
    StartingPosition: LATEST  # mappings[5].StartingPosition: for streams only
  - FunctionName: works      # mappings[6].StartingPosition: Member must not be null
    EventSourceArn: arn:aws:kinesis:us-east-1:000000000000:stream/b
    BatchSize: 0             # mappings[6].BatchSize: from 1 to 10000
  - FunctionName: works
    EventSourceArn: arn:aws:sqs:us-east-1:000000000000:c.fifo
    MaximumBatchingWindowInSeconds: 1  # mappings[7].MaximumBatchingWindowInSeconds: FIFO
"""


def command(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
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


# The config.


@pytest.mark.parametrize("name", ["check", "run"])
def test_a_wrong_config_is_a_line_for_each_problem(name: str, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text(WRONG_CONFIG)
    ended = command(name, "wrong.yaml", folder=tmp_path)
    assert (ended.returncode, ended.stdout) == (WRONG, "")
    said = ended.stderr.splitlines()
    for number, line in enumerate(WRONG_CONFIG.splitlines(), 1):
        for path, words in re.findall(r"# ([\w.\[\]]+): (.+)", line):
            start = f"wrong.yaml:{number}: {path}: "
            assert any(each.startswith(start) and words in each for each in said), (start, said)
    assert len(said) == WRONG_CONFIG.count("# ")


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "poller.yaml").write_text("functions: {}\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = command("run", "poller.yaml", "--listen", address, folder=tmp_path)
    assert ended.returncode == FAILED
    (line,) = ended.stderr.splitlines()
    assert f"cannot listen on {address}" in line


# The source.


def test_a_source_that_is_missing_is_waited_for(ministack_url: str) -> None:
    name = f"late-{uuid.uuid4().hex[:8]}"
    queue_arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}"
    stream_arn = f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/{name}"
    table_arn = f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/{name}/stream/2026-01-01T00:00:00.000"
    there = new_queue(ministack_url)
    late = (queue_arn, stream_arn)
    with (
        function() as stub,
        watched(
            config(
                ministack_url,
                Mapped(queue_arn, stub, name="queue"),
                Mapped(stream_arn, stub, FROM_THE_START, name="stream"),
                Mapped(table_arn, stub, FROM_THE_START, name="table"),
                Mapped(there.arn, stub, name="there"),
            ),
            ready=False,
        ) as running,
    ):
        for kind in ("queue", "stream", "table"):
            await_line(running, "WARNING", f"-> {kind}: ", "trying again until it is there")
        send(ministack_url, there, "works meanwhile")
        stub.wait(lambda: len(stub.succeeded) == 1)
        for arn in (*late, table_arn):
            uuid_ = uuid_of(running, arn)
            assert running.metrics("poller_mapping_state", mapping=uuid_, state="Creating") == 1
        assert not running.is_ready()
        assert running.get("/healthz")[0] == 200

        queue, stream = new_queue(ministack_url, name=name), new_stream(ministack_url, name=name)
        assert (queue.arn, stream.arn) == late
        send(ministack_url, queue, "from the queue")
        aws("kinesis", ministack_url).put_record(
            StreamName=stream.name, Data=b"from the stream", PartitionKey="key"
        )
        stub.wait(lambda: len(stub.succeeded) == 3)
        for arn in late:
            uuid_ = uuid_of(running, arn)
            assert running.metrics("poller_mapping_state", mapping=uuid_, state="Enabled") == 1
        for kind in ("queue", "stream"):
            assert len(lines(running, f"-> {kind}: ", "trying again")) == 1
            assert len(lines(running, f"-> {kind}: ", "the source is there now")) == 1
        assert len(lines(running, "-> table: ", "trying again")) == 1


LEAK = (
    f"The request signature does not match; token {SESSION_TOKEN}. "
    f"The Canonical String for this request should have been\n'POST\n{SECRET_KEY}'"
)

FAULTY_CALLS = 2  # of each queue, the later ones work
FAULTY_ONCE = frozenset({"hangs at start", "deletion is forbidden"})
HANGS_FOR = 6.0  # longer than poller waits for anything but a long poll

# What the server does to the receives of a queue, and what the log says of it.
RECEIVE_FAULTS: Mapping[str, tuple[Fault, str]] = {
    "reset": (Reset(), "ConnectionLost"),
    "closed": (Close(), "ConnectionLost"),
    "cut": (Cut(20), "ConnectionLost"),
    "html": (Reply(200, b"<html>\n<h1>no</h1>\n</html>"), "bad reply"),
    "other shape": (Reply(200, b'{"Messages": {"0": 1}}'), "bad reply"),
    "error page": (Reply(502, b"<html>\n<h1>Bad gateway</h1>\n</html>"), "HTTP 502"),
    "server error": (refused("InternalFailure", status=500), "InternalFailure"),
    "throttle": (throttled("ThrottlingException"), "ThrottlingException"),
    "unknown key": (
        refused("UnrecognizedClientException", "The security token is invalid", status=403),
        "UnrecognizedClientException: The security token is invalid",
    ),
    "wrong secret": (
        refused("InvalidSignatureException", LEAK, status=403),
        "InvalidSignatureException: The request signature does not match; token ***",
    ),
    "forbidden": (
        refused("AccessDeniedException", "not authorized to perform: sqs:ReceiveMessage"),
        "AccessDeniedException: not authorized",
    ),
}
START_FAULTS: Mapping[str, tuple[Fault, str]] = {
    "hangs at start": (Delay(HANGS_FOR), "TimedOut"),
    "forbidden at start": (refused("AccessDenied", status=403), "AccessDenied"),
    "html at start": (Reply(200, b"<html>"), "bad reply"),
}
# A deletion that fails is tried again at once; one that is refused is not, and the message returns.
DELETE_FAULTS: Mapping[str, tuple[Fault, str]] = {
    "deletion fails": (refused("InternalFailure", status=500), ""),
    "deletion is cut": (Reset(forwarded=False), ""),
    "deletion is forbidden": (refused("AccessDeniedException", "no sqs:DeleteMessage"), "no sqs:D"),
}
FAULTS = {
    **{("ReceiveMessage", name): fault for name, (fault, _) in RECEIVE_FAULTS.items()},
    **{("DeleteMessageBatch", name): fault for name, (fault, _) in DELETE_FAULTS.items()},
    **{("GetQueueUrl", name): fault for name, (fault, _) in START_FAULTS.items()},
}


def _operation_on(queues: Mapping[str, Queue], request: Request) -> tuple[str, str | None]:
    """The operation of a request, and of which queue."""
    asked = request.json.get("QueueName") or request.json.get("QueueUrl", "").rpartition("/")[2]
    return request.operation, next((n for n, q in queues.items() if q.name == asked), None)


def test_what_a_server_does_wrong_is_a_line_and_is_tried_again(ministack_url: str) -> None:
    names = [*RECEIVE_FAULTS, *START_FAULTS, *DELETE_FAULTS, "fine"]
    queues = {name: new_queue(ministack_url, VisibilityTimeout="2") for name in names}
    seen = dict.fromkeys(names, 0)

    def decide(request: Request) -> Fault | None:
        operation, name = _operation_on(queues, request)
        fault = FAULTS.get((operation, name))
        if fault is None or seen[name] == (1 if name in FAULTY_ONCE else FAULTY_CALLS):
            return None
        seen[name] += 1
        return fault

    for name in names:
        send(ministack_url, queues[name], name)
    with contextlib.ExitStack() as stack:
        proxy: Proxy = stack.enter_context(faulty(ministack_url))
        proxy.script(decide)
        stubs = {name: stack.enter_context(function()) for name in names}
        mapped = [Mapped(queues[name].arn, stubs[name]) for name in names]
        running = stack.enter_context(watched(config(proxy.url, *mapped), ready=False))
        stubs["fine"].wait(lambda: len(stubs["fine"].succeeded) == 1)
        assert running.get("/healthz")[0] == 200
        for name in names:
            stubs[name].wait(lambda name=name: stubs[name].succeeded != [])
            eventually(lambda name=name: left_in(ministack_url, queues[name]) == (0, 0))
        for name, (_, said) in RECEIVE_FAULTS.items():
            uuid_ = uuid_of(running, queues[name].arn)
            (line,) = lines(running, uuid_, "WARNING")
            assert "reading the source fails; trying again until it works" in line, name
            assert said in line, name
            assert len(lines(running, uuid_, "the source is read again")) == 1, name
        for name, (_, said) in START_FAULTS.items():
            (line,) = lines(running, queues[name].name, "WARNING")
            assert "trying again until it is there" in line, name
            assert said in line, name
            assert len(lines(running, queues[name].name, "the source is there now")) == 1
        for name, (_, said) in DELETE_FAULTS.items():
            told = lines(running, queues[name].name, "could not be deleted")
            counts = [each["attributes"]["ApproximateReceiveCount"] for each in stubs[name].records]
            assert counts == (["1", "2"] if said else ["1"]), name
            assert [said in line for line in told] == ([True] if said else []), name
        assert not lines(running, queues["fine"].name)
        assert not lines(running, uuid_of(running, queues["fine"].arn))


def test_an_endpoint_that_refuses_connections_is_waited_for(ministack_url: str) -> None:
    # What the server gives to a receive that was cut off comes again after that.
    queue, stream = new_queue(ministack_url, VisibilityTimeout="2"), new_stream(ministack_url)
    with faulty(ministack_url) as proxy, function() as stub:
        proxy.down()
        settings = config(
            proxy.url,
            Mapped(queue.arn, stub, name="queue"),
            Mapped(stream.arn, stub, FROM_THE_START, name="stream"),
        )
        with watched(settings, ready=False) as running:
            for kind in ("queue", "stream"):
                await_line(running, f"-> {kind}: ", "NotConnected", proxy.url, "trying again")
            assert running.get("/healthz")[0] == 200
            proxy.up()
            eventually(running.is_ready)
            proxy.down()  # while it polls
            for source in (queue.arn, stream.arn):
                await_line(running, uuid_of(running, source), "reading the source fails")
            assert running.is_ready(), "a source that is down is no reason to restart"
            assert running.get("/healthz")[0] == 200
            proxy.up()
            send(ministack_url, queue, "a")
            aws("kinesis", ministack_url).put_record(
                StreamName=stream.name, Data=b"b", PartitionKey="key"
            )
            stub.wait(lambda: len(stub.succeeded) == 2)
            for source in (queue.arn, stream.arn):
                await_line(running, uuid_of(running, source), "the source is read again")


def test_without_credentials_there_is_one_line_that_says_so(ministack_url: str) -> None:
    """Off loopback none are made up; nothing is sent, so nothing needs to be there."""
    arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:orders"
    nobody = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"), "")
    with (
        function() as stub,
        watched(
            config("http://sqs.invalid", Mapped(arn, stub)), ready=False, environment=nobody
        ) as running,
    ):
        line = await_line(running, "WARNING", "orders -> f0", "trying again until it is there")
        assert "credentials" in line


# The function.


@dataclass(frozen=True, slots=True)
class RawFunction:
    url: str


@contextlib.contextmanager
def answering(reply: bytes, *, trickle: bytes = b"") -> Iterator[RawFunction]:
    """A function behind a socket that sends `reply` to every request, and then `trickle` ten times
    a second."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(reply)
            while trickle:
                await writer.drain()
                await asyncio.sleep(0.1)
                writer.write(trickle)
            await writer.drain()
        writer.close()

    with background() as runner:
        server = runner.run(asyncio.start_server(serve, "127.0.0.1", 0))
        try:
            yield RawFunction(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        finally:

            async def close() -> None:
                server.close()

            runner.run(close())


def first_fails(answer: Answer) -> Callable[[Call], Answer]:
    return lambda call: answer if call.number == 0 else Answer()


HTML = b"<html>\r\n<h1>Not \x1b[31mfound</h1>\r\n</html>"
# How a function fails once, and what the log says of it.
FAILURES: Mapping[str, tuple[Answer, str]] = {
    "error": (errored("ValueError", "no\nsuch\torder"), r"ValueError: no\nsuch\torder"),
    "status 500": (Answer(HTML, status=500), "Endpoint.Status500"),
    "status 404": (Answer(HTML, status=404), "Endpoint.Status404"),
    "redirect": (Answer(status=302, headers={"Location": "http://x/"}), "Endpoint.Status302"),
    "dies at once": (Answer(cut=True), "Endpoint.ConnectionLost"),
    "dies half way": (Answer(b"x" * 100, cut=True), "Endpoint.ConnectionLost"),
    "too much": (Answer(b"x" * 6_300_000), "ResponseSizeTooLarge"),
    "too slow": (Answer(delay=1.5), "Sandbox.Timedout"),
}


def test_a_function_that_fails_gets_the_message_again_after_its_timeout(
    ministack_url: str,
) -> None:
    names = [*FAILURES, "fine"]
    queues = {name: new_queue(ministack_url, VisibilityTimeout="2") for name in names}
    for name in names:
        send(ministack_url, queues[name], name)
    with (
        contextlib.ExitStack() as stack,
        answering(b"garbage\r\n\r\n") as garbled,
        answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", trickle=b"x") as trickling,
    ):
        stubs: dict[str, Function] = {
            name: stack.enter_context(function(first_fails(answer)))
            for name, (answer, _) in FAILURES.items()
        }
        stubs["fine"] = stack.enter_context(function())
        raw = {"garbled": garbled, "trickling": trickling}
        queues |= {name: new_queue(ministack_url, VisibilityTimeout="2") for name in raw}
        for name in raw:
            send(ministack_url, queues[name], name)
        mapped = [Mapped(queues[name].arn, {**stubs, **raw}[name]) for name in queues]
        running = stack.enter_context(watched(config(ministack_url, *mapped)))
        for name, stub in stubs.items():
            eventually(lambda name=name: left_in(ministack_url, queues[name]) == (0, 0))
            counts = [each["attributes"]["ApproximateReceiveCount"] for each in stub.records]
            assert counts == (["1"] if name == "fine" else ["1", "2"]), name
        expected = {
            **{name: said for name, (_, said) in FAILURES.items()},
            "garbled": "Endpoint.InvalidResponse",
            "trickling": "Sandbox.Timedout",
        }
        for name, said in expected.items():
            uuid_ = uuid_of(running, queues[name].arn)
            line = await_line(running, uuid_, "WARNING", "the function failed")
            assert said in line, name
            assert len(lines(running, uuid_, "WARNING")) == 1, name
            assert line.isprintable()
        for name in FAILURES:
            await_line(running, uuid_of(running, queues[name].arn), "the function works again")
        for name in raw:
            uuid_ = uuid_of(running, queues[name].arn)
            eventually(
                lambda uuid_=uuid_: (
                    running.metrics("poller_invocations_total", mapping=uuid_, outcome="failed") > 1
                )
            )
        assert not lines(running, uuid_of(running, queues["fine"].arn))


def test_a_function_that_refuses_connections_is_waited_for_and_spends_no_retries(
    ministack_url: str,
) -> None:
    queue, stream = new_queue(ministack_url, VisibilityTimeout="30"), new_stream(ministack_url)
    fine = new_queue(ministack_url)
    settings = {**FROM_THE_START, "MaximumRetryAttempts": 0, "BatchSize": 1}
    with function() as stub, function() as other:
        stub.down()
        with watched(
            config(
                ministack_url,
                Mapped(queue.arn, stub),
                Mapped(stream.arn, stub, settings),
                Mapped(fine.arn, other),
            )
        ) as running:
            send(ministack_url, queue, "message")
            for data in (b"0", b"1", b"2"):
                aws("kinesis", ministack_url).put_record(
                    StreamName=stream.name, Data=data, PartitionKey="key"
                )
            for source in (queue.arn, stream.arn):
                uuid_ = uuid_of(running, source)
                await_line(running, uuid_, "WARNING", "the function is not reached")
                eventually(
                    lambda uuid_=uuid_: (
                        running.metrics(
                            "poller_invocations_total", mapping=uuid_, outcome="refused"
                        )
                        > 1
                    )
                )
                assert running.metrics("poller_blocked", mapping=uuid_) == 1
            send(ministack_url, fine, "works meanwhile")
            other.wait(lambda: len(other.succeeded) == 1)
            stub.up()
            stub.wait(lambda: len(stub.succeeded) == 4)
            records = stub.records
            assert [
                base64.b64decode(record["kinesis"]["data"])
                for record in records
                if "kinesis" in record
            ] == [b"0", b"1", b"2"]
            (message,) = (record for record in records if "messageId" in record)
            assert message["attributes"]["ApproximateReceiveCount"] == "1"
            for source in (queue.arn, stream.arn):
                uuid_ = uuid_of(running, source)
                assert len(lines(running, uuid_, "the function is not reached")) == 1
                await_line(running, uuid_, "the function is reached again")
            assert running.metrics("poller_records_dropped_total") == 0


@pytest.mark.xfail(strict=True, reason="the rule of AWS is not looked at when a mapping begins")
def test_a_queue_that_hides_messages_for_less_than_the_functions_timeout_is_refused(
    ministack_url: str,
) -> None:
    """As CreateEventSourceMapping refuses it; a run would be repeated while it still goes on."""
    queue = new_queue(ministack_url, VisibilityTimeout="2")
    send(ministack_url, queue, "m")
    with (
        function() as stub,
        watched(config(ministack_url, Mapped(queue.arn, stub, timeout=3)), ready=False) as running,
    ):
        said = "Queue visibility timeout: 2 seconds is less than Function timeout: 3 seconds"
        eventually(lambda: lines(running, said) or None, 3)
        assert not stub.calls


def test_a_debug_log_has_no_secrets_either(ministack_url: str) -> None:
    queue, missing = new_queue(ministack_url), f"arn:aws:sqs:us-east-1:{ACCOUNT}:missing"
    send(ministack_url, queue, "m")
    with (
        function(first_fails(errored())) as stub,
        watched(
            config(ministack_url, Mapped(queue.arn, stub), Mapped(missing, stub)),
            *("--log-level", "debug"),
            ready=False,
        ) as running,
    ):
        await_line(running, "WARNING", "the function failed")
        await_line(running, "WARNING", "missing -> f1")
