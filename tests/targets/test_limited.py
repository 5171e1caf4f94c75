"""Limits of concurrency: a second of patience, then a throttle with AWS's reason."""

from __future__ import annotations

import asyncio
import heapq
import json
from collections import Counter
from dataclasses import dataclass

import looptime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.core.model import Seconds
from poller.interfaces import Invocation, NotReached, Ran, Reply, Target
from poller.observe.function_counts import FunctionCounts
from poller.targets.limited import OWN_REASON, PATIENCE, TOTAL_REASON, Limited, Slots

INVOCATION = Invocation(b"{}", "id", "arn", "trace")

in_virtual_time = pytest.mark.looptime


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


class Watch(FunctionCounts):
    """Notes each end that it is told of, too."""

    def __init__(self) -> None:
        super().__init__()
        self.ended_with: list[tuple[Reply | None, Seconds]] = []

    def ended(self, reply: Reply | None, seconds: Seconds) -> None:
        super().ended(reply, seconds)
        self.ended_with.append((reply, seconds))


def limited(target: Target, own: Slots, total: Slots, watch: Watch | None = None) -> Limited:
    return Limited(target, own=own, total=total, observer=watch or Watch())


def own(limit: int | None) -> Slots:
    return Slots(limit, whose="function f is", reason=OWN_REASON)


def total(limit: int | None) -> Slots:
    return Slots(limit, whose="functions are", reason=TOTAL_REASON)


@in_virtual_time
async def test_over_its_limit_a_function_is_waited_for_and_then_throttled() -> None:
    gate, loop = Gate(), asyncio.get_running_loop()
    function = limited(gate, own(2), total(None))
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


@in_virtual_time
async def test_over_the_total_every_function_is_throttled_with_the_reason_of_the_account() -> None:
    gate, everything = Gate(), total(1)
    first = limited(gate, own(None), everything)
    second = limited(gate, own(1), everything)
    running = asyncio.ensure_future(first.invoke(INVOCATION))
    await asyncio.sleep(0)
    late = await second.invoke(INVOCATION)
    gate.opened.set()

    assert late == NotReached("functions are running 1 times already", True, None, TOTAL_REASON)
    assert await running == await second.invoke(INVOCATION) == Ran(b"ok")


@in_virtual_time
async def test_a_limit_that_is_raised_lets_at_once_in_who_waits() -> None:
    gate, slots = Gate(), total(1)
    function = limited(gate, own(None), slots)
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


@in_virtual_time
async def test_a_second_is_all_that_is_waited_for_both_limits_together() -> None:
    gate, loop, everything = Gate(), asyncio.get_running_loop(), total(1)
    other, function = limited(gate, own(None), everything), limited(gate, own(1), everything)
    running = asyncio.ensure_future(other.invoke(INVOCATION))
    await asyncio.sleep(0)
    first = asyncio.ensure_future(function.invoke(INVOCATION))
    await asyncio.sleep(0.6)
    began = loop.time()
    second = await function.invoke(INVOCATION)  # gets the function's slot when the first gives up
    waited = loop.time() - began
    gate.opened.set()

    assert isinstance(second, NotReached)
    assert (await first, second.reason) == (second, TOTAL_REASON)
    assert waited == pytest.approx(PATIENCE)
    assert await running == Ran(b"ok")


@in_virtual_time
async def test_a_slot_that_comes_as_its_waiter_leaves_goes_to_the_next() -> None:
    slots, until = own(1), asyncio.get_running_loop().time() + 10
    await slots.take(until)
    leaves, next_one = [asyncio.ensure_future(slots.take(until)) for _ in range(2)]
    await asyncio.sleep(0)
    slots.give_back()
    leaves.cancel()
    slots_had = await asyncio.gather(leaves, next_one, return_exceptions=True)

    assert isinstance(slots_had[0], asyncio.CancelledError)
    assert (slots_had[1], slots.busy) == (True, 1)


@in_virtual_time
async def test_the_observer_is_told_of_every_end_and_how_long_it_took() -> None:
    gate, watch = Gate(), Watch()
    function = limited(gate, own(2), total(None), watch)
    running = [asyncio.ensure_future(function.invoke(INVOCATION)) for _ in range(2)]
    await asyncio.sleep(0)
    running_then = watch.running
    await function.invoke(INVOCATION)
    running[0].cancel()
    await asyncio.sleep(0.5)
    gate.opened.set()
    await running[1]

    assert (running_then, watch.running, watch.throttles) == (2, 0, 1)
    assert watch.ended_with == [(None, 1.0), (Ran(b"ok"), 1.5)]


@in_virtual_time
async def test_a_function_is_empty_once_nothing_runs_or_waits_for_it() -> None:
    gate = Gate()
    function = limited(gate, own(1), total(None))
    await function.emptied()
    calls = [asyncio.ensure_future(function.invoke(INVOCATION)) for _ in range(2)]
    await asyncio.sleep(0)
    emptied = asyncio.ensure_future(function.emptied())
    await asyncio.sleep(0.5)
    before = emptied.done()
    gate.opened.set()
    await emptied

    assert (before, [call.done() for call in calls]) == (False, [True, True])


