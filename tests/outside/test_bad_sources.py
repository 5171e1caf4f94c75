"""What servers do wrong: one clear line, tried again, and no other mapping suffers."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Mapping

import pytest

from tests.faults import Answer as Reply
from tests.faults import Call as Request
from tests.faults import Close, Cut, Delay, Fault, Proxy, Reset, faulty, refused, throttled
from tests.functions import function
from tests.outside.sqs_lanes import left_in, send
from tests.outside.watched import (
    SECRET_KEY,
    SESSION_TOKEN,
    Mapped,
    await_line,
    config,
    lines,
    uuid_of,
    watched,
)
from tests.servers import Queue, aws, new_queue, new_stream
from tests.waiting import eventually

ACCOUNT = "000000000000"
FROM_THE_START = {"StartingPosition": "TRIM_HORIZON"}


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


@pytest.mark.proves("S1.2.visibility")
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
        eventually(lambda: lines(running, said) or None, 1.5)
        assert not stub.calls
