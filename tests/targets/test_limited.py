"""Limits of concurrency: a second of patience, then a throttle with AWS's reason."""

from __future__ import annotations

import asyncio

import pytest

from poller.interfaces import Invocation, NotReached, Ran, Reply
from poller.targets.limited import OWN_REASON, PATIENCE, TOTAL_REASON, Limited, Slots

INVOCATION = Invocation(b"{}", "id", "arn", "trace")

pytestmark = pytest.mark.looptime


class Gate:
    """A function that runs until it is `opened`."""

    def __init__(self) -> None:
        self.running = 0
        self.most = 0
        self.opened = asyncio.Event()

    async def invoke(self, invocation: Invocation) -> Reply:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.opened.wait()
        finally:
            self.running -= 1
        return Ran(b"ok")


def own(limit: int | None) -> Slots:
    return Slots(limit, whose="function f is", reason=OWN_REASON)


def total(limit: int | None) -> Slots:
    return Slots(limit, whose="functions are", reason=TOTAL_REASON)


async def test_over_its_limit_a_function_is_waited_for_and_then_throttled() -> None:
    gate, loop = Gate(), asyncio.get_running_loop()
    function = Limited(gate, own=own(2), total=total(None))
    running = [asyncio.ensure_future(function.invoke(INVOCATION)) for _ in range(2)]
    await asyncio.sleep(0)
    began = loop.time()
    late = await function.invoke(INVOCATION)
    waited = loop.time() - began
    waiting = [asyncio.ensure_future(function.invoke(INVOCATION)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    gate.opened.set()
    replies = await asyncio.gather(*running, waiting[0], waiting[2])

    assert late == NotReached("function f is running 2 times already", True, None, OWN_REASON)
    assert waited == PATIENCE
    assert replies == [Ran(b"ok")] * 4
    assert (gate.most, gate.running) == (2, 0)


async def test_over_the_total_every_function_is_throttled_with_the_reason_of_the_account() -> None:
    gate, everything = Gate(), total(1)
    first = Limited(gate, own=own(None), total=everything)
    second = Limited(gate, own=own(1), total=everything)
    running = asyncio.ensure_future(first.invoke(INVOCATION))
    await asyncio.sleep(0)
    late = await second.invoke(INVOCATION)
    gate.opened.set()

    assert late == NotReached("functions are running 1 times already", True, None, TOTAL_REASON)
    assert await running == await second.invoke(INVOCATION) == Ran(b"ok")


async def test_a_limit_that_is_raised_lets_at_once_in_who_waits() -> None:
    gate, slots = Gate(), total(1)
    function = Limited(gate, own=own(None), total=slots)
    running = [asyncio.ensure_future(function.invoke(INVOCATION)) for _ in range(2)]
    await asyncio.sleep(0)
    before = gate.running
    slots.change(None)
    await asyncio.sleep(0)
    after = gate.running
    gate.opened.set()

    assert (before, after) == (1, 2)
    assert await asyncio.gather(*running) == [Ran(b"ok")] * 2
    assert slots.busy == 0
