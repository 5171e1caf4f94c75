"""A function behind HTTP: what it is sent, and what becomes of every way in which that can end."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from poller.errors import ConfigError
from poller.interfaces import Errored, Invocation, NotReached, Ran, Reply
from poller.targets.http_addresses import EMULATOR_PATH
from poller.targets.http_endpoint import HttpEndpoint
from tests.transport.certificates import self_signed
from tests.transport.peers import OK, Peer, Server, Talk, answering, serving
from tests.waiting import soon

NOW = 1_700_000_000.0
ARN = "arn:aws:lambda:us-east-1:000000000000:function:orders"


def endpoint(
    *urls: str,
    timeout: float = 10.0,
    headers: Mapping[str, str] | None = None,
) -> HttpEndpoint:
    return HttpEndpoint(urls, timeout=timeout, headers=headers or {}, now=lambda: NOW)


def invocation(event: bytes = b"{}") -> Invocation:
    return Invocation(event, str(uuid.uuid4()), ARN, "Root=1-5759e988-bd862e3fe1be46a994272793")


async def invoke(function: HttpEndpoint, times: int = 1) -> list[Reply]:
    """The replies to invocations that begin at the same time."""
    return list(await asyncio.gather(*(function.invoke(invocation()) for _ in range(times))))


def http(body: bytes, status: str = "200 OK", extra: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode() + body


class Gate:
    """Holds requests until it opens; `running` and `running_max` count those that it holds."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.running = 0
        self.running_max = 0

    async def talk(self, peer: Peer) -> None:
        while await peer.request() is not None:
            self.running += 1
            self.running_max = max(self.running, self.running_max)
            await self.opened.wait()
            self.running -= 1
            await peer.send(OK)


async def unused() -> Server:
    """An address at which nothing listens."""
    async with serving(answering(OK)) as gone:
        return gone


async def test_an_invocation_is_a_post_of_the_event() -> None:
    sent = invocation(b'{"Records":[]}')

    async with (
        serving(answering(http(b'{"ok":true}'))) as server,
        endpoint(f"{server.origin}/run?x=1", timeout=7.5, headers={"X-Team": "orders"}) as function,
    ):
        reply = await function.invoke(sent)

    [request] = server.requests
    assert reply == Ran(b'{"ok":true}')
    assert (request.first_line, request.body) == ("POST /run?x=1 HTTP/1.1", b'{"Records":[]}')
    assert request.headers == {
        "host": server.origin.removeprefix("http://"),
        "content-type": "application/json",
        "content-length": "14",
        "x-team": "orders",
        "x-amzn-requestid": sent.request_id,
        "x-amzn-trace-id": sent.trace_id,
        "x-amz-invoked-function-arn": ARN,
        "lambda-runtime-deadline-ms": "1700000007500",
    }


async def test_a_url_without_a_path_is_the_root_and_a_client_context_goes_along() -> None:
    told = replace(invocation(), client_context="eyJhIjoxfQ==")

    async with serving(answering(OK)) as server, endpoint(server.origin) as function:
        await function.invoke(told)

    assert server.requests[0].first_line == "POST / HTTP/1.1"
    assert server.requests[0].headers["x-amz-client-context"] == "eyJhIjoxfQ=="


async def test_a_user_in_a_url_is_an_authorization_and_in_no_message() -> None:
    async with serving(answering(OK, b"garbage\r\n\r\n")) as server:
        url = f"http://me:s3cr%40t@127.0.0.1:{server.port}/"
        async with endpoint(url) as function:
            assert await function.invoke(invocation()) == Ran(b"ok")
            garbled = await function.invoke(invocation())
    async with endpoint(url) as function:
        refused = await function.invoke(invocation())

    assert server.requests[0].headers["authorization"] == "Basic bWU6czNjckB0"
    assert isinstance(garbled, Errored)
    assert isinstance(refused, NotReached)
    assert "s3cr" not in garbled.message + refused.why


def cut_after(data: bytes) -> Talk:
    async def talk(peer: Peer) -> None:
        await peer.request()
        if data:
            await peer.send(data)

    return talk


async def reset(peer: Peer) -> None:
    await peer.request()
    peer.reset()


async def hang(peer: Peer) -> None:
    await peer.request()
    await peer.gone()


