"""When failing starts are tried again, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from poller.interfaces import Errored, NotReached
from poller.targets.start_gate import StartGate


@pytest.mark.looptime
async def test_starts_that_fail_come_ever_later_up_to_a_bound() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    tried: list[float] = []

    async def start() -> Errored:
        tried.append(round(loop.time() - began, 3))
        return Errored("E", "no")

    gate = StartGate[str]("orders", start)
    for _ in range(7):
        assert await gate.start() == Errored("E", "no")

    assert tried == [0.0, 0.5, 1.5, 3.5, 7.5, 12.5, 17.5]


@pytest.mark.looptime
async def test_a_start_that_works_ends_the_back_off_for_all_who_wait() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    outcomes: list[str | NotReached] = [NotReached("no"), "1", "2", "3"]

    async def start() -> str | NotReached:
        await asyncio.sleep(1.0)
        return outcomes.pop(0)

    gate = StartGate[str]("orders", start)
    assert await gate.start() == NotReached("no")
    started = await asyncio.gather(gate.start(), gate.start(), gate.start())

    assert sorted(map(str, started)) == ["1", "2", "3"]
    assert loop.time() - began == pytest.approx(1.0 + 0.5 + 1.0 + 1.0)


@pytest.mark.looptime
async def test_starts_that_fail_side_by_side_back_off_once() -> None:
    loop = asyncio.get_running_loop()

    async def start() -> NotReached:
        await asyncio.sleep(1.0)
        return NotReached("no")

    gate = StartGate[str]("orders", start)
    await asyncio.gather(*(gate.start() for _ in range(5)))
    before = loop.time()
    await gate.start()

    assert loop.time() - before == pytest.approx(0.5 + 1.0)


@pytest.mark.looptime
async def test_what_is_forgotten_is_tried_at_once_and_told_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    outcomes: list[str | NotReached] = [NotReached("no"), NotReached("no"), NotReached("no"), "1"]

    async def start() -> str | NotReached:
        return outcomes.pop(0)

    gate = StartGate[str]("orders", start)
    await gate.start()
    await gate.start()
    waiting = asyncio.create_task(gate.start())
    await asyncio.sleep(0.1)
    gate.forget()
    await waiting
    gate.forget()
    assert await gate.start() == "1"

    assert loop.time() - began == pytest.approx(0.5 + 0.1)
    assert caplog.messages == ["no", "no"]
