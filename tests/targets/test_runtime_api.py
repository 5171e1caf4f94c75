"""The Runtime API as runtimes see it, over real sockets: what invocations become."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from poller.interfaces import Errored, Invocation, NotReached, Ran, Reply
from poller.targets.runtime_api import RuntimeApi
from poller.targets.runtime_runs import Run, Runs
from tests.targets.runtimes import (
    ARN,
    INIT_ERROR,
    NEXT,
    Answer,
    Runtime,
    connected,
    error_path,
    invocation,
    response_path,
)

NOW = 1_700_000_000.0


@asynccontextmanager
async def serving(timeout: float = 10.0, patience: float = 10.0) -> AsyncIterator[RuntimeApi]:
    async with RuntimeApi(
        timeout=timeout, now=lambda: NOW, on_init_error=lambda _: True, patience=patience
    ) as api:
        yield api


@asynccontextmanager
async def invoking(api: RuntimeApi, what: Invocation) -> AsyncIterator[asyncio.Task[Reply]]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(api.invoke(what))
        await asyncio.sleep(0)
        yield task


async def taken(api: RuntimeApi, runtime: Runtime, what: Invocation) -> asyncio.Task[Reply]:
    """The task of an invocation that `runtime` has taken."""
    task = asyncio.create_task(api.invoke(what))
    answer = await runtime.call("GET", NEXT)
    assert answer.request_id == what.request_id
    return task


async def test_a_runtime_gets_the_event_with_its_headers_and_answers_it() -> None:
    event = json.dumps({"Records": ["é" * 800] * 100}).encode()
    what = invocation(event)
    async with serving(timeout=3.0) as api, connected(api.address) as runtime:
        runtime.ask("GET", NEXT)
        async with invoking(api, what) as task:
            given = await runtime.answer()
            accepted = await runtime.call("POST", response_path(what.request_id), b'"done"')

    assert given.status == 200
    assert given.body == event
    assert given.headers == {
        "content-type": "application/json",
        "content-length": str(len(event)),
        "lambda-runtime-aws-request-id": what.request_id,
        "lambda-runtime-deadline-ms": "1700000003000",
        "lambda-runtime-invoked-function-arn": ARN,
        "lambda-runtime-trace-id": what.trace_id,
    }
    assert (accepted.status, accepted.body) == (202, b'{"status":"OK"}\n')
    assert task.result() == Ran(b'"done"')


async def test_a_trace_id_cannot_add_a_header() -> None:
    what = Invocation(b"{}", "1", ARN, "Root=1\r\nLambda-Runtime-Deadline-Ms: 0")
    async with serving() as api, connected(api.address) as runtime:
        runtime.ask("GET", NEXT)
        async with invoking(api, what):
            given = await runtime.answer()
            await runtime.call("POST", response_path("1"))

    assert "lambda-runtime-trace-id" not in given.headers
    assert given.headers["lambda-runtime-deadline-ms"] != "0"


async def test_an_invocation_waits_until_a_runtime_asks() -> None:
    what = invocation()
    async with serving() as api, connected(api.address) as runtime:
        task = await taken(api, runtime, what)
        await runtime.call("POST", response_path(what.request_id), b"1")

        assert await task == Ran(b"1")


async def test_without_a_runtime_the_function_is_not_reached() -> None:
    async with serving(patience=0.01) as api:
        why = f"no runtime asks for invocations at {api.address}"

        assert await api.invoke(invocation()) == NotReached(why)


async def test_when_every_runtime_is_busy_the_function_is_throttled() -> None:
    async with serving(patience=0.01) as api, connected(api.address) as runtime:
        what = invocation()
        runtime.ask("GET", NEXT)
        async with invoking(api, what):
            await runtime.answer()
            reply = await api.invoke(invocation())
            await runtime.call("POST", response_path(what.request_id))

    assert reply == NotReached("every runtime is busy", throttled=True)


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        (
            "",
            b'{"errorMessage": "no", "errorType": "ValueError", "stackTrace": []}',
            Errored("ValueError", "no"),
        ),
        ("Lambda-Runtime-Function-Error-Type: Runtime.X\r\n", b"{}", Errored("Runtime.X", "")),
        ("", b"{}", Errored("Unhandled", "")),
        ("", b"[1]", Errored("Unhandled", "[1]")),
        ("", b"\xff no JSON", Errored("Unhandled", "� no JSON")),
        ("", b'{"errorMessage": null, "errorType": 7}', Errored("7", "")),
        ("", b"", Errored("Unhandled", "")),
        (
            f"Lambda-Runtime-Function-XRay-Error-Cause: {'x' * 1_000_000}\r\n",
            b"",
            Errored("Unhandled", ""),
        ),
    ],
)
async def test_what_a_runtime_reports_is_a_function_error(
    headers: str, body: bytes, expected: Errored
) -> None:
    what = invocation()
    async with serving() as api, connected(api.address) as runtime:
        task = await taken(api, runtime, what)
        accepted = await runtime.call("POST", error_path(what.request_id), body, headers)

        assert accepted.status == 202
        assert await task == replace(expected, payload=body)


async def test_a_timeout_counts_from_when_a_runtime_takes_it_and_late_answers_are_ignored() -> None:
    first, second = invocation(), invocation()
    async with serving(timeout=0.05) as api, connected(api.address) as runtime:
        task = await taken(api, runtime, first)
        reply = await task
        owing = api.owing
        late = await runtime.call("POST", response_path(first.request_id), b"late")
        again = await runtime.call("POST", response_path(first.request_id), b"late")
        runtime.ask("GET", NEXT)
        async with invoking(api, second) as after:
            await runtime.answer()
            await runtime.call("POST", response_path(second.request_id), b"in time")

    assert reply == Errored("Sandbox.Timedout", "Task timed out after 0.05 seconds")
    assert owing
    assert late.status == 202
    assert (again.status, again.error) == (403, "InvalidStateTransition")
    assert after.result() == Ran(b"in time")


async def test_a_runtime_that_asks_before_it_answers_has_failed_the_invocation() -> None:
    first, second = invocation(), invocation()
    async with serving() as api, connected(api.address) as runtime:
        task = await taken(api, runtime, first)
        after = await taken(api, runtime, second)
        refused = await runtime.call("POST", response_path(first.request_id), b"{}")
        await runtime.call("POST", response_path(second.request_id), b"2")

        why = "Runtime asked for the next event before it answered"
        assert await task == Errored(
            "Runtime.ExitError", f"RequestId: {first.request_id} Error: {why}"
        )
        assert (refused.status, refused.error) == (400, "InvalidRequestID")
        assert await after == Ran(b"2")


async def test_a_process_that_asks_on_another_connection_is_through_with_what_it_took() -> None:
    what = invocation()
    async with serving() as api, connected(api.address) as one, connected(api.address) as other:
        task = await taken(api, one, what)
        other.ask("GET", NEXT)

        why = "Runtime asked for the next event before it answered"
        message = f"RequestId: {what.request_id} Error: {why}"
        assert await task == Errored("Runtime.ExitError", message)


async def test_an_answer_counts_that_a_process_sent_as_it_asked_on_another_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("poller.targets.runtime_api.CLOSE_GRACE", 60.0)
    what = invocation()
    async with serving() as api, connected(api.address) as one, connected(api.address) as other:
        task = await taken(api, one, what)
        other.ask("GET", NEXT)
        await nothing_comes(other)
        await one.call("POST", response_path(what.request_id), b"2")

        assert await task == Ran(b"2")


async def test_a_runtime_may_use_a_connection_for_each_call() -> None:
    what = invocation()
    async with serving() as api:
        async with connected(api.address) as asking:
            task = asyncio.create_task(api.invoke(what))
            given = await asking.call("GET", NEXT, headers="Connection: close\r\n")
            assert given.headers["connection"] == "close"
            assert await asking.end() == b""
        async with connected(api.address) as answering:
            await answering.call("POST", response_path(what.request_id), b"3")

        assert await task == Ran(b"3")


async def test_a_runtime_that_hangs_up_while_it_waits_loses_no_invocation() -> None:
    what = invocation()
    async with serving() as api:
        async with connected(api.address) as gone:
            gone.ask("GET", NEXT)
            await nothing_comes(gone)
            gone.writer.write_eof()
            assert await gone.end() == b""
            async with connected(api.address) as runtime:
                task = await taken(api, runtime, what)
                await runtime.call("POST", response_path(what.request_id), b"4")

        assert await task == Ran(b"4")


async def nothing_comes(runtime: Runtime) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await runtime.reader.read(1)


async def test_a_cancelled_invocation_that_waited_is_never_given_to_a_runtime() -> None:
    second = invocation()
    async with serving() as api, connected(api.address) as runtime:
        task = asyncio.create_task(api.invoke(invocation()))
        await asyncio.sleep(0)
        task.cancel()
        after = await taken(api, runtime, second)
        await runtime.call("POST", response_path(second.request_id), b"5")

        assert await after == Ran(b"5")
        assert not api.owing


async def test_an_invocation_that_is_cancelled_as_a_runtime_asks_is_not_handed_out() -> None:
    runs = Runs()
    gone, waits = (
        Run(invocation(), 1.0, 1.0, asyncio.get_running_loop().create_future()) for _ in range(2)
    )
    runs.queued = {run.id: run for run in (gone, waits)}
    gone.reply.cancel()

    assert [runs.oldest_queued() for _ in range(2)] == [waits, None]


async def test_runtimes_side_by_side_run_side_by_side() -> None:
    whats = [invocation(str(number).encode()) for number in range(10)]
    async with serving() as api, asyncio.TaskGroup() as tasks:
        replies = [tasks.create_task(api.invoke(what)) for what in whats]
        runtimes = [connected(api.address) for _ in whats]
        opened = [await runtime.__aenter__() for runtime in runtimes]
        answers = [await runtime.call("GET", NEXT) for runtime in opened]
        for answer, runtime in zip(answers, reversed(opened), strict=True):
            await runtime.call("POST", response_path(answer.request_id), answer.body * 2)
        for runtime in runtimes:
            await runtime.__aexit__(None, None, None)

    assert [task.result() for task in replies] == [Ran(what.event * 2) for what in whats]


@pytest.mark.parametrize("waiting", [True, False])
async def test_a_closed_api_ends_what_runs_and_what_waits(waiting: bool) -> None:
    what = invocation()
    async with serving() as api, connected(api.address) as runtime:
        if waiting:
            task = asyncio.create_task(api.invoke(what))
            await asyncio.sleep(0)
        else:
            task = await taken(api, runtime, what)
        api.close()

        closed = "the Runtime API is closed"
        running = Errored("Runtime.ExitError", f"RequestId: {what.request_id} Error: {closed}")
        assert await task == (NotReached(closed) if waiting else running)
        assert await api.invoke(what) == NotReached(closed)


async def test_an_init_error_goes_to_whoever_asked_for_it() -> None:
    errors: list[Errored] = []

    def keep_the_first(error: Errored) -> bool:
        errors.append(error)
        return len(errors) == 1

    answers: list[Answer] = []
    body = b'{"errorType": "Runtime.ImportModuleError", "errorMessage": "no module"}'
    api = RuntimeApi(timeout=1.0, now=lambda: NOW, on_init_error=keep_the_first)
    async with api, connected(api.address) as runtime:
        for _ in range(2):
            answers.append(await runtime.call("POST", INIT_ERROR, body))

    assert errors[0] == Errored("Runtime.ImportModuleError", "no module", payload=body)
    assert [answer.status for answer in answers] == [202, 403]
    assert answers[1].error == "InvalidStateTransition"