@in_virtual_time
async def test_an_invocation_ends_as_ever_when_nobody_waits_for_its_end_any_more() -> None:
    gate = Gate()
    function = limited(gate, own(1), total(None))
    call = asyncio.ensure_future(function.invoke(INVOCATION))
    await asyncio.sleep(0)
    emptied = asyncio.ensure_future(function.emptied())
    await asyncio.sleep(0)
    emptied.cancel()
    gate.opened.set()

    assert await call == Ran(b"ok")


# Whatever comes, in whatever order.  Times are hundredths of a second; what a call takes has a
# bit more, so that nothing ends as something else comes.

BIT = 0.0003


@dataclass(frozen=True)
class Call:
    function: int
    comes: int
    takes: int
    leaves: int | None = None  # cancelled so long after it came

    @property
    def seconds(self) -> float:
        return self.takes / 100 + BIT


class Timed:
    """Runs as long as its event says; notes how many run, and which began when."""

    def __init__(self) -> None:
        self.running: Counter[int] = Counter()
        self.most: Counter[int] = Counter()
        self.most_together = 0
        self.began: dict[int, float] = {}  # by the number of the call

    async def invoke(self, invocation: Invocation) -> Reply:
        number, function, seconds = json.loads(invocation.event)
        self.began[number] = asyncio.get_running_loop().time()
        self.running[function] += 1
        self.most[function] = max(self.most[function], self.running[function])
        self.most_together = max(self.most_together, self.running.total())
        try:
            await asyncio.sleep(seconds)
        finally:
            self.running[function] -= 1
        return Ran(b"ok")


@dataclass
class Life:
    """What became of calls of functions with these limits."""

    target: Timed
    replies: list[Reply | None]  # None: cancelled
    waits: list[float]  # until the reply or the throttle, of calls that were not cancelled
    slots: list[Slots]


async def live(calls: list[Call], limits: list[int | None], together: int | None) -> Life:
    target, everything, watch = Timed(), total(together), Watch()
    slots = [own(limit) for limit in limits]
    functions = [limited(target, each, everything, watch) for each in slots]
    loop = asyncio.get_running_loop()

    async def call(number: int, each: Call) -> tuple[Reply | None, float]:
        await asyncio.sleep(each.comes / 100)
        event = json.dumps([number, each.function, each.seconds]).encode()
        began = loop.time()
        leaves = None if each.leaves is None else each.leaves / 100
        try:
            async with asyncio.timeout(leaves):
                reply = await functions[each.function].invoke(Invocation(event, "", "", ""))
        except TimeoutError:
            return None, loop.time() - began
        return reply, loop.time() - began

    done = await asyncio.gather(*(call(number, each) for number, each in enumerate(calls)))
    assert watch.running == 0
    return Life(target, [reply for reply, _ in done], [s for _, s in done], [*slots, everything])


def lived(calls: list[Call], limits: list[int | None], together: int | None) -> Life:
    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        return runner.run(live(calls, limits, together))


LIMITS = st.none() | st.integers(1, 3)
CALLS = st.builds(Call, st.integers(0, 1), st.integers(0, 150), st.integers(0, 150))
CALLS_THAT_MAY_LEAVE = st.builds(
    Call,
    st.integers(0, 1),
    st.integers(0, 150),
    st.integers(0, 150),
    st.none() | st.integers(0, 120),
)


def calls_of(each: st.SearchStrategy[Call]) -> st.SearchStrategy[list[Call]]:
    """In the order in which they come, no two at once."""
    calls = st.lists(each, max_size=14, unique_by=lambda call: call.comes)
    return calls.map(lambda found: sorted(found, key=lambda call: call.comes))


@given(calls_of(CALLS_THAT_MAY_LEAVE), st.lists(LIMITS, min_size=2, max_size=2), LIMITS)
def test_no_limit_is_passed_and_no_slot_is_lost_whoever_leaves(
    calls: list[Call], limits: list[int | None], together: int | None
) -> None:
    life = lived(calls, limits, together)

    for function, limit in enumerate(limits):
        assert limit is None or life.target.most[function] <= limit
    assert together is None or life.target.most_together <= together
    assert [slots.busy for slots in life.slots] == [0, 0, 0]
    for reply, waited in zip(life.replies, life.waits, strict=True):
        if isinstance(reply, NotReached):
            assert waited == pytest.approx(PATIENCE, abs=0.001)
        else:
            assert reply in (Ran(b"ok"), None)
    for function in (0, 1):
        order = [n for n in life.target.began if calls[n].function == function]
        assert order == sorted(order)


@given(calls_of(CALLS), st.integers(1, 3))
def test_slots_are_given_in_turn_and_only_who_waited_a_second_in_vain_is_throttled(
    calls: list[Call], limit: int
) -> None:
    expected: dict[int, float] = {}
    free_at = [0.0] * limit
    for number, call in enumerate(calls):
        start = max(call.comes / 100, free_at[0])
        if start < call.comes / 100 + PATIENCE:
            expected[number] = start
            heapq.heapreplace(free_at, start + call.seconds)

    for limits, together in (([limit, limit], None), ([None, None], limit)):
        mine = [Call(0, each.comes, each.takes) for each in calls]
        life = lived(mine, limits, together)
        assert life.target.began == pytest.approx(expected, abs=0.0001)
