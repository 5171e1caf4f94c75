"""Mappings made, changed and deleted through the API, over memory adapters in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import random
from typing import Any

import anyio
import pytest

from poller.control.listing import ListQuery, read_list_query
from poller.control.refusals import Refusal
from poller.core.model import Position
from poller.errors import SourceMissing, StateError
from poller.interfaces import Errored, Ran
from tests.control.planes import (
    BUCKET,
    ON_QUEUE,
    ON_STREAM,
    OTHER_STREAM,
    QUEUE,
    STREAM,
    Outside,
    Plane,
    plane,
)
from tests.engine.worlds import until

pytestmark = pytest.mark.looptime


async def refused(awaitable: Any) -> tuple[str, str]:
    with pytest.raises(Refusal) as refusal:
        await awaitable
    return refusal.value.code, refusal.value.message


async def test_a_mapping_is_created_enabled_and_delivers():
    outside = Outside()
    outside.stream.put("k", "k:0")
    async with plane(outside) as life:
        made = await life.api.create(ON_STREAM)
        assert made["State"] == "Creating"
        assert made["LastProcessingResult"] == "No records processed"
        assert (await life.settled(made["UUID"]))["State"] == "Enabled"
        await until(lambda: outside.work.seen == ["k:0"])
        await until(lambda: life.api.get(made["UUID"])["LastProcessingResult"] == "OK")


async def test_a_source_that_is_missing_is_refused_and_nothing_is_left():
    outside = Outside()
    outside.stream.outage = f"Stream not found: {STREAM}"
    async with plane(outside) as life:
        code, message = await refused(life.api.create(ON_STREAM))
        assert (code, message) == (
            "InvalidParameterValueException",
            f"Stream not found: {STREAM}",
        )
        assert life.api.list(ListQuery()) == {"EventSourceMappings": []}
    assert not await outside.store.mappings()


async def test_what_does_not_answer_is_given_up_before_the_client_gives_up():
    outside = Outside()
    listing, outside.stream.shards = outside.stream.shards, anyio.sleep_forever
    async with plane(outside) as life:
        began = asyncio.get_running_loop().time()
        assert await refused(life.api.create(ON_STREAM)) == (
            "InvalidParameterValueException",
            f"{STREAM}: no answer within 20 s",
        )
        outside.stream.shards, outside.destination_delay = listing, 1000.0
        failing = {"DestinationConfig": {"OnFailure": {"Destination": BUCKET}}}
        assert await refused(life.api.create({**ON_STREAM, **failing})) == (
            "InvalidParameterValueException",
            f"{BUCKET}: no answer within 20 s",
        )
        assert asyncio.get_running_loop().time() - began == pytest.approx(40.0, abs=0.1)
        assert life.api.list(ListQuery()) == {"EventSourceMappings": []}
    assert not await outside.store.mappings()


async def test_of_two_who_create_the_same_mapping_at_once_one_succeeds():
    outside = Outside()
    listing = outside.stream.shards

    async def slow():
        await asyncio.sleep(1)
        return await listing()

    outside.stream.shards = slow
    async with plane(outside) as life:
        replies = await asyncio.gather(
            *(life.api.create(ON_STREAM) for _ in range(5)), return_exceptions=True
        )
        made = [reply for reply in replies if isinstance(reply, dict)]
        conflicts = [reply for reply in replies if isinstance(reply, Refusal)]
        assert len(made) == 1
        assert [each.code for each in conflicts] == ["ResourceConflictException"] * 4
        assert all(made[0]["UUID"] in each.message for each in conflicts)
        assert len(await outside.store.mappings()) == 1


async def test_who_creates_a_mapping_that_is_there_pins_nothing():
    """A consumer has one subscription for a shard: another one would take the running one's."""
    outside = Outside()
    pin, pinned = outside.stream.pin, []

    async def noted():
        pinned.append(outside.clock.now())
        return await pin()

    outside.stream.pin = noted
    at_latest = {**ON_STREAM, "StartingPosition": "LATEST"}
    async with plane(outside) as life:
        await life.api.create(at_latest)
        assert len(pinned) == 1
        assert (await refused(life.api.create(at_latest)))[0] == "ResourceConflictException"
        outside.stream.outage = "down"
        code, message = await refused(life.api.create(at_latest))
        assert (code, message) == ("InvalidParameterValueException", "down")
        assert len(pinned) == 1


