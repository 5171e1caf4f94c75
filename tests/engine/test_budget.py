"""The bound on unsettled bytes of the whole process."""

from __future__ import annotations

import asyncio

import pytest

from poller.engine.budget import ByteBudget

pytestmark = pytest.mark.looptime


async def read(budget: ByteBudget, owner: str, size: int, done: list[str]) -> None:
    async with budget.room(owner, size):
        budget.holds(owner, size)
        done.append(owner)
        await asyncio.sleep(1)


async def test_readers_wait_until_there_is_room():
    budget, done = ByteBudget(100), []
    budget.holds("full", 100)
    budget.holds("a", 1)
    waiting = asyncio.create_task(read(budget, "a", 50, done))
    await asyncio.sleep(5)
    assert done == []
    budget.holds("full", 0)
    await waiting
    assert done == ["a"]


async def test_a_reader_with_nothing_is_never_starved_but_goes_alone():
    budget, done = ByteBudget(100), []
    budget.holds("stuck", 100)
    first = asyncio.create_task(read(budget, "a", 50, done))
    second = asyncio.create_task(read(budget, "b", 50, done))
    await asyncio.sleep(0.5)
    assert done == ["a"]
    await asyncio.gather(first, second)
    assert done == ["a", "b"]


async def test_a_reader_whose_records_settle_while_it_waits_is_not_starved():
    budget, done = ByteBudget(100), []
    budget.holds("stuck", 100)
    budget.holds("a", 10)
    waiting = asyncio.create_task(read(budget, "a", 10, done))
    await asyncio.sleep(1)
    assert done == []
    budget.holds("a", 0)
    await waiting
    assert done == ["a"]


async def test_reads_under_way_are_counted_as_far_as_they_are_expected():
    budget, entered = ByteBudget(100), []

    async def slow(owner: str) -> None:
        budget.holds(owner, 1)
        async with budget.room(owner, 30):
            entered.append(owner)
            await asyncio.sleep(10)

    tasks = [asyncio.create_task(slow(owner)) for owner in "abcdefgh"]
    await asyncio.sleep(1)
    assert len(entered) == 4
    await asyncio.gather(*tasks)
    assert len(entered) == 8


async def test_a_cancelled_reader_leaves_its_place_to_others():
    budget, done = ByteBudget(100), []
    budget.holds("full", 100)
    for owner in "ab":
        budget.holds(owner, 1)
    first = asyncio.create_task(read(budget, "a", 1, done))
    second = asyncio.create_task(read(budget, "b", 1, done))
    await asyncio.sleep(0.1)
    first.cancel()
    await asyncio.sleep(0.1)
    budget.holds("full", 0)
    await second
    assert done == ["b"]
