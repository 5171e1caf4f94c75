"""The faults that tests inject arrive at the client as what they are called."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import aiohttp
import pytest

from tests.faults import (
    Close,
    Cut,
    Delay,
    Fault,
    Proxy,
    Reset,
    Rewrite,
    Slow,
    faulty,
    refused,
    throttled,
)
from tests.functions import Answer, Function, function

HEADERS = {"X-Amz-Target": "Kinesis_20131202.GetRecords"}


@pytest.fixture
def behind() -> Iterator[Function]:
    with function(lambda call: Answer({"call": call.number, "text": "x" * 100})) as stub:
        yield stub


@pytest.fixture
def proxy(behind: Function) -> Iterator[Proxy]:
    with faulty(behind.url.rstrip("/")) as proxy:
        yield proxy


async def call(proxy: Proxy, target: str = "Kinesis_20131202.GetRecords") -> tuple[int, str]:
    """The status and the start of the body, or 0 and the error."""
    async with aiohttp.ClientSession() as session:
        try:
            async with session.post(proxy.url, data=b"{}", headers={"X-Amz-Target": target}) as got:
                return got.status, (await got.text())[:40]
        except aiohttp.ClientError as error:
            return 0, type(error).__name__


async def test_a_call_that_no_rule_names_passes_unchanged(proxy: Proxy, behind: Function) -> None:
    proxy.inject(throttled(), on="PutRecords", times=None)

    assert await call(proxy) == (200, '{"call": 0, "text": "xxxxxxxxxxxxxxxxxxx')
    assert behind.calls[0].headers["x-amz-target"] == "Kinesis_20131202.GetRecords"
    assert [seen.operation for seen in proxy.calls] == ["GetRecords"]


@pytest.mark.parametrize(
    ("fault", "answer", "reaches"),
    [
        (throttled(), (400, '{"__type": "ProvisionedThroughputExceede'), 0),
        (throttled(status=429), (429, '{"__type": "ProvisionedThroughputExceede'), 0),
        (refused("ExpiredIteratorException"), (400, '{"__type": "ExpiredIterator'), 0),
        (Reset(), (0, "Client"), 0),
        (Reset(forwarded=True), (0, "Client"), 1),
        (Close(), (0, "ServerDisconnectedError"), 0),
        (Cut(10), (0, "ClientPayloadError"), 1),
        (Slow(4, 0.001), (200, '{"call": 0'), 1),
        (Delay(0.001), (200, '{"call": 0'), 1),
        (Rewrite(lambda reply: {"was": reply["call"]}), (200, '{"was": 0}'), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Fault) else "",
)
async def test_a_fault_hits_as_many_calls_as_it_says(
    fault: Fault, answer: tuple[int, str], reaches: int, proxy: Proxy, behind: Function
) -> None:
    proxy.inject(fault, on="GetRecords")

    status, text = await call(proxy)

    assert (status, text[: len(answer[1])], len(behind.calls)) == (*answer, reaches)
    assert (await call(proxy))[0] == 200


async def test_skipped_calls_pass_and_rules_take_turns(proxy: Proxy) -> None:
    proxy.inject(throttled(), on="GetRecords", skip=1, times=2)
    proxy.script(lambda seen: refused("Last") if len(proxy.calls) > 4 else None)

    assert [(await call(proxy))[0] for _ in range(5)] == [200, 400, 400, 200, 400]

    proxy.heal()
    assert (await call(proxy))[0] == 200
    assert proxy.count("GetRecords") == 6


async def test_a_proxy_that_is_down_refuses_and_comes_back_on_its_port(proxy: Proxy) -> None:
    url = proxy.url
    await asyncio.to_thread(proxy.down)
    assert (await call(proxy))[1] == "ClientConnectorError"

    await asyncio.to_thread(proxy.up)
    assert (await call(proxy))[0] == 200
    assert proxy.url == url