async def test_what_is_pinned_for_a_mapping_that_does_not_come_to_be_is_let_go():
    """A consumer has one subscription for a shard, and the next attempt needs it."""
    outside = Outside()
    unpin, unpinned = outside.stream.unpin, []

    def noted():
        unpinned.append(outside.clock.now())
        unpin()

    outside.stream.unpin = noted
    at_latest = {**ON_STREAM, "StartingPosition": "LATEST"}
    nowhere = {"DestinationConfig": {"OnFailure": {"Destination": "arn:aws:s3:::nowhere"}}}
    async with plane(outside) as life:
        assert await refused(life.api.create({**at_latest, **nowhere}))
        assert len(unpinned) == 1
        await life.api.create(at_latest)
        assert len(unpinned) == 1


async def test_a_mapping_made_while_the_one_before_it_is_deleted_begins_before_the_reply():
    outside = Outside()
    listing = outside.stream.shards
    at_latest = {**ON_STREAM, "StartingPosition": "LATEST"}

    async def slow():
        await asyncio.sleep(1)
        return await listing()

    async with plane(outside) as life:
        before = (await life.api.create(at_latest))["UUID"]
        await life.settled(before)
        outside.stream.shards = slow
        creating = asyncio.create_task(life.api.create(at_latest))
        await asyncio.sleep(0.5)
        await life.api.delete(before)
        made = await creating
        assert await outside.store.pinned(made["UUID"])


async def test_a_mapping_made_while_the_file_is_reread_runs_with_what_is_new():
    outside = Outside()
    outside.stream.put("k", "k:0")
    listing = outside.stream.shards

    async def slow():
        await asyncio.sleep(1)
        return await listing()

    outside.stream.shards = slow
    async with plane(outside) as life:
        creating = asyncio.create_task(life.api.create(ON_STREAM))
        await asyncio.sleep(0.5)
        old, outside.functions["work"] = outside.work, type(outside.work)(outside.clock)
        await life.claim()
        await creating
        await until(lambda: outside.work.seen == ["k:0"])
        assert old.seen == []


@pytest.mark.proves("S2.update", "S2.in-use")
async def test_an_update_keeps_the_position_and_is_refused_while_another_is_under_way():
    outside = Outside()
    outside.stream.put("k", "k:0")
    async with plane(outside) as life:
        uuid = (await life.api.create(ON_STREAM))["UUID"]
        await until(lambda: outside.work.seen == ["k:0"])
        outside.work.duration = 2.5
        outside.stream.put("k", "k:1")
        await until(lambda: outside.work.seen == ["k:0", "k:1"])

        changed = await life.api.update(uuid, {"BatchSize": 7, "FunctionName": "other"})
        assert changed["State"] == "Updating"
        assert changed["BatchSize"] == 7
        assert changed["FunctionArn"].endswith(":other")
        for attempt, verb in (
            (life.api.update(uuid, {"BatchSize": 8}), "update"),
            (life.api.delete(uuid), "delete"),
        ):
            assert await refused(attempt) == (
                "ResourceInUseException",
                f"Cannot {verb} the event source mapping because it is in use.",
            )

        assert (await life.settled(uuid))["State"] == "Enabled"
        outside.stream.put("k", "k:2")
        await until(lambda: outside.functions["other"].seen == ["k:2"])
        assert outside.work.seen == ["k:0", "k:1"]


@pytest.mark.proves("S2.pause", "Enabled")
async def test_disabling_keeps_the_checkpoint_and_enabling_goes_on_there():
    outside = Outside()
    outside.stream.put("k", "k:0")
    async with plane(outside) as life:
        uuid = (await life.api.create(ON_STREAM))["UUID"]
        await until(lambda: outside.work.seen == ["k:0"])
        assert (await life.api.update(uuid, {"Enabled": False}))["State"] == "Disabling"
        assert (await life.settled(uuid))["State"] == "Disabled"
        outside.stream.put("k", "k:1")
        await asyncio.sleep(100)
        assert outside.work.seen == ["k:0"]
        assert (await life.api.update(uuid, {"Enabled": True}))["State"] == "Enabling"
        await until(lambda: outside.work.seen == ["k:0", "k:1"])
        assert life.api.get(uuid)["State"] == "Enabled"


