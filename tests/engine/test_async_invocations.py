"""Asynchronous invocations by the engine, in virtual time: nothing that was accepted is lost."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from poller.core.model import Fate
from poller.core.policy import EventPolicy
from poller.engine import async_invocations
from poller.engine.async_invocations import EventQueues
from poller.engine.event_runs import EventFunction, EventObserver, EventRun, EventSurroundings
from poller.errors import QueueFull, StateError
from poller.event_queue import AcceptedEvent, Backlog
from poller.interfaces import Errored, Failure, Invocation, NotReached, Ran, Reply
from poller.observe.event_counts import EventTally
from poller.stores.memory import MemoryStore
from tests.engine.worlds import FUNCTION, LoopClock, until

pytestmark = pytest.mark.looptime

QUEUE = "arn:aws:sqs:us-east-1:000000000000:results"
TOPIC = "arn:aws:sns:us-east-1:000000000000:dead"
ERROR = Errored("ValueError", "no", payload=b'{"errorMessage":"no","errorType":"ValueError"}')
BUSY = NotReached("busy", throttled=True)
RAN = Ran(b'{"ok":true}')

Answer = Callable[[Invocation], Reply]


@dataclass
class Function:
    """A Target: `answer` says what each invocation comes to, after `duration`."""

    clock: LoopClock
    answer: Answer = lambda invocation: RAN
    duration: float = 0.0
    calls: list[tuple[float, Invocation]] = field(default_factory=list)
    ended: int = 0

    async def invoke(self, invocation: Invocation) -> Reply:
        self.calls.append((self.clock.now(), invocation))
        await asyncio.sleep(self.duration)
        self.ended += 1
        return self.answer(invocation)

    @property
    def times(self) -> list[float]:
        """When it was invoked, counted from the first time."""
        return [round(at - self.calls[0][0], 3) for at, _ in self.calls]

    @property
    def seen(self) -> list[Any]:
        return [json.loads(invocation.event) for _, invocation in self.calls]


class World:
    def __init__(self, store: MemoryStore | None = None, **more: Any) -> None:
        self.clock = LoopClock()
        self.store = store or MemoryStore()
        self.function = Function(self.clock, **more)
        self.sent: list[Failure] = []
        self.settings: dict[str, Any] = {}

    async def deliver(self, failure: Failure) -> Fate:
        self.sent.append(failure)
        return Fate.SENT

    def declared(self, **policy: Any) -> dict[str, EventFunction]:
        places = {name: policy.pop(name, None) for name in ("on_success", "on_failure")}
        dead_letter = policy.pop("dead_letter", None)
        return {
            "work": EventFunction(
                key="work",
                target=self.function,
                policy=EventPolicy(
                    tells_success=places["on_success"] is not None,
                    tells_failure=bool(places["on_failure"] or dead_letter),
                    **policy,
                ),
                timeout=3.0,
                dead_letter=dead_letter,
                **places,
            )
        }

    def undeclared(self, key: str) -> EventFunction:
        target = Function(self.clock, lambda invocation: NotReached("Function does not exist"))
        return EventFunction(key=key, target=target, policy=EventPolicy(), timeout=0.0)

    def surroundings(self) -> EventSurroundings:
        return EventSurroundings(
            self.clock.now, self.store, self.deliver, (), lambda function, event: None
        )

    @asynccontextmanager
    async def running(
        self, *, observers: Sequence[EventObserver] = (), **settings: Any
    ) -> AsyncIterator[EventQueues]:
        """One life, which ends at once with the block, as a crash would end it."""
        queues = EventQueues(
            self.store, self.deliver, self.undeclared, now=self.clock.now, observers=observers
        )
        async with queues:
            queues.apply(self.declared(**settings))
            yield queues

    async def drained(self) -> None:
        while await self.store.backlogs():  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(1.0)


def event(value: Any = 1, request_id: str = "request") -> Invocation:
    return Invocation(json.dumps(value).encode(), request_id, FUNCTION, "Root=1")


async def test_an_event_runs_once_it_is_accepted() -> None:
    world = World()

    async with world.running() as queues:
        await queues.accept("work", event({"a": 1}))
        assert await world.store.backlogs() == queues.backlogs == {"work": Backlog(1, 8)}
        await world.drained()

    assert [invocation for _, invocation in world.function.calls] == [event({"a": 1})]
    assert queues.backlogs == {}
    assert world.sent == []


@pytest.mark.proves("S12.4.retries")
async def test_what_failed_is_retried_after_one_minute_and_after_two() -> None:
    world = World(answer=lambda invocation: ERROR)

    async with world.running(on_failure=QUEUE, dead_letter=TOPIC) as queues:
        await queues.accept("work", event({"a": 1}))
        await world.drained()

    assert world.function.times == [0, 60, 180]
    assert {invocation.request_id for _, invocation in world.function.calls} == {"request"}
    record, letter = world.sent
    assert (record.destination, letter.destination) == (QUEUE, TOPIC)
    assert json.loads(record.document) == {
        "version": "1.0",
        "timestamp": "2023-11-14T22:16:20.000Z",
        "requestContext": {
            "requestId": "request",
            "functionArn": f"{FUNCTION}:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 3,
        },
        "requestPayload": {"a": 1},
        "responseContext": {
            "statusCode": 200,
            "executedVersion": "$LATEST",
            "functionError": "Unhandled",
        },
        "responsePayload": {"errorMessage": "no", "errorType": "ValueError"},
    }
    assert record.key.startswith("aws/lambda/async/work/2023/11/14/2023-11-14T22.16.20-")
    assert letter.document == '{"a": 1}'
    assert letter.notice is not None
    assert [value for _, _, value in letter.notice.attributes] == ["request", "200", "no"]


async def test_a_queue_that_nobody_drives_any_more_is_overdue() -> None:
    world = World(answer=lambda invocation: ERROR)
    run = EventRun(world.declared()["work"], world.surroundings())
    driving = asyncio.ensure_future(run.run())
    await world.store.add_event(
        AcceptedEvent("work", FUNCTION, b"1", "id", "", ""), world.clock.now()
    )
    run.accepted()
    await asyncio.sleep(30.0)
    while_driven = run.overdue
    driving.cancel()
    await asyncio.sleep(90.0)

    assert (while_driven, round(run.overdue)) == (0.0, 60)


@pytest.mark.proves("S12.4.records")
async def test_a_success_is_told_with_what_was_returned() -> None:
    world = World()

    async with world.running(on_success=QUEUE, on_failure=TOPIC) as queues:
        await queues.accept("work", event())
        await world.drained()

    (record,) = world.sent
    told = json.loads(record.document)
    assert record.destination == QUEUE
    assert told["requestContext"]["condition"] == "Success"
    assert told["responsePayload"] == {"ok": True}
    assert "functionError" not in told["responseContext"]


@pytest.mark.proves("S12.4.age")
async def test_what_is_never_reached_is_given_up_when_it_is_too_old() -> None:
    world = World(answer=lambda invocation: BUSY)

    async with world.running(age_max=60.0, on_failure=QUEUE, dead_letter=QUEUE) as queues:
        await queues.accept("work", event())
        await world.drained()

    assert world.function.times == [0, 1, 3, 7, 15, 31, 59]
    record, letter = world.sent
    told = json.loads(record.document)
    assert told["requestContext"]["condition"] == "EventAgeExceeded"
    assert told.keys() & {"responseContext", "responsePayload"} == set()
    assert letter.notice is not None
    assert [value for _, _, value in letter.notice.attributes] == ["request", "429", "busy"]


async def test_what_failed_once_and_was_then_not_reached_has_the_error_in_its_record() -> None:
    replies = iter([ERROR, BUSY, BUSY, BUSY])
    world = World(answer=lambda invocation: next(replies))

    async with world.running(age_max=66.0, on_failure=QUEUE) as queues:
        await queues.accept("work", event())
        await world.drained()

    (record,) = world.sent
    told = json.loads(record.document)
    assert told["requestContext"]["condition"] == "EventAgeExceeded"
    assert told["responsePayload"] == {"errorMessage": "no", "errorType": "ValueError"}


async def test_an_event_that_the_function_finds_too_large_is_not_tried_for_ever() -> None:
    world = World(answer=lambda invocation: NotReached("413", too_large=True))

    async with world.running(dead_letter=QUEUE) as queues:
        await queues.accept("work", event())
        await world.drained()

    assert world.function.times == [0, 60, 180]
    (letter,) = world.sent
    assert letter.notice is not None
    assert [value for _, _, value in letter.notice.attributes] == ["request", "413", "413"]


async def test_what_cannot_be_stored_is_not_accepted() -> None:
    class Full(MemoryStore):
        async def add_event(self, event: Any, now: float) -> None:
            raise StateError("no room")

    world, tally = World(Full()), EventTally()

    async with world.running(observers=(tally,)) as queues:
        with pytest.raises(StateError):
            await queues.accept("work", event())
        await asyncio.sleep(1)

        assert queues.backlogs == {}
    assert tally.of("work").received == 0


async def test_an_event_whose_caller_went_away_while_it_was_stored_runs() -> None:
    class Slow(MemoryStore):
        async def add_event(self, event: Any, now: float) -> None:
            await super().add_event(event, now)
            await asyncio.sleep(1)

    world = World(Slow())

    async with world.running() as queues, asyncio.timeout(60):
        accepting = asyncio.ensure_future(queues.accept("work", event()))
        await asyncio.sleep(0.5)
        accepting.cancel()
        await world.drained()

    assert world.function.ended == 1
    assert queues.backlogs == {}


@pytest.mark.parametrize(("limit", "most"), [("QUEUED_MAX", 2), ("QUEUED_BYTES_MAX", 3)])
async def test_the_queue_has_a_bound(
    monkeypatch: pytest.MonkeyPatch, limit: str, most: int
) -> None:
    monkeypatch.setattr(async_invocations, limit, most)
    world = World(answer=lambda invocation: BUSY)

    async with world.running() as queues:
        await queues.accept("work", event(1))
        await queues.accept("work", event(22))
        with pytest.raises(QueueFull):
            await queues.accept("work", event(3))

        world.function.answer = lambda invocation: RAN
        await world.drained()
        await queues.accept("work", event(3))


async def test_a_stop_lets_run_what_runs_and_keeps_the_rest() -> None:
    world = World(duration=2.0)

    async with world.running(concurrency_max=2) as queues:
        for number in range(5):
            await queues.accept("work", event(number))
        await until(lambda: len(world.function.calls) == 2)
        await queues.stop()
        assert world.function.ended == 2
        await queues.accept("work", event(5))
        await asyncio.sleep(60)
        assert len(world.function.calls) == 2

    async with world.running() as queues:
        await world.drained()
    assert sorted(world.function.seen) == [0, 1, 2, 3, 4, 5]


async def test_a_stop_waits_for_a_slow_function_no_longer_than_its_timeout_and_a_little() -> None:
    world = World(duration=1000.0)
    async with world.running() as queues:
        await queues.accept("work", event())
        await until(lambda: bool(world.function.calls))
        began = world.clock.now()
        await queues.stop()
        assert world.clock.now() - began == pytest.approx(3.0 + async_invocations.MARGIN)

    assert await world.store.backlogs() == {"work": Backlog(1, 1)}


@pytest.mark.parametrize("seed", range(20))
async def test_crashes_repeat_events_and_lose_none(seed: int) -> None:
    rng = random.Random(seed)

    def answer(invocation: Invocation) -> Reply:
        return rng.choice([RAN, RAN, ERROR, BUSY])

    world = World(answer=answer, duration=0.3)
    accepted: set[str] = set()
    for life in range(6):
        async with world.running(on_success=QUEUE, on_failure=TOPIC, concurrency_max=3) as queues:
            for number in range(rng.randrange(5)):
                name = f"{life}-{number}"
                await queues.accept("work", event(name, name))
                accepted.add(name)
            await asyncio.sleep(rng.choice([0.0, 0.1, 0.5, 61.0, 200.0]))
    async with world.running(on_success=QUEUE, on_failure=TOPIC) as queues:
        await world.drained()

    told = [json.loads(sent.document)["requestContext"]["requestId"] for sent in world.sent]
    assert set(told) == accepted
    results: dict[str, set[str]] = {}
    for sent in world.sent:
        context = json.loads(sent.document)["requestContext"]
        results.setdefault(context["requestId"], set()).add(context["condition"])
        assert context["approximateInvokeCount"] <= 3
    # What was decided before a crash is what is told after it.
    assert all(len(conditions) == 1 for conditions in results.values())


async def test_a_function_that_leaves_the_config_keeps_its_events(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(answer=lambda invocation: ERROR)

    async with world.running() as queues:
        await queues.accept("work", event())
        await until(lambda: world.function.ended == 1)
        world.function.answer = lambda invocation: RAN
        queues.apply({})
        assert "function work is not declared, so 1 queued events of it wait" in caplog.text
        await asyncio.sleep(600)
        assert len(world.function.calls) == 1
        queues.apply(world.declared())
        await world.drained()

    assert len(world.function.calls) == 2


async def test_what_grows_too_old_after_its_function_left_is_told_to_whom_that_named() -> None:
    world = World(answer=lambda invocation: ERROR)

    async with world.running(on_failure=QUEUE, age_max=300.0) as queues:
        await queues.accept("work", event())
        await until(lambda: world.function.ended == 1)
        queues.apply({})
        queues.apply({})
        await world.drained()

    assert len(world.function.calls) == 1
    (record,) = world.sent
    condition = json.loads(record.document)["requestContext"]["condition"]
    assert (record.destination, condition) == (QUEUE, "EventAgeExceeded")


async def test_events_of_a_function_that_is_not_declared_at_a_start_wait_until_they_are_too_old(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(answer=lambda invocation: BUSY)
    async with world.running() as queues:
        await queues.accept("work", event())
    calls = len(world.function.calls)

    queues = EventQueues(world.store, world.deliver, world.undeclared, now=world.clock.now)
    async with queues:
        began = world.clock.now()
        queues.apply({})
        await world.drained()

    assert len(world.function.calls) == calls
    assert world.clock.now() - began == pytest.approx(6 * 3600, abs=5)
    assert "function work is not declared" in caplog.text


async def test_a_changed_function_and_policy_hold_for_the_next_attempt() -> None:
    world = World(answer=lambda invocation: ERROR)
    before = world.function

    async with world.running(retries_max=2) as queues:
        await queues.accept("work", event())
        await until(lambda: before.ended == 1)
        world.function = Function(world.clock, lambda invocation: ERROR)
        queues.apply(world.declared(retries_max=1, on_failure=QUEUE))
        await world.drained()

    assert (len(before.calls), len(world.function.calls)) == (1, 1)
    (record,) = world.sent
    assert json.loads(record.document)["requestContext"]["approximateInvokeCount"] == 2


@pytest.mark.parametrize("broken", ["due_events", "event", "note_event", "remove_event"])
async def test_a_store_that_fails_holds_events_up_and_loses_none(
    broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    works, failures = getattr(world.store, broken), 5

    async def failing(*args: Any, **more: Any) -> Any:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise StateError("the state is locked")
        return await works(*args, **more)

    setattr(world.store, broken, failing)

    async with world.running(on_success=QUEUE) as queues:
        await queues.accept("work", event())
        await world.drained()

    assert len(world.function.calls) == len(world.sent) == 1
    assert "the queue of function work: the state is locked" in caplog.text


async def test_a_queue_that_breaks_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    broken = [True]

    def answer(invocation: Invocation) -> Reply:
        if broken.pop() if broken else False:
            raise RuntimeError("a bug")
        return RAN

    world = World(answer=answer)
    async with world.running() as queues:
        await queues.accept("work", event())
        await world.drained()
        await queues.accept("work", event())
        await world.drained()

    assert len(world.function.calls) == 3
    (line,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert line.getMessage() == "the queue of work broke: a bug"


async def test_events_of_one_function_do_not_wait_for_those_of_another() -> None:
    world = World(duration=600.0)
    quick = Function(world.clock)
    async with world.running(concurrency_max=1) as queues:
        other = EventFunction(key="quick", target=quick, policy=EventPolicy(), timeout=3.0)
        queues.apply({**world.declared(concurrency_max=1), "quick": other})
        for key in ("work", "work", "quick"):
            await queues.accept(key, event())
        await until(lambda: quick.ended == 1)

        assert world.clock.now() - quick.calls[0][0] < 1.0
        assert not queues.idle
