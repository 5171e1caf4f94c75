"""Real runtimes attached to a function: AWS's client for Python, and bootstraps in Node and C."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

import pytest

from poller.interfaces import Errored, Ran
from poller.targets.attached_runtimes import Addresses, AttachedRuntimes
from tests.functions import Answer, errored, function
from tests.programs import free_port
from tests.runtimes import starting
from tests.runtimes.starting import LANGUAGES, Command, started
from tests.targets.runtimes import ARN, invocation

TIMEOUT = 20.0
EVENT = b'{"Records": [{"body": "\\u00fc \\u2028"}], "n": 1.5}'


def runtimes(timeout: float = TIMEOUT) -> tuple[AttachedRuntimes, str]:
    """A function, and the address where its runtimes attach."""
    port = free_port()
    addresses = Addresses(time.time)
    attached = AttachedRuntimes(
        "orders", addresses, host="127.0.0.1", port=port, allow=(), timeout=timeout
    )
    return attached, f"127.0.0.1:{port}"


async def ready(attached: AttachedRuntimes) -> None:
    """Return once a runtime has attached and answered."""

    async def answered() -> bool:
        return isinstance(await attached.invoke(invocation()), Ran)

    async with asyncio.timeout(TIMEOUT):
        while not await answered():
            pass


@pytest.mark.parametrize("language", LANGUAGES)
async def test_events_and_responses_go_through_a_runtime_of(
    language: Callable[[], Command],
) -> None:
    what = invocation(EVENT)
    attached, address = runtimes()
    with function() as stub, started(language(), address, FORWARD_TO=stub.url):
        async with attached:
            await ready(attached)
            stub.answers = lambda _call: Answer({"batchItemFailures": []})
            ran = await attached.invoke(what)
            seen = stub.calls[-1]
            stub.answers = lambda _call: errored("OrderRefused", "no")
            failed = await attached.invoke(invocation())
            stub.answers = lambda _call: Answer({"after": True})
            after = await attached.invoke(invocation())

    assert isinstance(ran, Ran)
    assert json.loads(ran.body) == {"batchItemFailures": []}
    assert seen.event == json.loads(EVENT)
    assert isinstance(failed, Errored)
    assert b"OrderRefused" in failed.payload
    assert isinstance(after, Ran)
    assert json.loads(after.body) == {"after": True}


@pytest.mark.proves("S12.2.clients")
async def test_the_context_of_the_official_client_is_that_of_lambda() -> None:
    client = {"custom": {"a": "ü"}, "env": {"b": "c"}, "client": {"app_title": "shop"}}
    encoded = base64.b64encode(json.dumps(client, ensure_ascii=False).encode()).decode()
    what = invocation(b"{}")
    attached, address = runtimes()
    with function() as stub, started(starting.python(), address, FORWARD_TO=stub.url):
        async with attached:
            await ready(attached)
            plain = await attached.invoke(what)
            other = invocation(b"{}")
            await attached.invoke(replace(other, client_context=encoded))

    contexts = [json.loads(call.headers["X-Context"]) for call in stub.calls[-2:]]
    remaining = [context.pop("remaining") for context in contexts]
    expected = {
        "function_name": "orders",
        "function_version": "$LATEST",
        "memory_limit_in_mb": "128",
        "log_group_name": "/aws/lambda/orders",
        "log_stream_name": "stream",
        "aws_request_id": what.request_id,
        "invoked_function_arn": ARN,
        "trace_id": what.trace_id,
        "identity": [None, None],
        "client_context": None,
    }
    given = {"custom": {"a": "ü"}, "env": {"b": "c"}, "app_title": "shop"}
    assert isinstance(plain, Ran)
    assert contexts[0] == expected
    assert contexts[1] == expected | {"aws_request_id": other.request_id, "client_context": given}
    assert all(0 < each <= TIMEOUT * 1000 for each in remaining)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("earlier", [0, 1])
@pytest.mark.proves("S12.2.exit")
async def test_a_runtime_that_is_killed_in_the_middle_is_known_long_before_the_timeout(
    language: Callable[[], Command], earlier: int
) -> None:
    attached, address = runtimes(timeout=900.0)
    with function() as stub, started(language(), address, FORWARD_TO=stub.url) as process:
        async with attached:
            if earlier:
                await ready(attached)
            stub.answers = lambda _call: Answer(delay=600.0)
            before = len(stub.calls)
            async with asyncio.timeout(TIMEOUT):
                reply = await killed_when(attached, process.pid, lambda: len(stub.calls) > before)

    assert isinstance(reply, Errored)
    assert reply.error_type == "Runtime.ExitError"


async def killed_when(attached: AttachedRuntimes, pid: int, running: Callable[[], bool]) -> object:
    """What an invocation comes to whose runtime is killed while it runs it."""
    task = asyncio.create_task(attached.invoke(invocation()))
    while not running():
        await asyncio.sleep(0.01)
        if task.done():  # no runtime asked
            task = asyncio.create_task(attached.invoke(invocation()))
    os.kill(pid, signal.SIGKILL)
    return await task


@pytest.mark.proves("S12.2.many")
async def test_ten_runtimes_run_ten_invocations_at_one_time() -> None:
    attached, address = runtimes()
    with function() as stub, ExitStack() as processes:
        async with attached:
            for _ in range(10):
                processes.enter_context(started(starting.compiled(), address, FORWARD_TO=stub.url))
            stub.answers = lambda _call: Answer({}, delay=0.05)
            async with asyncio.timeout(TIMEOUT):
                while stub.running_max < 10:
                    await asyncio.gather(*(attached.invoke(invocation()) for _ in range(20)))

    assert stub.running_max == 10


async def test_a_concurrent_runtime_is_given_several_invocations() -> None:
    attached, address = runtimes()
    environment = {"AWS_LAMBDA_MAX_CONCURRENCY": "4"}
    with (
        function() as stub,
        started(starting.python(), address, FORWARD_TO=stub.url, **environment),
    ):
        async with attached:
            stub.answers = lambda _call: Answer({}, delay=0.05)
            async with asyncio.timeout(TIMEOUT):
                while stub.running_max < 4:
                    await asyncio.gather(*(attached.invoke(invocation()) for _ in range(8)))

    assert stub.running_max == 4
