"""The Runtime API against clients that err or mean harm: an answer or a closed door, no loss."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poller.interfaces import Errored, Ran
from poller.targets import runtime_api
from poller.targets.runtime_api import RuntimeApi
from poller.targets.runtime_http import BODY_BYTES_MAX, HEAD_BYTES_MAX, READ_BYTES_MAX
from tests.targets.runtimes import (
    INIT_ERROR,
    NEXT,
    Runtime,
    connected,
    error_path,
    invocation,
    response_path,
)

TOO_LARGE = "Exceeded maximum allowed payload size (6291556 bytes)."
STREAMING = "Lambda-Runtime-Function-Response-Mode: streaming\r\n"


def api_of(patience: float = 10.0) -> RuntimeApi:
    return RuntimeApi(
        timeout=10.0, now=lambda: 0.0, on_init_error=lambda _: True, patience=patience
    )


@pytest.fixture
async def api() -> AsyncIterator[RuntimeApi]:
    async with api_of() as opened:
        yield opened


async def works(api: RuntimeApi) -> bool:
    """Whether an invocation still goes through, with a fresh connection."""
    what = invocation(b"7")
    async with connected(api.address) as runtime, asyncio.TaskGroup() as tasks:
        task = tasks.create_task(api.invoke(what))
        answer = await runtime.call("GET", NEXT)
        assert answer.request_id == what.request_id
        await runtime.call("POST", response_path(what.request_id), b"8")
    return task.result() == Ran(b"8")


@pytest.mark.parametrize(
    ("request_", "status", "error"),
    [
        (("GET", "/", ""), 404, "NotFound"),
        (("GET", "/2018-06-01/runtime/invocation/next/", ""), 404, "NotFound"),
        (("GET", "/2018-06-02/runtime/invocation/next", ""), 404, "NotFound"),
        (("POST", "/2018-06-01/runtime/invocation//else", ""), 404, "NotFound"),
        (("POST", NEXT, ""), 405, "MethodNotAllowed"),
        (("GET", INIT_ERROR, ""), 405, "MethodNotAllowed"),
        (("DELETE", response_path("1"), ""), 405, "MethodNotAllowed"),
        (("POST", response_path("1"), ""), 400, "InvalidRequestID"),
        (("POST", error_path("1"), ""), 400, "InvalidRequestID"),
        (("POST", response_path("%00%ff"), ""), 400, "InvalidRequestID"),
        (("POST", response_path("1"), STREAMING), 400, "InvalidRequestID"),
        (("GET", "/2018-06-01/runtime/restore/next", ""), 403, "InvalidStateTransition"),
        (("POST", "/2018-06-01/runtime/restore/error", ""), 403, "InvalidStateTransition"),
        (("POST", "/2018-06-01/runtime/restore/next", ""), 405, "MethodNotAllowed"),
        (("GET", NEXT, "Origin: http://evil.example\r\n"), 403, "Forbidden"),
        (("GET", NEXT, "Sec-Fetch-Site: cross-site\r\n"), 403, "Forbidden"),
    ],
)
async def test_a_wrong_request_is_told_so_and_the_connection_lives(
    api: RuntimeApi, request_: tuple[str, str, str], status: int, error: str
) -> None:
    method, path, headers = request_
    async with connected(api.address) as runtime:
        for _ in range(2):
            answer = await runtime.call(method, path, headers=headers)
            assert (answer.status, answer.error) == (status, error)

    assert await works(api)


async def test_a_query_does_not_hide_the_path(api: RuntimeApi) -> None:
    async with connected(api.address) as runtime:
        assert (await runtime.call("POST", response_path("1") + "?x=/next")).status == 400


async def test_an_answer_given_twice_is_in_the_wrong_state(api: RuntimeApi) -> None:
    what = invocation()
    async with connected(api.address) as runtime, asyncio.TaskGroup() as tasks:
        task = tasks.create_task(api.invoke(what))
        await runtime.call("GET", NEXT)
        paths = [response_path, response_path, error_path]
        answers = [
            await runtime.call("POST", path(what.request_id), str(number).encode())
            for number, path in enumerate(paths)
        ]

    assert [answer.status for answer in answers] == [202, 403, 403]
    assert answers[2].error == "InvalidStateTransition"
    assert task.result() == Ran(b"0")


@pytest.mark.parametrize("path", [response_path, error_path])
@pytest.mark.parametrize("chunked", [True, False])
async def test_too_large_an_answer_is_refused_and_fails_the_invocation(
    api: RuntimeApi, path: Callable[[str], str], chunked: bool
) -> None:
    what = invocation()
    body = b" " * (BODY_BYTES_MAX + 1)
    async with connected(api.address) as runtime, asyncio.TaskGroup() as tasks:
        task = tasks.create_task(api.invoke(what))
        await runtime.call("GET", NEXT)
        if chunked:
            start = f"POST {path(what.request_id)} HTTP/1.1\r\nHost: x\r\n"
            runtime.send(f"{start}Transfer-Encoding: chunked\r\n\r\n".encode())
            runtime.send(f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n")
        else:
            runtime.ask("POST", path(what.request_id), body)
        answer = await runtime.answer()

    assert (answer.status, answer.error) == (413, "RequestEntityTooLarge")
    assert TOO_LARGE.encode() in answer.body
    message = "Response payload size exceeded maximum allowed payload size (6291556 bytes)."
    assert task.result() == Errored("Function.ResponseSizeTooLarge", message)
    assert await works(api)


@pytest.mark.parametrize("garbage", [b"", b"\xff", b"[", b"7", b"[" * 100_000, b'{"a":' * 100_000])
async def test_an_error_that_is_garbage_fails_the_invocation_at_once(
    api: RuntimeApi, garbage: bytes
) -> None:
    what = invocation()
    async with connected(api.address) as runtime, asyncio.TaskGroup() as tasks:
        task = tasks.create_task(api.invoke(what))
        await runtime.call("GET", NEXT)
        answer = await runtime.call("POST", error_path(what.request_id), garbage)

    assert answer.status == 202
    text = garbage.decode(errors="replace")
    assert task.result() == Errored("Unhandled", text, payload=garbage)
    assert await works(api)


async def test_the_largest_answer_is_taken_also_by_a_client_that_asks_first(
    api: RuntimeApi,
) -> None:
    what = invocation()
    body = b"9" * BODY_BYTES_MAX
    async with connected(api.address) as runtime, asyncio.TaskGroup() as tasks:
        task = tasks.create_task(api.invoke(what))
        await runtime.call("GET", NEXT)
        start = f"POST {response_path(what.request_id)} HTTP/1.1\r\nExpect: 100-continue\r\n"
        runtime.send(f"{start}Content-Length: {len(body)}\r\n\r\n".encode())
        assert (await runtime.answer()).status == 100
        runtime.send(body)
        assert (await runtime.answer()).status == 202

    assert task.result() == Ran(body)


@pytest.mark.parametrize(
    ("noise", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b" 400 "),
        (b"GARBAGE\r\n\r\n", b" 400 "),
        (b"GET / HTTP/9.9\r\n\r\n", b" 400 "),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b" 400 "),
        (b"POST /x HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b" 400 "),
        (b"POST /x HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", b" 400 "),
        (b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b" 400 "),
        (b"GET /x HTTP/1.1\r\nX: " + b"x" * (HEAD_BYTES_MAX + 1), b" 431 "),
        (b"GET /" + b"x" * (HEAD_BYTES_MAX + 1), b" 431 "),
    ],
)
async def test_what_is_no_http_is_refused_and_the_connection_ends(
    api: RuntimeApi, noise: bytes, status: bytes
) -> None:
    async with connected(api.address) as runtime:
        runtime.send(noise)
        said = await runtime.end()

    assert said.startswith(b"HTTP/1.1" + status)
    assert await works(api)


async def test_a_body_without_end_is_cut_off(api: RuntimeApi) -> None:
    async with connected(api.address) as runtime:
        runtime.send(b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
        with pytest.raises(ConnectionError):
            await send_often(runtime, chunk, READ_BYTES_MAX // len(chunk) + 64)

    assert await works(api)


async def send_often(runtime: Runtime, data: bytes, times: int) -> None:
    for _ in range(times):
        runtime.send(data)
        await runtime.writer.drain()


async def test_who_speaks_while_it_waits_is_cut_off(api: RuntimeApi) -> None:
    async with connected(api.address) as runtime:
        runtime.ask("GET", NEXT)
        runtime.ask("GET", NEXT)
        assert await runtime.end() == b""

    assert await works(api)


async def test_requests_sent_together_are_answered_in_order(api: RuntimeApi) -> None:
    async with connected(api.address) as runtime:
        runtime.ask("POST", response_path("1"))
        runtime.ask("GET", "/nothing")
        runtime.ask("GET", NEXT, headers="Sec-Fetch-Mode: cors\r\n")
        statuses = [(await runtime.answer()).status for _ in range(2)]

    assert statuses == [400, 404]


async def test_early_disconnects_at_every_byte_lose_nothing(api: RuntimeApi) -> None:
    asked = f"GET {NEXT} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    for length in range(0, len(asked) + 1, 5):
        async with connected(api.address) as runtime:
            runtime.send(asked[:length])
            await runtime.writer.drain()

    async with connected(api.address) as runtime:
        runtime.send(asked)
        runtime.writer.write_eof()
        assert await runtime.end() == b""

    assert await works(api)


async def test_a_client_that_offers_another_protocol_is_answered_in_this_one(
    api: RuntimeApi,
) -> None:
    offer = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n"
    what = invocation()
    async with connected(api.address) as runtime, asyncio.TaskGroup() as tasks:
        runtime.ask("GET", "/", headers=offer)
        runtime.ask("GET", NEXT, headers=offer)
        assert (await runtime.answer()).status == 404
        task = tasks.create_task(api.invoke(what))
        assert (await runtime.answer()).request_id == what.request_id
        assert (await runtime.call("POST", response_path("1"), b"{}")).status == 400
        assert (await runtime.call("POST", response_path(what.request_id), b"6")).status == 202
        refused = await runtime.call("POST", response_path("1"), b"{}", offer)
        assert refused.error == "InvalidRequest"
        assert await runtime.end() == b""

    assert task.result() == Ran(b"6")


async def test_connections_are_bounded(api: RuntimeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_api, "CONNECTIONS_MAX", 1)
    async with connected(api.address) as first:
        assert (await first.call("GET", "/")).status == 404
        async with connected(api.address) as second:
            assert await second.end() == b""
        assert (await first.call("GET", "/")).status == 404


async def test_invocations_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_api, "QUEUED_MAX", 1)
    async with api_of(patience=0.05) as api, asyncio.TaskGroup() as tasks:
        first = tasks.create_task(api.invoke(invocation()))
        await asyncio.sleep(0)
        second = await api.invoke(invocation())

    assert getattr(second, "throttled", None) is True
    assert getattr(first.result(), "throttled", None) is False


@settings(max_examples=60, deadline=None)
@given(noise=st.binary(max_size=200), behind=st.booleans())
async def test_no_bytes_break_it(noise: bytes, behind: bool) -> None:
    async with api_of() as api:
        async with connected(api.address) as runtime:
            if behind:
                runtime.ask("GET", "/")
            runtime.send(noise)
            await ended_or_quiet(runtime)
        assert await works(api)


async def ended_or_quiet(runtime: Runtime) -> None:
    runtime.writer.write_eof()
    await runtime.end()
