"""`poller run` serving runtimes that others start: fed, killed, many, and kept over changes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.functions import Answer, Function, function
from tests.outside.flows import Deliveries, Delivery, Item, produced, to_queue, to_stream
from tests.outside.poller_process import Running
from tests.outside.watched import watched
from tests.programs import free_port
from tests.runtimes import starting
from tests.runtimes.starting import Command, started
from tests.servers import Queue, Stream, new_queue, new_stream
from tests.waiting import eventually

DONE = 0
FUNCTION_ARN = "arn:aws:lambda:us-east-1:000000000000:function:{}"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TRACE = re.compile(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0")


def config(
    url: str, functions: Mapping[str, Mapping[str, Any]], *mappings: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "aws": {"region": "us-east-1", "endpoint_url": url},
        "functions": dict(functions),
        "mappings": list(mappings),
    }


def at(port: int, **others: Any) -> dict[str, Any]:
    """A function whose runtimes attach to this port."""
    return {"runtime_api": f"127.0.0.1:{port}", "timeout": 60, **others}


def from_stream(stream: Stream, name: str, **settings: Any) -> dict[str, Any]:
    start = {"StartingPosition": "TRIM_HORIZON"}
    return {"EventSourceArn": stream.arn, "FunctionName": name, **start, **settings}


def from_queue(queue: Queue, name: str, **settings: Any) -> dict[str, Any]:
    return {"EventSourceArn": queue.arn, "FunctionName": name, **settings}


@contextlib.contextmanager
def forwarding(
    command_: Command, port: int, stub: Function, name: str, count: int = 1
) -> Iterator[list[int]]:
    """So many runtimes, which forward what they get to the stub's path of this name; their pids."""
    with ExitStack() as stack:
        runtimes = [
            stack.enter_context(started(command_, f"127.0.0.1:{port}", FORWARD_TO=stub.url + name))
            for _ in range(count)
        ]
        yield [runtime.pid for runtime in runtimes]


LANGUAGES: dict[str, Callable[[], Command]] = {
    "python": starting.python,
    "node": starting.node,
    "c": starting.compiled,
}


def test_runtimes_of_every_language_are_fed_by_streams_and_queues(ministack_url: str) -> None:
    stream = new_stream(ministack_url)
    queues = {name: new_queue(ministack_url, VisibilityTimeout="60") for name in ("node", "c")}
    puts = {"python": to_stream(ministack_url, stream)}
    puts |= {name: to_queue(ministack_url, queue) for name, queue in queues.items()}
    ports = {name: free_port() for name in LANGUAGES}
    settings = config(
        ministack_url,
        {name: at(port) for name, port in ports.items()},
        from_stream(stream, "python", BatchSize=10),
        *(from_queue(queue, name) for name, queue in queues.items()),
    )
    deliveries = Deliveries()
    with function(deliveries) as stub, watched(settings) as running, ExitStack() as runtimes:
        with produced(puts, keys=4) as producers:
            for name, language in LANGUAGES.items():
                runtimes.enter_context(forwarding(language(), ports[name], stub, name))
            for producer in producers.values():
                producer.put_more(3)
        for name, producer in producers.items():
            deliveries.await_all(name, producer.items())
        assert running.stop() == DONE

    assert deliveries.disorder("python") == []
    assert not any(deliveries.repeats(name) for name in LANGUAGES)
    context = json.loads(deliveries.of("python")[0].call.headers["X-Context"])
    assert context["invoked_function_arn"] == FUNCTION_ARN.format("python")
    assert UUID.fullmatch(context["aws_request_id"])
    assert TRACE.fullmatch(context["trace_id"])
    assert 0 < context["remaining"] <= 60_000
    assert (context["client_context"], context["identity"]) == (None, [None, None])
    of_node = json.loads(deliveries.of("node")[0].call.headers["X-Context"])
    assert of_node["invokedFunctionArn"] == FUNCTION_ARN.format("node")


@pytest.mark.parametrize("language", starting.LANGUAGES)
@pytest.mark.proves("S12.2.exit")
def test_a_runtime_killed_in_the_middle_of_a_batch_is_a_retry_and_nothing_is_lost(
    ministack_url: str, language: Callable[[], Command]
) -> None:
    stream, port, held = new_stream(ministack_url), free_port(), threading.Event()

    def hold_the_first(delivery: Delivery) -> Answer:
        first = deliveries.count(delivery.flow) == 0
        return Answer(after=held, cut=True) if first else Answer()

    deliveries = Deliveries(hold_the_first)
    to_stream(ministack_url, stream)([Item("key", number) for number in range(6)])
    settings = config(
        ministack_url,
        {"orders": at(port, timeout=900)},
        from_stream(stream, "orders", BatchSize=3, MaximumRetryAttempts=1),
    )
    with function(deliveries) as stub, watched(settings) as running, ExitStack() as runtimes:
        start = language()
        (pid,) = runtimes.enter_context(forwarding(start, port, stub, "orders"))
        stub.wait(lambda: deliveries.count("orders") == 1)
        os.kill(pid, signal.SIGKILL)
        runtimes.enter_context(forwarding(start, port, stub, "orders"))
        deliveries.await_all("orders", {Item("key", number) for number in range(6)})
        held.set()
        assert "Runtime.ExitError" in running.log()
        assert running.stop() == DONE

    numbers = [[item.number for item in each.items] for each in deliveries.of("orders")]
    assert numbers == [[0, 1, 2], [0, 1, 2], [3, 4, 5]]


