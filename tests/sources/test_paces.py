from __future__ import annotations

import asyncio
import gc

import pytest

from poller.sources.paces import Paces

pytestmark = pytest.mark.looptime(start=0)

STREAM = "arn:aws:kinesis:us-east-1:123456789012:stream/orders"


async def turns(paces: Paces, shard: str, count: int) -> list[float]:
    """When each of `count` turns came, asked for one after the other."""
    pace = paces.of(STREAM, shard)
    moments = []
    for _ in range(count):
        await pace.turn()
        moments.append(round(asyncio.get_running_loop().time(), 6))
    return moments


async def test_turns_are_apart_and_the_first_is_at_once() -> None:
    assert await turns(Paces(0.2), "a", 4) == [0.0, 0.2, 0.4, 0.6]


async def test_two_readers_of_one_shard_share_its_pace_and_other_shards_do_not() -> None:
    paces = Paces(0.2)

    first, second, other = await asyncio.gather(
        turns(paces, "a", 3), turns(paces, "a", 3), turns(paces, "b", 3)
    )

    assert sorted(first + second) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert other == [0.0, 0.2, 0.4]


async def test_no_turn_begins_while_a_shard_rests() -> None:
    pace = Paces(0.2).of(STREAM, "a")
    await pace.turn()
    pace.rest(5.0)
    pace.rest(1.0)

    await pace.turn()

    assert asyncio.get_running_loop().time() == 5.0


async def test_a_turn_after_a_pause_waits_for_nothing() -> None:
    pace = Paces(0.2).of(STREAM, "a")
    await pace.turn()
    await asyncio.sleep(10)

    await pace.turn()

    assert asyncio.get_running_loop().time() == 10.0


async def test_the_pace_of_a_shard_that_nobody_reads_is_forgotten() -> None:
    paces = Paces(0.2)
    pace = paces.of(STREAM, "a")

    assert paces.of(STREAM, "a") is pace

    del pace
    gc.collect()
    assert len(paces._held) == 0