ENDS: list[tuple[Talk, str]] = [
    (cut_after(b""), "Endpoint.ConnectionLost"),
    (reset, "Endpoint.ConnectionLost"),
    (cut_after(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab"), "Endpoint.ConnectionLost"),
    (cut_after(b"220 mail.example\r\n"), "Endpoint.InvalidResponse"),
    (cut_after(http(b"x" * 6_291_557)), "Function.ResponseSizeTooLarge"),
    (cut_after(http(b"no", "500 Internal Server Error")), "Endpoint.Status500"),
    (cut_after(http(b"no", extra="X-Amz-Function-Error: yes\r\n")), "Unhandled"),
]


@pytest.mark.parametrize(("talk", "error_type"), ENDS)
async def test_what_goes_wrong_once_the_request_is_sent_is_a_function_error(
    talk: Talk, error_type: str
) -> None:
    async with serving(talk) as server, endpoint(server.origin) as function:
        reply = await function.invoke(invocation())

    assert isinstance(reply, Errored)
    assert (reply.error_type, reply.status_code) == (error_type, 200)
    assert "\n" not in reply.message
    assert len(server.requests) == 1


async def test_a_response_may_be_as_large_as_lambdas() -> None:
    body = b"x" * 6_291_556

    async with serving(answering(http(body))) as server, endpoint(server.origin) as function:
        assert await function.invoke(invocation()) == Ran(body)


async def test_a_function_that_runs_too_long_is_timed_out_in_lambdas_words() -> None:
    async with serving(hang) as server, endpoint(server.origin, timeout=0.05) as function:
        reply = await function.invoke(invocation())
        await soon(lambda: server.open == 0)

    assert reply == Errored("Sandbox.Timedout", "Task timed out after 0.05 seconds")


async def test_a_throttle_was_not_reached_and_says_when_to_come_again() -> None:
    busy = http(b"", "429 Too Many Requests", "Retry-After: 3\r\n")

    async with serving(answering(busy)) as server, endpoint(server.origin) as function:
        reply = await function.invoke(invocation())

    assert reply == NotReached("the endpoint throttles (status 429)", True, 3.0)


async def test_an_endpoint_that_is_not_there_was_not_reached() -> None:
    gone = await unused()

    async with endpoint(gone.origin) as function:
        reply = await function.invoke(invocation())

    assert reply == NotReached(f"cannot connect to {gone.origin}: Connection refused")


async def test_a_kept_connection_that_closes_before_an_answer_counts_as_nothing() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()  # and closes without an answer

    async with serving(talk) as server, endpoint(server.origin) as function:
        replies = [await function.invoke(invocation()) for _ in range(3)]

    assert replies == [Ran(b"ok")] * 3
    assert server.connections == 3


async def test_invocations_share_connections() -> None:
    async with serving(answering(OK)) as server, endpoint(server.origin) as function:
        for _ in range(3):
            await invoke(function, 2)

    assert server.connections == 2


async def test_a_cancelled_invocation_closes_its_connection() -> None:
    gate = Gate()

    async with serving(gate.talk) as server, endpoint(server.origin) as function:
        first = asyncio.ensure_future(function.invoke(invocation()))
        await soon(lambda: gate.running == 1)
        first.cancel()
        await asyncio.wait([first])
        gate.opened.set()
        reply = await function.invoke(invocation())

    assert (first.cancelled(), reply) == (True, Ran(b"ok"))


async def test_without_an_emulator_everything_runs_at_once() -> None:
    gate = Gate()

    async with serving(gate.talk) as server, endpoint(server.origin) as function:
        replies = asyncio.ensure_future(invoke(function, 50))
        await soon(lambda: gate.running == 50)
        gate.opened.set()
        await replies

    assert gate.running_max == 50


async def several(stack: AsyncExitStack, talks: Sequence[Talk]) -> list[Server]:
    return [await stack.enter_async_context(serving(talk)) for talk in talks]


async def test_invocations_are_spread_least_busy_first() -> None:
    gates = [Gate(), Gate(), Gate()]

    async with AsyncExitStack() as stack:
        servers = await several(stack, [gate.talk for gate in gates])
        function = await stack.enter_async_context(endpoint(*(each.origin for each in servers)))
        replies = asyncio.ensure_future(invoke(function, 9))
        await soon(lambda: sum(gate.running for gate in gates) == 9)
        held = [gate.running for gate in gates]
        for gate in gates:
            gate.opened.set()
        await replies
        for _ in range(6):
            await function.invoke(invocation())

    assert held == [3, 3, 3]
    assert [len(server.requests) for server in servers] == [5, 5, 5]


async def test_an_address_that_refuses_is_passed_over_while_others_work() -> None:
    async with AsyncExitStack() as stack:
        gone = await unused()
        [server] = await several(stack, [answering(OK)])
        function = await stack.enter_async_context(endpoint(gone.origin, server.origin))
        replies = await invoke(function, 4) + await invoke(function, 4)

    assert replies == [Ran(b"ok")] * 8


async def test_where_no_address_works_all_are_tried_again_with_each_invocation() -> None:
    async with AsyncExitStack() as stack:
        gone = [await unused(), await unused()]
        function = await stack.enter_async_context(endpoint(*(each.origin for each in gone)))
        replies = [await function.invoke(invocation()) for _ in range(3)]

    assert all(isinstance(reply, NotReached) and not reply.throttled for reply in replies)


async def test_an_emulator_runs_one_invocation_at_a_time_for_each_address() -> None:
    gates = [Gate(), Gate()]

    async with AsyncExitStack() as stack:
        servers = await several(stack, [gate.talk for gate in gates])
        urls = [server.origin + EMULATOR_PATH for server in servers]
        function = await stack.enter_async_context(endpoint(*urls))
        replies = asyncio.ensure_future(invoke(function, 5))
        await soon(lambda: sum(gate.running for gate in gates) == 2)
        for gate in gates:
            gate.opened.set()

        assert await replies == [Ran(b"ok")] * 5
        assert [gate.running_max for gate in gates] == [1, 1]


async def test_an_emulators_errors_are_read_from_its_200() -> None:
    error = json.dumps({"errorType": "KeyError", "errorMessage": "'id'"}).encode()

    async with serving(answering(http(error))) as server:
        async with endpoint(server.origin + EMULATOR_PATH) as function:
            reply = await function.invoke(invocation())
        async with endpoint(server.origin + "/mine") as function:
            plain = await function.invoke(invocation())

    assert reply == Errored("KeyError", "'id'", payload=error)
    assert plain == Ran(error)


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (hang, Errored("Sandbox.Timedout", "Task timed out after 1.00 seconds")),
        (
            answering(http(b"", "400 Bad Request")),
            NotReached("the emulator is busy with another invocation", True),
        ),
    ],
)
async def test_an_emulator_that_is_still_busy_is_passed_over(first: Talk, expected: Reply) -> None:
    async with AsyncExitStack() as stack:
        servers = await several(stack, [first, answering(OK)])
        urls = [server.origin + EMULATOR_PATH for server in servers]
        function = await stack.enter_async_context(endpoint(*urls, timeout=1.0))
        replies = [await function.invoke(invocation()) for _ in range(5)]

    assert replies == [expected, *[Ran(b"ok")] * 4]


