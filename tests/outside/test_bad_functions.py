"""What functions do wrong: one clear line, the right retry, and no other mapping suffers."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tests.background import background
from tests.functions import Answer, Call, Function, errored, function
from tests.outside.sqs_lanes import left_in, send
from tests.outside.watched import (
    Mapped,
    await_line,
    config,
    lines,
    uuid_of,
    watched,
)
from tests.servers import aws, new_queue, new_stream
from tests.waiting import eventually

FROM_THE_START = {"StartingPosition": "TRIM_HORIZON"}


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