@pytest.mark.proves("Enabled")
@pytest.mark.parametrize(("request_", "state"), [(ON_STREAM, "Creating"), (ON_QUEUE, "Disabled")])
async def test_a_mapping_made_disabled_does_nothing_until_it_is_enabled(
    request_: dict[str, Any], state: str
):
    outside = Outside()
    outside.stream.put("k", "one")
    outside.queues[QUEUE].send("one")
    async with plane(outside) as life:
        made = await life.api.create({**request_, "Enabled": False})
        assert made["State"] == state
        assert (await life.settled(made["UUID"]))["State"] == "Disabled"
        await asyncio.sleep(50)
        assert outside.work.calls == []
        await life.api.update(made["UUID"], {"Enabled": True})
        await until(lambda: outside.work.seen == ["one"])


@pytest.mark.proves("S3.2.latest")
async def test_latest_is_pinned_before_the_reply_even_if_nothing_was_read_before_a_crash():
    outside = Outside()
    outside.stream.put("k", "old")
    async with plane(outside, crash=True) as life:
        made = await life.api.create({**ON_STREAM, "StartingPosition": "LATEST"})
        outside.stream.put("k", "new")
    await asyncio.sleep(10)
    async with plane(outside) as life:
        assert life.api.get(made["UUID"])["State"] == "Enabled"
        await until(lambda: bool(outside.work.seen))
    assert outside.work.seen == ["new"]


@pytest.mark.proves("S2.delete")
async def test_deleting_drops_the_position_and_a_new_mapping_begins_at_its_own_start():
    outside = Outside()
    outside.stream.put("k", "k:0")
    async with plane(outside) as life:
        uuid = (await life.api.create(ON_STREAM))["UUID"]
        await until(lambda: outside.work.seen == ["k:0"])
        outside.work.duration = 2.0
        outside.stream.put("k", "k:1")
        await until(lambda: len(outside.work.calls) == 2)
        assert (await life.api.delete(uuid))["State"] == "Deleting"
        assert life.api.get(uuid)["State"] == "Deleting"
        again = (await life.api.create(ON_STREAM))["UUID"]
        assert again != uuid
        await life.gone(uuid)
        assert await outside.store.positions(uuid) == {}
        await until(lambda: outside.work.seen[2:] == ["k:0", "k:1"])


async def test_a_mapping_stays_deleting_whatever_its_source_answers_meanwhile():
    outside = Outside()
    async with plane(outside) as life:
        uuid = (await life.api.create(ON_STREAM))["UUID"]
        await life.settled(uuid)
        await life.api.update(uuid, {"Enabled": False})
        await life.settled(uuid)
        listing = outside.stream.shards

        async def slow():
            await asyncio.sleep(3)
            return await listing()

        outside.stream.shards = slow
        await life.api.update(uuid, {"Enabled": True})
        await asyncio.sleep(1)
        outside.stream.outage = "down"
        await life.api.delete(uuid)
        while life.registry.find(uuid) is not None:
            assert life.api.get(uuid)["State"] == "Deleting"
            assert (await refused(life.api.delete(uuid)))[0] == "ResourceInUseException"
            await asyncio.sleep(0.1)


async def test_a_mapping_stays_updating_whatever_its_source_answers_meanwhile():
    outside = Outside()
    outside.stream.put("k", "k:0")
    outside.work.duration = 3.0  # until the update can be in force
    async with plane(outside) as life:
        uuid = (await life.api.create(ON_STREAM))["UUID"]
        await until(lambda: bool(outside.work.calls))

        async def slow():
            await asyncio.sleep(1)
            raise SourceMissing("down")

        outside.stream.shards = slow
        await asyncio.sleep(1)  # now it looks for new shards
        assert (await life.api.update(uuid, {"BatchSize": 5}))["State"] == "Updating"
        await asyncio.sleep(1.5)
        assert life.api.get(uuid)["State"] == "Updating"
        assert (await life.settled(uuid))["BatchSize"] == 5


