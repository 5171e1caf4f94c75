"""What every state store promises, over each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poller.core.model import LaneMarks, Position
from poller.interfaces import Failure, Store, StoredMapping
from poller.stores.memory import MemoryStore
from poller.stores.sqlite import open_sqlite
from poller.wire.invocation_records import Notice

Open = Callable[[Path], AbstractAsyncContextManager[Store]]

MAPPING = StoredMapping(
    uuid="3f1b0f9e-0000-5000-8000-000000000001",
    source_arn="arn:aws:kinesis:us-east-1:123456789012:stream/orders",
    function_arn="arn:aws:lambda:us-east-1:123456789012:function:orders",
    origin="file",
    request={"BatchSize": 100, "FilterCriteria": {"Filters": [{"Pattern": '{"é":["x"]}'}]}},
    created_at=1_700_000_000.25,
    modified_at=1_700_000_001.5,
    result="OK",
)
FAILURE = Failure(
    mapping=MAPPING.uuid,
    function=MAPPING.function_arn,
    shard="shardId-000000000000",
    destination="arn:aws:sqs:us-east-1:123456789012:failed",
    document='{"version":"1.0"}',
    payload='{"Records":["ünï\u2028\x00"]}',
    key="aws/lambda/x",
    records=3,
)
NOTICE = Notice("request", "arn", False, "Root=1", True, (("RequestID", "String", "é"),))
FULL = Position("3", 1_700_000_000.5, (LaneMarks(2, ("5", None)), LaneMarks(1, ("4",))), True)


@asynccontextmanager
async def memory(_path: Path) -> AsyncIterator[Store]:
    yield MemoryStore()


STORES: dict[str, Open] = {"memory": memory, "sqlite": open_sqlite}


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with STORES[request.param](tmp_path / "state.db") as opened:
        yield opened


async def test_a_new_store_is_empty(store: Store) -> None:
    assert await store.positions("m") == {}
    assert list(await store.mappings()) == []
    assert list(await store.kept(10)) == []
    assert await store.count_kept() == 0


async def test_positions_come_back_whole(store: Store) -> None:
    await store.save("m", "a", FULL)
    await store.save("m", "b", Position())
    await store.save("other", "a", Position("7"))

    assert await store.positions("m") == {"a": FULL, "b": Position()}
    assert await store.positions("other") == {"a": Position("7")}


async def test_the_newest_of_two_saves_at_once_wins(store: Store) -> None:
    await asyncio.gather(store.save("m", "a", Position("1")), store.save("m", "a", Position("2")))

    assert await store.positions("m") == {"a": Position("2")}


async def test_forgetting_concerns_the_named_shards_of_one_mapping(store: Store) -> None:
    for mapping, shard in [("m", "a"), ("m", "b"), ("m", "c"), ("other", "a")]:
        await store.save(mapping, shard, Position("1"))

    await store.forget("m", ["a", "c", "unknown"])
    await store.forget("m", [])

    assert set(await store.positions("m")) == {"b"}
    assert set(await store.positions("other")) == {"a"}


async def test_a_mapping_is_put_together_with_its_pins(store: Store) -> None:
    await store.put(MAPPING, {"a": Position("1"), "b": Position(ended=True)})

    assert list(await store.mappings()) == [MAPPING]
    assert await store.positions(MAPPING.uuid) == {"a": Position("1"), "b": Position(ended=True)}


async def test_putting_a_mapping_again_replaces_it_and_keeps_its_positions(store: Store) -> None:
    await store.put(MAPPING, {"a": Position("1")})
    changed = replace(MAPPING, request={"BatchSize": 5}, modified_at=9.0, origin="api")

    await store.put(changed, {"b": Position("2")})

    assert list(await store.mappings()) == [changed]
    assert await store.positions(MAPPING.uuid) == {"a": Position("1"), "b": Position("2")}


async def test_what_is_pinned_stays_pinned_until_the_mapping_is_removed(store: Store) -> None:
    await store.put(MAPPING)
    assert not await store.pinned(MAPPING.uuid)

    await store.pin(MAPPING.uuid, {"a": Position("1")})
    await store.put(replace(MAPPING, origin="api"))
    assert await store.pinned(MAPPING.uuid)
    assert await store.positions(MAPPING.uuid) == {"a": Position("1")}

    await store.remove(MAPPING.uuid)
    await store.put(MAPPING)
    assert not await store.pinned(MAPPING.uuid)


async def test_putting_a_mapping_with_pins_pins_it_even_where_there_is_no_shard(
    store: Store,
) -> None:
    await store.put(MAPPING, {})

    assert await store.pinned(MAPPING.uuid)


async def test_results_are_noted_of_the_mappings_that_are_there(store: Store) -> None:
    await store.put(MAPPING)

    await store.note_results({MAPPING.uuid: "PROBLEM: Function call failed", "unknown": "OK"})

    assert list(await store.mappings()) == [
        replace(MAPPING, result="PROBLEM: Function call failed")
    ]


async def test_mappings_come_oldest_first(store: Store) -> None:
    for uuid, created_at in [("b", 2.0), ("c", 1.0), ("a", 2.0)]:
        await store.put(replace(MAPPING, uuid=uuid, created_at=created_at), {})

    assert [mapping.uuid for mapping in await store.mappings()] == ["c", "a", "b"]


async def test_what_a_caller_does_to_a_request_later_is_not_stored(store: Store) -> None:
    request = {"Tags": {"a": "1"}}
    await store.put(replace(MAPPING, request=request), {})
    request["Tags"]["a"] = "2"

    (found,) = await store.mappings()
    assert found.request == {"Tags": {"a": "1"}}


async def test_removing_a_mapping_takes_its_positions_and_leaves_its_failures(store: Store) -> None:
    await store.put(MAPPING, {"a": Position("1")})
    await store.save("other", "a", Position("1"))
    await store.keep(FAILURE)

    await store.remove(MAPPING.uuid)
    await store.remove("unknown")

    assert list(await store.mappings()) == []
    assert await store.positions(MAPPING.uuid) == {}
    assert set(await store.positions("other")) == {"a"}
    assert await store.count_kept() == 1


async def test_kept_failures_can_be_gone_through_in_parts(store: Store) -> None:
    for number in range(5):
        await store.keep(replace(FAILURE, key=f"key-{number}"))
    keys, after = [], 0
    while part := await store.kept(2, after=after):
        keys += [failure.key for _, failure in part]
        after = part[-1][0]
    assert keys == [f"key-{number}" for number in range(5)]


async def test_kept_failures_come_oldest_first_and_whole(store: Store) -> None:
    failures = [replace(FAILURE, key=str(number)) for number in range(4)]
    failures.append(replace(FAILURE, mapping="", shard="", notice=NOTICE))
    for failure in failures:
        await store.keep(failure)

    assert [failure for _, failure in await store.kept(3)] == failures[:3]
    assert [failure for _, failure in await store.kept(10)] == failures
    assert await store.count_kept() == 5


async def test_an_id_that_was_dropped_never_names_another_failure(store: Store) -> None:
    await store.keep(FAILURE)
    ((first, _),) = await store.kept(1)
    await store.drop([first])
    await store.keep(replace(FAILURE, key="second"))

    await store.drop([first, 999])

    assert [failure.key for _, failure in await store.kept(10)] == ["second"]


sequences = st.integers(0, 2**190).map(str)
positions = st.builds(
    Position,
    sequence=st.none() | sequences,
    since=st.none() | st.floats(0, 4e9),
    ended=st.booleans(),
)
mapping_names = st.sampled_from(["m", "n"])
shard_names = st.sampled_from(["a", "b", "c", "d"])
saves = st.tuples(st.just("save"), mapping_names, shard_names, positions)
forgets = st.tuples(st.just("forget"), mapping_names, st.sets(shard_names))
removes = st.tuples(st.just("remove"), mapping_names)
puts = st.tuples(st.just("put"), mapping_names, st.dictionaries(shard_names, positions))
Turn = list[tuple[object, ...]]
turns = st.lists(st.lists(saves | forgets | removes | puts, max_size=6))

Model = dict[str, dict[str, Position]]


def expect(model: Model, operation: tuple) -> None:
    match operation:
        case "save", mapping, shard, position:
            model.setdefault(mapping, {})[shard] = position
        case "forget", mapping, shards:
            for shard in shards:
                model.get(mapping, {}).pop(shard, None)
        case "remove", mapping:
            model.pop(mapping, None)
        case "put", mapping, pins:
            model.setdefault(mapping, {}).update(pins)


async def perform(store: Store, operation: tuple) -> None:
    match operation:
        case "save", mapping, shard, position:
            await store.save(mapping, shard, position)
        case "forget", mapping, shards:
            await store.forget(mapping, shards)
        case "remove", mapping:
            await store.remove(mapping)
        case "put", mapping, pins:
            await store.put(replace(MAPPING, uuid=mapping), pins)


async def agree(open_store: Open, path: Path, script: list[list[tuple]], reopens: bool) -> None:
    """Run `script`, each turn's operations at once; an empty turn is a restart."""
    model: Model = {}
    remaining = list(script)
    while True:
        async with open_store(path) as store:
            assert await everything(store) == {m: p for m, p in model.items() if p}
            while remaining:
                turn = remaining.pop(0)
                if not turn and reopens:
                    break
                for operation in turn:
                    expect(model, operation)
                await asyncio.gather(*(perform(store, operation) for operation in turn))
                assert await everything(store) == {m: p for m, p in model.items() if p}
            else:
                return


async def everything(store: Store) -> Model:
    found = {mapping: await store.positions(mapping) for mapping in ("m", "n")}
    return {mapping: positions for mapping, positions in found.items() if positions}


@pytest.mark.parametrize("name", STORES)
@settings(max_examples=40, deadline=None)
@given(script=turns)
def test_a_store_agrees_with_a_dictionary_across_restarts(name: str, script: list[Turn]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "state.db"
        asyncio.run(agree(STORES[name], path, script, reopens=name != "memory"))