async def test_an_emulator_is_given_nothing_beside_what_timed_out_until_that_has_ended() -> None:
    """A second invocation beside the first ends an emulator."""
    gate = Gate()

    async with (
        serving(gate.talk) as server,
        endpoint(server.origin + EMULATOR_PATH, timeout=0.2) as function,
    ):
        late = await function.invoke(invocation())
        busy = await function.invoke(invocation())
        gate.opened.set()
        done = await function.invoke(invocation())

    assert late == Errored("Sandbox.Timedout", "Task timed out after 0.20 seconds")
    assert busy == NotReached(
        "every emulator was busy for 1 s, some with what has timed out: set "
        "AWS_LAMBDA_FUNCTION_TIMEOUT=1 in their environment",
        throttled=True,
    )
    assert done == Ran(b"ok")
    assert (gate.running_max, len(server.requests), server.connections) == (1, 2, 1)


async def test_a_cancelled_invocation_of_an_emulator_keeps_it_busy() -> None:
    gate = Gate()

    async with serving(gate.talk) as server, endpoint(server.origin + EMULATOR_PATH) as function:
        first = asyncio.ensure_future(function.invoke(invocation()))
        await soon(lambda: gate.running == 1)
        first.cancel()
        second = asyncio.ensure_future(function.invoke(invocation()))
        await asyncio.wait([first])
        gate.opened.set()

        assert await second == Ran(b"ok")
    assert (gate.running_max, server.connections) == (1, 1)


async def test_closing_does_not_wait_for_what_an_emulator_goes_on_with() -> None:
    async with serving(hang) as server:
        async with endpoint(server.origin + EMULATOR_PATH, timeout=0.05) as function:
            await function.invoke(invocation())
        await soon(lambda: server.open == 0)


async def test_a_function_behind_tls_is_a_function(tmp_path: Path) -> None:
    contexts = self_signed(tmp_path)

    async with (
        serving(answering(OK), context=contexts.server) as server,
        HttpEndpoint(
            [server.origin],
            timeout=10,
            headers={},
            now=lambda: NOW,
            ssl=contexts.client,
        ) as function,
    ):
        assert await function.invoke(invocation()) == Ran(b"ok")


WRONG: list[tuple[Sequence[str], Mapping[str, str]]] = [
    ([], {}),
    (["http://h/", "http://h/"], {}),
    (["ftp://user:s3cret@h/"], {}),
    (["http://user:s3cret@"], {}),
    (["http://user:s3cret@h:99999/"], {}),
    (["http://user:s3cret@h:port/"], {}),
    (["http://user:s3cret@[h/"], {}),
    (["http://user:s3cret@h/#f"], {}),
    (["http://user:s3cret@h/ä"], {}),
    (["http://h"], {"Host": "s3cret"}),
    (["http://h"], {"Transfer-Encoding": "chunked"}),
    (["http://h"], {"X": "s3cret\r\nY: z"}),
    (["http://h"], {"X Y": "s3cret"}),
    (["http://h"], {"x": "1", "X": "2"}),
    (["http://h"], {"x-amzn-requestid": "s3cret"}),
    (["http://h"], {"Content-Type": "s3cret"}),
    (["http://h"], {"X-Amz-Client-Context": "s3cret"}),
    (["http://me:s3cret@h"], {"Authorization": "s3cret"}),
]


@pytest.mark.parametrize(("urls", "headers"), WRONG)
def test_what_cannot_be_used_is_refused_on_one_line_without_secrets(
    urls: Sequence[str], headers: Mapping[str, str]
) -> None:
    with pytest.raises(ConfigError) as refusal:
        endpoint(*urls, headers=headers)

    assert "s3cret" not in str(refusal.value)
    assert "\n" not in str(refusal.value)
