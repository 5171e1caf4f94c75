"""Runtimes that somebody else started, over real sockets: they come, go, fail to start, return."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from contextlib import AsyncExitStack

import pytest

from poller.interfaces import Errored, NotReached, Ran
from poller.targets import attached_runtimes, runtime_http
from poller.targets.attached_runtimes import Addresses, Tenant
from poller.targets.runtime_api import CLOSE_GRACE
from tests.targets.attached import attached, attaching, taken
from tests.targets.runtimes import (
    INIT_ERROR,
    NEXT,
    connected,
    invocation,
    response_path,
)
from tests.waiting import soon

UNSTATED = "Runtime exited without providing a reason"
BEYOND_GRACE = CLOSE_GRACE + 0.05
OFFICIAL = "User-Agent: aws-lambda-python/3.13.0-4.0.0\r\n"
BROKEN = b'{"errorType": "Runtime.ImportModuleError", "errorMessage": "no\\nmodule"}'


def gone(request_id: str) -> Errored:
    return Errored("Runtime.ExitError", f"RequestId: {request_id} Error: {UNSTATED}")


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("earlier", [0, 1])
async def test_a_runtime_that_vanishes_in_the_middle_has_failed_the_invocation_at_once(
    reset: bool, earlier: int
) -> None:
    async with attaching(timeout=900.0) as place, connected(place.address) as runtime:
        for _ in range(earlier):
            before = invocation()
            task = await taken(place.function, runtime, before, OFFICIAL)
            await runtime.call("POST", response_path(before.request_id))
            await task
        what = invocation()
        task = await taken(place.function, runtime, what, OFFICIAL)
        if reset:
            runtime.reset()
        else:
            runtime.writer.close()

        async with asyncio.timeout(5.0):
            assert await task == gone(what.request_id)


async def test_a_client_with_a_connection_for_each_call_is_alive() -> None:
    what = invocation()
    async with attaching() as place:
        async with connected(place.address) as asking:
            task = await taken(place.function, asking, what, "User-Agent: curl/8.5.0\r\n")
        await asyncio.sleep(BEYOND_GRACE)
        assert not task.done()
        async with connected(place.address) as answering:
            await answering.call("POST", response_path(what.request_id), b"3")

        assert await task == Ran(b"3")


async def test_a_client_that_answers_on_another_connection_is_known_by_it() -> None:
    quick, slow = invocation(), invocation()
    async with attaching() as place:
        async with connected(place.address) as asking:
            task = await taken(place.function, asking, quick)
        async with connected(place.address) as again:
            await again.call("POST", response_path(quick.request_id), b"1")
            assert await task == Ran(b"1")
            task = await taken(place.function, again, slow)
        await asyncio.sleep(BEYOND_GRACE)
        assert not task.done()
        async with connected(place.address) as answering:
            await answering.call("POST", response_path(slow.request_id), b"2")

        assert await task == Ran(b"2")


async def test_a_runtime_that_was_held_for_gone_is_believed_from_then_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, second = invocation(), invocation()
    async with attaching() as place:
        async with connected(place.address) as asking:
            task = await taken(place.function, asking, first, OFFICIAL)
        assert await task == gone(first.request_id)
        async with connected(place.address) as again:
            late = await again.call("POST", response_path(first.request_id), b"late")
            task = await taken(place.function, again, second, OFFICIAL)
        await asyncio.sleep(BEYOND_GRACE)
        async with connected(place.address) as answering:
            await answering.call("POST", response_path(second.request_id), b"in time")

    assert late.status == 202
    assert await task == Ran(b"in time")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "a runtime closed its connection and worked on" in caplog.text


async def test_one_that_returns_late_is_ignored_and_of_use_again() -> None:
    first, second = invocation(), invocation()
    async with attaching(timeout=0.05) as place, connected(place.address) as runtime:
        task = await taken(place.function, runtime, first)
        timed_out = await task
        waiting = await place.function.invoke(invocation())
        late = await runtime.call("POST", response_path(first.request_id), b"late")
        task = await taken(place.function, runtime, second)
        await runtime.call("POST", response_path(second.request_id), b"2")

        assert timed_out == Errored("Sandbox.Timedout", "Task timed out after 0.05 seconds")
        assert waiting == NotReached("every runtime is busy", throttled=True)
        assert late.status == 202
        assert await task == Ran(b"2")


async def test_an_answer_that_ends_in_the_middle_has_failed_the_invocation() -> None:
    what = invocation()
    async with attaching(timeout=900.0) as place, connected(place.address) as runtime:
        task = await taken(place.function, runtime, what)
        async with connected(place.address) as answering:
            start = f"POST {response_path(what.request_id)} HTTP/1.1\r\n"
            answering.send(f"{start}Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n".encode())
            await answering.writer.drain()

        why = f"RequestId: {what.request_id} Error: Response ended before it was complete"
        assert await task == Errored("Runtime.TruncatedResponse", why)


async def test_without_a_runtime_the_function_is_not_reached() -> None:
    async with attaching() as place:
        why = f"no runtime asks for invocations at {place.address}"

        assert await place.function.invoke(invocation()) == NotReached(why)


async def test_an_init_error_is_told_once_and_is_what_waits_comes_to(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "poller")
    what = invocation()
    async with attaching() as place:
        for _ in range(3):
            waiting = [asyncio.create_task(place.function.invoke(invocation())) for _ in range(2)]
            async with connected(place.address) as runtime:
                accepted = await runtime.call("POST", INIT_ERROR, BROKEN)
            failed = Errored("Runtime.ImportModuleError", "no\nmodule", payload=BROKEN)
            assert await asyncio.gather(*waiting) == [failed, failed]
        later = await place.function.invoke(invocation())
        async with connected(place.address) as runtime:
            task = await taken(place.function, runtime, what)
            other = asyncio.create_task(place.function.invoke(invocation()))
            async with connected(place.address) as broken:
                await broken.call("POST", INIT_ERROR, BROKEN)
            await runtime.call("POST", response_path(what.request_id))
            answer = await runtime.call("GET", NEXT)
            await runtime.call("POST", response_path(answer.request_id), b"1")

    trouble = "Runtime.ImportModuleError: no module"
    why = f"no runtime asks for invocations at {place.address}"
    assert accepted.status == 202
    assert later == NotReached(f"{why}; the last one could not start: {trouble}")
    assert await task == Ran(b"")
    assert await other == Ran(b"1")
    assert [record.getMessage() for record in caplog.records] == [
        f"function orders: runtimes attach at {place.address}",
        f"function orders: a runtime cannot start: {trouble}",
        "function orders: a runtime has started again",
        f"function orders: a runtime cannot start: {trouble}",
        "function orders: a runtime has started again",
    ]


async def test_runtimes_stay_attached_when_the_function_changes() -> None:
    first, second = invocation(), invocation()
    async with AsyncExitStack() as later:
        async with attaching(timeout=0.05) as place:
            runtime = await later.enter_async_context(connected(place.address))
            runtime.ask("GET", NEXT)
            changed = await later.enter_async_context(place.another(timeout=900.0))
            task = asyncio.create_task(changed.invoke(first))
            given = await runtime.answer()
        await runtime.call("POST", response_path(first.request_id), b"1")
        after = await taken(changed, runtime, second)
        await runtime.call("POST", response_path(second.request_id), b"2")

        assert given.headers["lambda-runtime-deadline-ms"] == "1700000900000"
        assert [await task, await after] == [Ran(b"1"), Ran(b"2")]


async def test_a_change_that_is_taken_back_leaves_everything_as_it_was() -> None:
    what = invocation()
    async with attaching() as place, connected(place.address) as runtime:
        runtime.ask("GET", NEXT)
        async with place.another(name="parts"):
            pass
        task = asyncio.create_task(place.function.invoke(what))
        await runtime.answer()
        await runtime.call("POST", response_path(what.request_id), b"1")

        assert await task == Ran(b"1")


async def test_the_end_closes_what_waits_and_frees_the_address() -> None:
    async with attaching() as place:
        runtimes = [connected(place.address) for _ in range(3)]
        opened = [await runtime.__aenter__() for runtime in runtimes]
        for runtime in opened:
            runtime.ask("GET", NEXT)
        await all_came_in(place.address)
    for runtime, context in zip(opened, runtimes, strict=True):
        assert await runtime.reader.read() == b""  # an end, and not a reset
        await context.__aexit__(None, None, None)

    with socket.create_server(("127.0.0.1", place.port)):
        pass


async def all_came_in(address: str) -> None:
    """A request on a fresh connection is answered after those that were sent before it."""
    async with connected(address) as pinging:
        assert (await pinging.call("GET", "/2018-06-01/ping")).body == b"pong"


async def test_an_address_in_use_is_one_clear_line_and_had_as_soon_as_it_is_free(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(attached_runtimes, "OPEN_PERIOD", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        async with attached(Addresses(lambda: 0.0), port) as function:
            refused = await function.invoke(invocation())
            await asyncio.sleep(0.05)  # in which it is tried again
            other.close()
            await soon(lambda: len(caplog.records) > 1)

    closed = f"cannot serve runtimes at 127.0.0.1:{port}: Address already in use"
    assert refused == NotReached(closed)
    assert [record.getMessage() for record in caplog.records] == [
        f"function orders: {closed}; end what is there, or change runtime_api; trying again until "
        "it can be",
        f"function orders: runtimes attach at 127.0.0.1:{port}",
    ]


async def test_an_unknown_host_is_one_clear_line_and_holds_up_no_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with attached(Addresses(lambda: 0.0), 9, host="nowhere.invalid"):
        pass

    (record,) = caplog.records
    assert re.match(
        r"function orders: cannot serve runtimes at nowhere\.invalid:9: [A-Z]", record.getMessage()
    )


async def test_connections_from_elsewhere_are_cut_unread_with_a_line_for_all(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with attaching(allow=("10.0.0.0/8",), host="0.0.0.0") as place:
        for _ in range(3):
            async with connected(place.address) as runtime:
                runtime.send(b"GARBAGE\r\n\r\n")
                assert await runtime.end() == b""

    assert [record.getMessage() for record in caplog.records] == [
        "function orders: a connection from 127.0.0.1 is cut: allow of its runtime_api does not "
        "name it"
    ]


@pytest.mark.parametrize(
    ("allow", "peer", "admitted"),
    [
        ((), "203.0.113.9", True),
        (("10.0.0.0/8",), "10.255.0.1", True),
        (("10.0.0.0/8",), "11.0.0.1", False),
        (("10.1.2.3/32", "192.168.0.0/16"), "192.168.7.7", True),
        (("10.0.0.0/8",), "::ffff:10.1.1.1", True),
        (("fd00::/8",), "fd12::1", True),
        (("fe80::/10",), "fe80::1%eth0", True),
        (("fd00::/8",), "10.1.1.1", False),
        (("10.0.0.0/8",), "", False),
    ],
)
async def test_who_may_connect(allow: tuple[str, ...], peer: str, admitted: bool) -> None:
    tenant = Tenant.of("orders", allow)

    assert tenant.admits(peer) is admitted


async def test_who_never_ends_a_request_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_http, "HEAD_TIME_MAX", 0.05)
    monkeypatch.setattr("poller.targets.runtime_api.LOOK_PERIOD", 0.02)
    async with attaching() as place, connected(place.address) as patient:
        patient.ask("GET", NEXT)
        async with connected(place.address) as silent, connected(place.address) as slow:
            slow.send(b"GET /2018-06-01/run")
            assert await slow.end() == b""
            assert await silent.end() == b""
        what = invocation()
        task = asyncio.create_task(place.function.invoke(what))
        assert (await patient.answer()).request_id == what.request_id
        await patient.call("POST", response_path(what.request_id), b"1")

        assert await task == Ran(b"1")
