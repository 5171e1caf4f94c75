"""A function behind Lambda's real Runtime Interface Emulator (spec 12.3)."""

from __future__ import annotations

import asyncio
import base64
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from poller.interfaces import Errored, Invocation, NotReached, Ran, Reply
from poller.targets.http_endpoint import HttpEndpoint
from tests.emulators import Emulator, emulator

CODE = """
import os, time

def handler(event, context):
    match event.get("do"):
        case "raise":
            raise KeyError("no such order")
        case "exit":
            os._exit(3)
        case "sleep":
            time.sleep(event["seconds"])
        case "much":
            return "x" * 6_300_000
    told = context.client_context
    return {
        "request_id": context.aws_request_id,
        "told": told and told.custom,
        "pid": os.getpid(),
    }
"""


@pytest.fixture(scope="module")
def running() -> Iterator[Emulator]:
    """One that ends invocations after two seconds."""
    with emulator(CODE, timeout=2) as one:
        yield one


def invocation(event: Any, client_context: str = "") -> Invocation:
    arn = "arn:aws:lambda:us-east-1:000000000000:function:orders"
    body = json.dumps(event).encode()
    return Invocation(
        body, str(uuid.uuid4()), arn, "Root=1-5759e988-bd862e3fe1be46a9", client_context
    )


async def invoked(*emulators: Emulator, events: list[Any], timeout: float = 10.0) -> list[Reply]:
    """The replies to events that come at the same time."""
    urls = [each.url for each in emulators]
    async with HttpEndpoint(urls, timeout=timeout, headers={}, now=time.time) as function:
        return await asyncio.gather(*(function.invoke(invocation(event)) for event in events))


async def test_a_function_runs_with_its_request_id_and_its_clients_context(
    running: Emulator,
) -> None:
    context = base64.b64encode(b'{"custom":{"a":"b"}}').decode()
    sent = invocation({}, context)

    async with HttpEndpoint([running.url], timeout=10.0, headers={}, now=time.time) as function:
        reply = await function.invoke(sent)

    assert isinstance(reply, Ran)
    told = json.loads(reply.body)
    assert (told["request_id"], told["told"]) == (sent.request_id, {"a": "b"})


@pytest.mark.proves("S12.3.emulator")
async def test_an_error_of_the_function_is_one(running: Emulator) -> None:
    [reply] = await invoked(running, events=[{"do": "raise"}])

    assert isinstance(reply, Errored)
    assert (reply.error_type, reply.message) == ("KeyError", "'no such order'")
    assert json.loads(reply.payload)["stackTrace"]


async def test_a_runtime_that_dies_is_an_error_and_the_next_invocation_has_another(
    running: Emulator,
) -> None:
    [died] = await invoked(running, events=[{"do": "exit"}])
    [after] = await invoked(running, events=[{}])

    assert isinstance(died, Errored)
    assert died.error_type == "Runtime.ExitError"
    assert "exit status 3" in died.message
    assert isinstance(after, Ran)


async def test_a_response_that_is_too_large_is_an_error(running: Emulator) -> None:
    [reply] = await invoked(running, events=[{"do": "much"}])

    assert isinstance(reply, Errored)
    assert reply.error_type == "Function.ResponseSizeTooLarge"


@pytest.mark.proves("S12.3.emulator")
async def test_its_own_timeout_is_the_functions(running: Emulator) -> None:
    [late] = await invoked(running, events=[{"do": "sleep", "seconds": 60}])
    [after] = await invoked(running, events=[{}])

    assert late == Errored("Sandbox.Timedout", "Task timed out after 2.00 seconds")
    assert isinstance(after, Ran)


async def test_after_a_timeout_of_ours_it_is_left_alone_until_it_has_ended(
    running: Emulator,
) -> None:
    """A second invocation beside the first would be the end of it."""
    async with HttpEndpoint([running.url], timeout=0.3, headers={}, now=time.time) as function:
        late = await function.invoke(invocation({"do": "sleep", "seconds": 60}))
        busy = await function.invoke(invocation({}))
        replies = [busy]
        while isinstance(replies[-1], NotReached):
            replies.append(await function.invoke(invocation({})))

    assert late == Errored("Sandbox.Timedout", "Task timed out after 0.30 seconds")
    assert isinstance(busy, NotReached)
    assert "AWS_LAMBDA_FUNCTION_TIMEOUT=1" in busy.why
    assert isinstance(replies[-1], Ran)
    assert running.process.poll() is None


@pytest.mark.proves("S12.3.one")
async def test_a_pool_runs_one_invocation_at_a_time_for_each_address(running: Emulator) -> None:
    with emulator(CODE, timeout=5) as other:
        event = {"do": "sleep", "seconds": 0.2}
        replies = await invoked(running, other, events=[event] * 6)

    told = [json.loads(reply.body) for reply in replies if isinstance(reply, Ran)]
    assert len(told) == 6  # two at one time would have ended one of them
    assert len({each["pid"] for each in told}) == 2


@pytest.mark.parametrize(
    ("code", "error_type", "message"),
    [
        ("import nothing_like_it", "Runtime.ImportModuleError", "No module named"),
        ("import os; os._exit(4)", "Runtime.ExitError", "exited before it was ready"),
    ],
)
async def test_a_runtime_that_cannot_start_is_an_error_each_time(
    code: str, error_type: str, message: str
) -> None:
    with emulator(code, timeout=5) as broken:
        replies = [(await invoked(broken, events=[{}]))[0] for _ in range(2)]

    for reply in replies:
        assert isinstance(reply, Errored)
        assert reply.error_type == error_type
        assert message in reply.message


async def test_one_that_is_gone_was_not_reached() -> None:
    with emulator(CODE, timeout=5) as gone:
        pass
    [reply] = await invoked(gone, events=[{}])

    assert isinstance(reply, NotReached)
