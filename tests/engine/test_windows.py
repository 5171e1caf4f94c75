"""Tumbling windows through the whole engine, in virtual time: a function that keeps a list."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from poller.interfaces import Errored, Ran, Reply
from poller.sources.memory import MemoryStream
from poller.stores.memory import MemoryStore
from tests.engine.worlds import STREAM, Call, World, make_world, until

pytestmark = pytest.mark.looptime


class Lists:
    """Answers with the bodies that the state has seen, and keeps what final invocations had."""

    def __init__(self) -> None:
        self.finals: list[dict[str, Any]] = []

    def __call__(self, call: Call) -> Reply:
        seen = [*call.event["state"].get("seen", []), *call.bodies]
        if call.event["isFinalInvokeForWindow"]:
            self.finals.append(call.event)
        return Ran(json.dumps({"state": {"seen": seen}}).encode())

    @property
    def counted(self) -> Counter[str]:
        return Counter(body for final in self.finals for body in final["state"]["seen"])


def listing(store: MemoryStore | None = None, lists: Lists | None = None) -> tuple[World, Lists]:
    world, lists = make_world(store), lists or Lists()
    world.function.answer = lists
    return world, lists


async def test_windows_count_every_record_once_through_restarts_and_resharding():
    store, lists = MemoryStore(), Lists()
    stream = MemoryStream(now=make_world().shared.clock.now, shards=2)
    bodies = []
    for life in range(4):
        world, _ = listing(store, lists)
        async with world.running(world.stream_spec(stream, tumbling_window=10.0, batch_size=7)):
            for number in range(60):
                bodies.append(f"{life}:{number}")
                stream.put(f"k{number % 20}", bodies[-1])
                if (life, number) == (1, 30):
                    children = stream.split(next(iter(stream.logs)))
                if (life, number) == (2, 30):
                    stream.merge(*children)
                await asyncio.sleep(0.25)
    async with world.running(world.stream_spec(stream, tumbling_window=10.0)) as supervisor:
        await until(lambda: supervisor.idle)
    assert lists.counted == Counter(bodies)
    starts = Counter((final["shardId"], final["window"]["start"]) for final in lists.finals)
    assert set(starts.values()) == {1}


async def test_an_open_window_is_not_idle_until_it_has_ended():
    world, lists = listing()
    stream = MemoryStream(now=world.shared.clock.now)
    stream.put("k", "a")
    async with world.running(world.stream_spec(stream, tumbling_window=60.0)) as supervisor:
        await until(lambda: len(world.function.calls) == 1)
        await asyncio.sleep(20)
        assert not supervisor.idle
        await until(lambda: supervisor.idle)
        assert lists.counted == {"a": 1}


async def test_the_document_of_records_that_are_given_up_has_the_event_of_their_window():
    world, _ = listing()
    stream = MemoryStream(now=world.shared.clock.now)
    world.function.answer = lambda call: Ran(b"{}") if call.records else Ran(b'{"state":{}}')
    stream.put("k", "a")
    spec = world.stream_spec(stream, tumbling_window=60.0, retries_max=1)
    async with world.running(replace(spec, destination_takes_events=True)):
        await until(lambda: bool(world.failures))
    (failure,) = world.failures
    payload = json.loads(failure.payload)
    window = "window state shardId eventSourceARN isFinalInvokeForWindow isWindowTerminatedEarly"
    assert list(payload) == ["Records", *window.split()]
    assert [record["data"] for record in payload["Records"]] == ["a"]
    assert payload["state"] == {}
    assert payload["eventSourceARN"] == STREAM
    context = json.loads(failure.document)["responseContext"]
    assert context == {"statusCode": 200, "executedVersion": "$LATEST", "functionError": None}


async def test_a_mapping_whose_windows_are_turned_off_ends_the_last_one_and_goes_on_without():
    store = MemoryStore()
    world, _ = listing(store)
    stream = MemoryStream(now=world.shared.clock.now)
    stream.put("k", "a")
    async with world.running(world.stream_spec(stream, tumbling_window=600.0)):
        await until(lambda: len(world.function.calls) == 1)
    world = make_world(store)  # a function that knows nothing of states
    stream.put("k", "b")
    async with world.running(world.stream_spec(stream, lanes=3)):
        await until(lambda: "b" in world.function.seen)
    final = next(call.event for call in world.function.calls if not call.records)
    assert final["state"] == {"seen": ["a"]}
    assert (final["isFinalInvokeForWindow"], final["isWindowTerminatedEarly"]) == (True, True)
    assert [list(call.event) for call in world.function.calls if call.records] == [["Records"]]
    (position,) = (await store.positions("uuid-1")).values()
    assert position.window is None


async def test_a_failing_final_invocation_holds_its_shard_up_and_no_other():
    world, lists = listing()
    stream = MemoryStream(now=world.shared.clock.now, shards=2)
    first, _second = stream.logs
    broken = True

    def answer(call: Call) -> Reply:
        is_final = call.event["isFinalInvokeForWindow"]
        if broken and is_final and call.event["shardId"] == first:
            return Errored("E", "no")
        return lists(call)

    world.function.answer = answer
    for number in range(20):
        stream.put(f"k{number}", f"old:{number}")
    spec = world.stream_spec(stream, tumbling_window=5.0, retries_max=0, record_age_max=60.0)
    async with world.running(spec):
        await asyncio.sleep(20)
        for number in range(20):
            stream.put(f"k{number}", f"new:{number}")
        await asyncio.sleep(30)
        held = {record.data for record in stream.logs[first].records if "new" in record.data}
        assert held
        assert held.isdisjoint(world.function.seen)
        assert {f"new:{number}" for number in range(20)} - held <= set(world.function.seen)
        broken = False
        await until(lambda: held <= set(world.function.seen))
    assert not world.failures