async def test_mappings_that_come_and_go_leave_nothing_in_memory(
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level(logging.CRITICAL)  # pytest keeps the lines of the log
    outside = Outside()
    warned_of = Ran(b'{"errorType": "Oops", "errorMessage": ""}')
    outside.work.answer = lambda _: warned_of

    async def come_and_go(times: int) -> int:
        """How many objects there are in the end, some hours later."""
        for number in range(times):
            outside.stream.put("k", f"k:{number}")
            outside.queues[QUEUE].send(f"m:{number}")
            for request in (ON_STREAM, ON_QUEUE):
                uuid = (await life.api.create(request))["UUID"]
                await until(lambda: bool(outside.work.calls))
                outside.work.calls.clear()
                await life.api.delete(uuid)
                await life.gone(uuid)
            outside.stream.trim(outside.clock.now())
            await asyncio.sleep(10_000)
        gc.collect()
        return len(gc.get_objects())

    async with plane(outside) as life:
        await come_and_go(3)
        before = await come_and_go(1)
        assert await come_and_go(50) < before + 50


async def test_what_was_deleted_stays_deleted_after_a_crash():
    outside = Outside()
    outside.stream.put("k", "k:0")
    outside.work.duration = 100.0
    async with plane(outside, crash=True) as life:
        uuid = (await life.api.create(ON_STREAM))["UUID"]
        await until(lambda: bool(outside.work.calls))
        await life.api.delete(uuid)
    async with plane(outside) as life:
        assert life.api.list(ListQuery()) == {"EventSourceMappings": []}


async def test_what_cannot_be_stored_is_not_there():
    outside = Outside()

    async def full(*_: Any) -> None:
        raise StateError("the disk is full")

    async with plane(outside) as life:
        uuid = (await life.api.create(ON_QUEUE))["UUID"]
        await life.settled(uuid)
        outside.store.put = outside.store.remove = full
        for attempt in (
            life.api.create(ON_STREAM),
            life.api.update(uuid, {"BatchSize": 5}),
            life.api.delete(uuid),
        ):
            assert await refused(attempt) == ("ServiceException", "the disk is full")
        (described,) = life.api.list(ListQuery())["EventSourceMappings"]
        assert (described["State"], described["BatchSize"]) == ("Enabled", 10)


@pytest.mark.proves("S7.2.checked")
async def test_a_destination_that_is_not_there_is_refused():
    outside = Outside()
    async with plane(outside) as life:
        gone = {"DestinationConfig": {"OnFailure": {"Destination": "arn:aws:s3:::nowhere"}}}
        code, message = await refused(life.api.create({**ON_STREAM, **gone}))
        assert code == "InvalidParameterValueException"
        assert message.startswith("The destination ARN arn:aws:s3:::nowhere is invalid: ")
        uuid = (await life.api.create(ON_STREAM))["UUID"]
        await life.settled(uuid)
        assert (await refused(life.api.update(uuid, gone)))[0] == code
        there = {"DestinationConfig": {"OnFailure": {"Destination": BUCKET}}}
        assert (await life.api.update(uuid, there))["DestinationConfig"] == there[
            "DestinationConfig"
        ]


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"StartingPosition": "LATEST"}, "InvalidParameterValueException",
         "StartingPosition of an event source mapping cannot be changed."),
        ({"Batchsize": 1}, "InvalidParameterValueException",
         "Batchsize: unknown key; did you mean BatchSize?"),
        ({"BatchSize": 0}, "ValidationException",
         "1 validation error detected: Value '0' at 'batchSize' failed to satisfy constraint: "
         "Member must have value greater than or equal to 1"),
        ({"FunctionName": "nobody"}, "InvalidParameterValueException", "Function does not exist"),
        ({"ScalingConfig": {}}, "InvalidParameterValueException",
         "Unsupported ScalingConfig parameter for given event source mapping type."),
    ],
)  # fmt: skip
async def test_an_update_that_is_wrong_changes_nothing(
    change: dict[str, Any], code: str, message: str
):
    outside = Outside()
    async with plane(outside) as life:
        uuid = (await life.api.create(ON_STREAM))["UUID"]
        before = await life.settled(uuid)
        assert await refused(life.api.update(uuid, change)) == (code, message)
        assert life.api.get(uuid) == before