@pytest.mark.proves("S12.2.many")
def test_ten_runtimes_run_ten_batches_at_one_time(ministack_url: str) -> None:
    queue, port = new_queue(ministack_url, VisibilityTimeout="60"), free_port()
    to_queue(ministack_url, queue)([Item("key", number) for number in range(40)])
    settings = config(
        ministack_url,
        {"orders": at(port)},
        from_queue(queue, "orders", BatchSize=1, poller={"Concurrency": 10}),
    )
    ten = threading.Event()
    with (
        function(lambda _call: Answer(after=ten)) as stub,
        watched(settings) as running,
        forwarding(starting.compiled(), port, stub, "orders", count=10),
    ):
        stub.wait(lambda: stub.running_max == 10)
        ten.set()
        stub.wait(lambda: len(stub.succeeded) == 40)
        assert running.stop() == DONE


def test_runtimes_stay_attached_over_changes_and_functions_come_and_go(
    ministack_url: str, tmp_path: Path
) -> None:
    first, second = new_stream(ministack_url), new_stream(ministack_url)
    ports = [free_port(), free_port()]
    from_first, from_second = from_stream(first, "first"), from_stream(second, "second")
    only_first = config(ministack_url, {"first": at(ports[0])}, from_first)
    with (
        function() as stub,
        watched(only_first, folder=tmp_path) as running,
        forwarding(starting.node(), ports[0], stub, "first") as pids,
    ):
        feed(ministack_url, first, stub, calls=1)
        functions = {"first": at(ports[0], timeout=30), "second": at(ports[1])}
        reread(running, config(ministack_url, functions, from_first, from_second))
        with forwarding(starting.node(), ports[1], stub, "second"):
            feed(ministack_url, second, stub, calls=2)
        feed(ministack_url, first, stub, calls=3)
        reread(running, only_first)
        eventually(lambda: not listens(ports[1]))
        feed(ministack_url, first, stub, calls=4)
        assert running.stop() == DONE

    paths = [(call.path, call.headers["X-Runtime"] == str(pids[0])) for call in stub.calls]
    assert paths == [("/first", True), ("/second", False), ("/first", True), ("/first", True)]


def feed(url: str, stream: Stream, stub: Function, calls: int) -> None:
    """Put a record, and see it come as the call of this number."""
    to_stream(url, stream)([Item("key", calls)])
    stub.wait(lambda: len(stub.calls) == calls)


def reread(running: Running, settings: Mapping[str, Any]) -> None:
    before = running.log().count("reread")
    running.rewrite(settings)
    running.hup()
    eventually(lambda: running.log().count("reread") > before)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_stopping_lets_a_runtime_end_what_it_runs(ministack_url: str) -> None:
    stream, port, finish = new_stream(ministack_url), free_port(), threading.Event()
    settings = config(ministack_url, {"orders": at(port)}, from_stream(stream, "orders"))
    to_stream(ministack_url, stream)([Item("key", 0)])
    with (
        function(lambda _call: Answer(after=finish)) as stub,
        watched(settings) as running,
        forwarding(starting.compiled(), port, stub, "orders", count=2),
    ):
        stub.wait(lambda: len(stub.calls) == 1)
        running.process.terminate()
        eventually(lambda: running.get("/readyz")[0] == 503)
        finish.set()
        assert running.wait() == DONE
        assert len(stub.succeeded) == 1


def test_a_port_in_use_is_one_line_and_harms_no_other_function(
    ministack_url: str, tmp_path: Path
) -> None:
    stream, port = new_stream(ministack_url), free_port()
    with socket.create_server(("127.0.0.1", 0)) as other, function() as stub:
        taken = other.getsockname()[1]
        functions = {"orders": at(port), "parts": at(taken)}
        settings = config(ministack_url, functions, from_stream(stream, "orders"))
        with (
            watched(settings, folder=tmp_path) as running,
            forwarding(starting.node(), port, stub, "orders"),
        ):
            feed(ministack_url, stream, stub, calls=1)
            refused = f"function parts: cannot serve runtimes at 127.0.0.1:{taken}: Address"
            assert running.log().count(refused) == 1
            other.close()
            attached = f"function parts: runtimes attach at 127.0.0.1:{taken}"
            eventually(lambda: attached in running.log())
            assert running.stop() == DONE
