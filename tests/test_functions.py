"""The function stub notes what it gets and answers what it is told."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.request

import aiohttp
import pytest

from tests.functions import Answer, Call, errored, failed_items, function

EVENT = json.dumps({"Records": [{"id": 1}, {"id": 2}]}).encode()


def test_a_sync_test_sees_calls_with_event_headers_and_times() -> None:
    with function(lambda _call: failed_items("7")) as stub:
        request = urllib.request.Request(stub.url, data=EVENT, headers={"X-Amzn-RequestId": "abc"})
        with urllib.request.urlopen(request) as reply:
            body = json.load(reply)
        [call] = stub.calls

    assert body == {"batchItemFailures": [{"itemIdentifier": "7"}]}
    assert call.event == {"Records": [{"id": 1}, {"id": 2}]}
    assert call.headers["x-amzn-requestid"] == "abc"
    assert call.ended is not None
    assert call.started <= call.ended
    assert stub.records == stub.succeeded == [{"id": 1}, {"id": 2}]


async def test_answers_follow_the_script_call_by_call() -> None:
    script = [Answer(status=503, headers={"Retry-After": "2"}), errored("Boom"), Answer()]
    seen = []

    with function(lambda call: script[call.number]) as stub:
        async with aiohttp.ClientSession() as session:
            for _ in script:
                async with session.post(stub.url, data=EVENT) as reply:
                    failed = reply.headers.get("X-Amz-Function-Error")
                    seen.append((reply.status, reply.headers.get("Retry-After"), failed))

        assert seen == [(503, "2", None), (200, None, "Unhandled"), (200, None, None)]
        assert len(stub.records) == 6
        assert len(stub.succeeded) == 2


@pytest.mark.parametrize(
    ("body", "error"),
    [(b"", aiohttp.ServerDisconnectedError), (b"half", aiohttp.ClientPayloadError)],
)
async def test_a_cut_connection_ends_before_or_in_the_middle_of_the_body(
    body: bytes, error: type[Exception]
) -> None:
    with function(lambda _call: Answer(body, cut=True)) as stub:
        async with aiohttp.ClientSession() as session:
            with pytest.raises(error):
                async with session.post(stub.url, data=EVENT) as reply:
                    await reply.read()

        assert stub.succeeded == []


async def test_a_held_call_runs_until_it_is_let_go() -> None:
    let_go = threading.Event()

    def hold_first(call: Call) -> Answer:
        return Answer(after=let_go if call.number == 0 else None)

    with function(hold_first) as stub:
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
            tasks.create_task(_post(session, stub.url))
            await stub.until(lambda: len(stub.calls) == 1)
            await _post(session, stub.url)
            held, free = stub.calls
            assert (held.ended, free.ended is None) == (None, False)
            let_go.set()

        assert stub.running_max == 2


async def test_a_function_that_is_down_refuses_and_comes_back_on_its_port() -> None:
    with function() as stub:
        await asyncio.to_thread(stub.down)
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectorError):
                await _post(session, stub.url)
            await asyncio.to_thread(stub.up)
            assert await _post(session, stub.url) == 200


async def _post(session: aiohttp.ClientSession, url: str) -> int:
    async with session.post(url, data=EVENT) as reply:
        return reply.status
