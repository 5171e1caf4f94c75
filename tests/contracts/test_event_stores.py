"""What every store promises of the queue of asynchronous invocations, over each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poller.core.event_steps import (
    EventResult,
    QueuedEvent,
)
from poller.event_queue import AcceptedEvent, Backlog, StoredEvent, Told
from poller.interfaces import Store
from poller.wire.invocation_records import EventResponse
from tests.contracts.test_stores import STORES, Open

ARN = "arn:aws:lambda:us-east-1:123456789012:function:orders"
EVENT = AcceptedEvent("orders", ARN, b'{"\xc3\xa9":"\xe2\x80\xa8"}', "request", "Root=1", "e30=")
RESPONSE = EventResponse(200, "7", "Unhandled", "no \x00", b'{"errorMessage":"\xff"}')
TOLD = Told(1_700_000_009.5, "arn:aws:s3:::failed", None)


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with STORES[request.param](tmp_path / "state.db") as opened:
        yield opened


async def due(store: Store, function: str = "orders", **more: Any) -> list[QueuedEvent]:
    asked = {"limit": 100, "by": float("inf"), "held": (), **more}
    events, _ = await store.due_events(function, **asked)
    return list(events)


async def test_a_new_store_has_no_events(store: Store) -> None:
    assert await store.due_events("orders", 1, by=9.0, held=()) == ([], None)
    assert await store.backlogs() == {}
    assert await store.event(1) is None


async def test_an_event_comes_back_whole(store: Store) -> None:
    await store.add_event(EVENT, 1_700_000_000.25)

    (state,) = await due(store)
    assert state == QueuedEvent(
        state.id, "request", len(EVENT.payload), 1_700_000_000.25, 1_700_000_000.25
    )
    assert await store.event(state.id) == StoredEvent(state, EVENT)
    assert await store.backlogs() == {"orders": Backlog(1, len(EVENT.payload))}


@pytest.mark.parametrize("response", [None, RESPONSE])
@pytest.mark.parametrize("told", [None, TOLD])
async def test_what_is_noted_of_an_event_comes_back(
    store: Store, response: EventResponse | None, told: Told | None
) -> None:
    await store.add_event(EVENT, 5.0)
    (state,) = await due(store)
    result = None if told is None else EventResult.RETRIES_EXHAUSTED
    noted = replace(state, due_at=77.5, attempts=2, refusals=3, result=result)

    await store.note_event(noted, response, told)

    assert await due(store) == [noted]
    assert await store.event(state.id) == StoredEvent(noted, EVENT, response, told)


async def test_a_response_stays_until_there_is_another(store: Store) -> None:
    await store.add_event(EVENT, 5.0)
    (state,) = await due(store)

    await store.note_event(state, RESPONSE)
    await store.note_event(replace(state, refusals=1))

    stored = await store.event(state.id)
    assert stored is not None
    assert stored.response == RESPONSE


async def test_an_event_that_was_removed_is_gone(store: Store) -> None:
    await store.add_event(EVENT, 5.0)
    (state,) = await due(store)

    await store.remove_event(state.id)
    await store.remove_event(state.id)
    await store.note_event(state, RESPONSE)

    assert await due(store) == []
    assert await store.event(state.id) is None
    assert await store.backlogs() == {}
    await store.add_event(EVENT, 5.0)
    assert [each.id for each in await due(store)] != [state.id]


async def test_events_come_in_the_order_in_which_they_are_due(store: Store) -> None:
    for number, now in enumerate([3.0, 1.0, 2.0, 1.0]):
        await store.add_event(replace(EVENT, request_id=str(number)), now)
    await store.add_event(replace(EVENT, function="orders:live", request_id="other"), 0.0)

    assert [each.request_id for each in await due(store)] == ["1", "3", "2", "0"]
    assert [each.request_id for each in await due(store, "orders:live")] == ["other"]


@pytest.mark.parametrize(
    ("limit", "by", "held", "expected"),
    [
        (9, 9.0, "", ("0123", None)),
        (9, 1.0, "", ("01", 2.0)),
        (1, 9.0, "", ("0", 1.0)),
        (9, 9.0, "02", ("13", None)),
        (1, 9.0, "02", ("1", 3.0)),
        (9, 0.0, "0", ("", 1.0)),
        (9, 9.0, "0123", ("", None)),
    ],
)
async def test_as_many_are_due_as_are_asked_for_and_not_held(
    store: Store, limit: int, by: float, held: str, expected: tuple[str, float | None]
) -> None:
    for number in range(4):
        await store.add_event(replace(EVENT, request_id=str(number)), float(number))
    ids = {each.request_id: each.id for each in await due(store)}

    events, next_due = await store.due_events(
        "orders", limit, by=by, held=frozenset(ids[name] for name in held)
    )

    assert ("".join(each.request_id for each in events), next_due) == expected


# Over many operations and restarts, against a dictionary.

Turn = list[tuple[Any, ...]]
operations = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(["f", "g"]), st.binary(max_size=3)),
    st.tuples(st.just("note"), st.integers(0, 9), st.floats(0, 100), st.integers(0, 3)),
    st.tuples(st.just("remove"), st.integers(0, 9)),
)
turns = st.lists(st.lists(operations, max_size=4), max_size=8)


async def agree(open_store: Open, path: Path, script: list[Turn], reopens: bool) -> None:
    """Run `script`, each turn's operations at once; an empty turn is a restart."""
    model: dict[str, tuple[str, bytes, float, int]] = {}
    remaining = list(script)
    number = 0
    while True:
        async with open_store(path) as store:
            assert await everything(store) == model
            while remaining:
                turn = remaining.pop(0)
                if not turn and reopens:
                    break
                known = {
                    each.request_id: each
                    for each in [*await due(store, "f"), *await due(store, "g")]
                }
                work = []
                for operation in turn:
                    match operation:
                        case "add", function, payload:
                            number += 1
                            model[str(number)] = (function, payload, 0.0, 0)
                            event = AcceptedEvent(function, ARN, payload, str(number), "t")
                            work.append(store.add_event(event, 0.0))
                        case "note", index, at, attempts if str(index) in known:
                            if str(index) in model:
                                kept = model[str(index)]
                                model[str(index)] = (kept[0], kept[1], at, attempts)
                            state = replace(known[str(index)], due_at=at, attempts=attempts)
                            work.append(store.note_event(state))
                        case "remove", index if str(index) in known:
                            model.pop(str(index), None)
                            work.append(store.remove_event(known[str(index)].id))
                await asyncio.gather(*work)
                assert await everything(store) == model
            else:
                return


async def everything(store: Store) -> dict[str, tuple[str, bytes, float, int]]:
    found = {}
    for function in ("f", "g"):
        states = await due(store, function)
        for state in states:
            stored = await store.event(state.id)
            assert stored is not None
            assert stored.state == state
            payload = stored.accepted.payload
            found[state.request_id] = (function, payload, state.due_at, state.attempts)
        backlog = (await store.backlogs()).get(function, Backlog())
        sizes = [len(found[state.request_id][1]) for state in states]
        assert backlog == Backlog(len(sizes), sum(sizes))
    return found


@pytest.mark.parametrize("name", STORES)
@settings(max_examples=40, deadline=None)
@given(script=turns)
def test_a_queue_agrees_with_a_dictionary_across_restarts(name: str, script: list[Turn]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "state.db"
        asyncio.run(agree(STORES[name], path, script, reopens=name != "memory"))