async def test_an_update_to_the_function_of_another_mapping_is_a_conflict():
    outside = Outside()
    async with plane(outside) as life:
        one = (await life.api.create(ON_STREAM))["UUID"]
        other = (await life.api.create({**ON_STREAM, "FunctionName": "other"}))["UUID"]
        await life.settled(other)
        code, message = await refused(life.api.update(other, {"FunctionName": "work:$LATEST"}))
        assert code == "ResourceConflictException"
        assert one in message


@pytest.mark.proves("S1.3.file")
async def test_the_file_adopts_what_the_api_made_with_uuid_and_position():
    outside = Outside()
    outside.stream.put("k", "k:0")
    async with plane(outside) as life:
        uuid = (await life.api.create(ON_STREAM))["UUID"]
        await until(lambda: outside.work.seen == ["k:0"])
        await life.claim({**ON_STREAM, "BatchSize": 5})
        assert (await life.settled(uuid))["BatchSize"] == 5
        for attempt in (
            life.api.update(uuid, {"BatchSize": 6}),
            life.api.delete(uuid),
            life.tagging.tag(life.api.get(uuid)["EventSourceMappingArn"], {"Tags": {"a": "b"}}),
        ):
            code, message = await refused(attempt)
            assert code == "ResourceConflictException"
            assert "poller.yaml" in message
        outside.stream.put("k", "k:1")
        await until(lambda: outside.work.seen == ["k:0", "k:1"])

        await life.claim()
        assert life.api.list(ListQuery()) == {"EventSourceMappings": []}
        outside.stream.put("k", "k:2")
        await asyncio.sleep(50)
        assert outside.work.seen == ["k:0", "k:1"]

        await life.claim(ON_STREAM)
        assert life.api.get(uuid)["UUID"] == uuid
        await until(lambda: outside.work.seen == ["k:0", "k:1", "k:2"])


async def test_what_the_file_says_does_not_disturb_what_the_api_made():
    outside = Outside()
    outside.work.duration = 2.0
    outside.stream.put("k", "k:0")
    async with plane(outside) as life:
        uuid = (await life.api.create(ON_STREAM))["UUID"]
        await until(lambda: bool(outside.work.calls))
        await life.claim({**ON_STREAM, "EventSourceArn": OTHER_STREAM})
        assert life.api.get(uuid)["State"] == "Enabled"
        await until(lambda: outside.work.calls[0].ended is not None)
        await asyncio.sleep(30)
        assert outside.work.seen == ["k:0"]


@pytest.mark.proves("Tags")
async def test_tags_are_kept_beside_a_mapping_that_goes_on_undisturbed():
    outside = Outside()
    async with plane(outside) as life:
        made = await life.api.create({**ON_STREAM, "Tags": {"a": "1"}})
        arn = made["EventSourceMappingArn"]
        await life.settled(made["UUID"])
        await life.tagging.tag(arn, {"Tags": {"a": "2", "b": "3"}})
        await life.tagging.untag(arn, ["a", "unknown"])
        assert life.api.get(made["UUID"])["State"] == "Enabled"
        code, message = await refused(
            life.tagging.tag(arn, {"Tags": {f"k{number}": "" for number in range(50)}})
        )
        assert (code, message) == (
            "InvalidParameterValueException",
            "Tags: has 51 tags; 50 are the most",
        )
    async with plane(outside) as life:
        assert life.tagging.tags(arn) == {"b": "3"}


async def test_another_spelling_of_the_function_leaves_a_mapping_running():
    outside = Outside()
    outside.stream.put("k", "k:0")
    outside.work.duration = 3.0
    async with plane(outside) as life:
        made = await life.api.create(ON_STREAM)
        await until(lambda: bool(outside.work.calls))
        await life.api.update(made["UUID"], {"FunctionName": made["FunctionArn"]})
        await life.settled(made["UUID"])
        assert outside.work.calls[0].ended is None
        await life.api.update(made["UUID"], {"BatchSize": 5})
        await life.settled(made["UUID"])
        assert outside.work.calls[0].ended is not None


@pytest.mark.proves("S1.3.pages")
async def test_pages_neither_repeat_nor_skip_what_is_there_all_the_time():
    outside = Outside()
    outside.functions |= {f"f{number}": outside.work for number in range(250)}
    rng = random.Random(7)
    async with plane(outside) as life:
        uuids = [
            (await life.api.create({**ON_QUEUE, "FunctionName": f"f{number}", "Enabled": False}))[
                "UUID"
            ]
            for number in range(250)
        ]
        kept, query, seen = set(uuids[:200]), ListQuery(), []
        passing = uuids[200:]
        while True:
            page = life.api.list(query)
            assert len(page["EventSourceMappings"]) <= 100
            seen += [each["UUID"] for each in page["EventSourceMappings"]]
            if "NextMarker" not in page:
                break
            for _ in range(20):
                await life.api.delete(passing.pop(rng.randrange(len(passing))))
            query = ListQuery(after=_after(page))
        assert kept <= set(seen)
        assert len(seen) == len(set(seen))


def _after(page: dict[str, Any]) -> Any:
    return read_list_query({"Marker": page["NextMarker"]}).after


@pytest.mark.parametrize("seed", range(12))
async def test_any_sequence_of_operations_and_crashes_loses_no_record(seed: int):
    """One stream, one mapping that is made, disabled, updated, adopted and let go at random."""
    rng = random.Random(seed)
    outside = Outside()
    fails = random.Random(seed + 100)
    outside.work.answer = lambda call: Errored("E", "no") if fails.random() < 0.2 else Ran(b"")
    number = 0
    for _ in range(4):
        in_file = rng.random() < 0.3
        crash = rng.random() < 0.5
        async with plane(outside, *([ON_STREAM] if in_file else []), crash=crash) as life:
            for _ in range(25):
                for _ in range(rng.randrange(4)):
                    outside.stream.put(f"k{number % 3}", f"k{number % 3}:{number}")
                    number += 1
                await _act(life, rng)
                await asyncio.sleep(rng.random() * 5)
    outside.work.answer = lambda call: Ran(b"")
    async with plane(outside, ON_STREAM):
        await until(lambda: len(set(outside.work.seen)) == number)
    firsts = list(dict.fromkeys(outside.work.seen))
    for key in range(3):
        mine = [int(body.split(":")[1]) for body in firsts if body.startswith(f"k{key}:")]
        assert mine == sorted(mine)


async def _act(life: Plane, rng: random.Random) -> None:
    """One operation, which may well be refused; only deleting is left out, which may lose."""
    known = [each["UUID"] for each in life.api.list(ListQuery())["EventSourceMappings"]]
    with contextlib.suppress(Refusal):
        match rng.randrange(5):
            case 0:
                await life.api.create(ON_STREAM)
            case 1 if known:
                await life.api.update(known[0], {"Enabled": rng.random() < 0.7})
            case 2 if known:
                await life.api.update(known[0], {"BatchSize": rng.randint(1, 20)})
            case 3:
                await life.claim(ON_STREAM)
            case 4:
                await life.claim()


async def test_results_survive_a_restart():
    outside = Outside()
    outside.stream.put("k", "k:0")
    outside.work.answer = lambda call: Errored("E", "no")
    async with plane(outside) as life:
        uuid = (await life.api.create(ON_STREAM))["UUID"]
        await until(lambda: life.api.get(uuid)["LastProcessingResult"].startswith("PROBLEM"))
    outside.stream.outage = "no connection"
    async with plane(outside) as life:
        described = life.api.get(uuid)
        assert described["LastProcessingResult"] == "PROBLEM: Function call failed"
        assert described["State"] == "Enabled"
    assert (await outside.store.positions(uuid)) in ({}, {"shardId-000000000000": Position()})


async def test_results_that_could_not_be_stored_are_stored_once_they_can_be():
    outside = Outside()
    outside.stream.put("k", "k:0")
    async with plane(outside) as life:
        uuid = (await life.api.create(ON_STREAM))["UUID"]
        await until(lambda: life.api.get(uuid)["LastProcessingResult"] == "OK")
        note_results = outside.store.note_results

        async def full(*_: Any) -> None:
            raise StateError("the disk is full")

        outside.store.note_results = full
        with pytest.raises(StateError):
            await life.registry.save_results()
        outside.store.note_results = note_results
        await life.registry.save_results()
        (stored,) = await outside.store.mappings()
        assert stored.result == "OK"
