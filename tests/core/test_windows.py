"""Tumbling windows in virtual time: a function whose state is the list of records it counted."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.core.model import (
    Batch,
    DiscardReason,
    Failed,
    Outcome,
    PartlyFailed,
    Position,
    Succeeded,
    TumblingWindow,
)
from poller.core.policy import StreamPolicy
from poller.core.steps import Checkpointed, Deliver, Fetched, Invoke, Invoked, Started
from poller.core.streams import StreamMachine
from poller.core.windows import GRACE, QUIET_MAX
from poller.lab.checks import StreamChecker
from poller.lab.simulator import Life, StreamSimulation
from poller.lab.world import MadeRecord, StreamWorld

from .test_streams import SETTINGS, live, made, policies, settings, worlds

windowed = st.builds(
    lambda policy, length, state_bytes_max: replace(
        policy, lanes=1, tumbling_window=length, state_bytes_max=state_bytes_max
    ),
    policies,
    st.sampled_from([1.0, 7.0, 60.0]),
    st.sampled_from([8, 40, 10**5]),
)
shapes = worlds.flatmap(
    lambda shape: st.sampled_from([0.0, 0.5, 5.0]).map(lambda skew: shape | {"skew": skew})
)


def lives(
    policy: StreamPolicy,
    world: StreamWorld,
    ends: list[tuple[str, float]],
    data: st.DataObject,
    *,
    lengths: list[float | None],
) -> tuple[Life, StreamChecker]:
    """Life after life: each ends by a crash or a stop, the last one by itself."""
    checker = StreamChecker(policy, world.records)
    resume, now = None, 0.0
    for how, gap in [*ends, ("", 0.0)]:
        length = data.draw(st.sampled_from(lengths))
        world.crash_at = now + gap if how == "crash" else None
        world.stop_at = now + gap if how == "stop" else None
        one = replace(policy, tumbling_window=length)
        life = StreamSimulation(one, world, checker, resume, now).run()
        resume, now = life.stored, life.now
        if resume is not None and resume.ended:
            break
    return life, checker


def counts(checker: StreamChecker) -> Counter[int]:
    return Counter(index for final in checker.windows.finals for index in final.counted)


endings = st.lists(
    st.tuples(st.sampled_from(["crash", "stop"]), st.floats(0.1, 8.0)), min_size=1, max_size=6
)


@pytest.mark.proves("S4.2.state", "S4.2.final", "TumblingWindowInSeconds")
@settings(SETTINGS, max_examples=600)
@given(windowed, shapes)
def test_final_invocations_count_every_record_once_or_it_was_given_up(
    policy: StreamPolicy, shape: dict
):
    world = made(policy, shape)
    life, checker = live(policy, world)
    assert life.finished
    assert counts(checker) == Counter(checker.ran)
    assert checker.ran | set(checker.lost) == {record.index for record in world.records}
    ends = [final.end for final in checker.windows.finals if not final.early]
    assert ends == sorted(set(ends)), "each window ends once, and they only move forward"


@pytest.mark.proves("S4.2.restart")
@settings(SETTINGS, max_examples=600)
@given(windowed, shapes, endings, st.data())
def test_crashes_and_stops_neither_lose_nor_double_what_a_window_counts(
    policy: StreamPolicy, shape: dict, ends: list[tuple[str, float]], data: st.DataObject
):
    world = made(policy, shape)
    life, checker = lives(policy, world, ends, data, lengths=[policy.tumbling_window])
    assert life.stored.ended
    counted = counts(checker)
    assert max(counted.values(), default=1) == 1
    everything = {record.index for record in world.records}
    assert everything - set(counted) <= set(checker.lost)


@settings(SETTINGS, max_examples=400)
@given(windowed, shapes, endings, st.data())
def test_a_change_of_the_length_between_lives_loses_and_doubles_nothing(
    policy: StreamPolicy, shape: dict, ends: list[tuple[str, float]], data: st.DataObject
):
    world = made(policy, shape)
    life, checker = lives(policy, world, ends, data, lengths=[policy.tumbling_window, 5.0, None])
    assert life.stored.ended
    assert max(counts(checker).values(), default=1) == 1
    assert checker.ran | set(checker.lost) == {record.index for record in world.records}
    assert set(counts(checker)) <= checker.ran


@settings(SETTINGS, max_examples=200)
@given(windowed, shapes, st.integers(2, 4))
def test_rejected_records_are_counted_nowhere(policy: StreamPolicy, shape: dict, keep: int):
    world = made(policy, shape)
    checker = StreamChecker(policy, world.records)

    def accept(record: MadeRecord) -> bool:
        return record.index % keep == 0

    StreamSimulation(policy, world, checker, accept=accept).run()
    assert counts(checker) == Counter(checker.ran)
    assert checker.ran | set(checker.lost) == set(range(0, len(world.records), keep))


@settings(SETTINGS, max_examples=300)
@given(windowed, shapes, st.sampled_from([110, 150, 399]))
def test_a_record_too_large_beside_a_state_gets_an_empty_one_and_one_too_large_alone_is_given_up(
    policy: StreamPolicy, shape: dict, takes: int
):
    policy = replace(policy, retries_max=None, record_age_max=None, batch_bytes_max=10**6)
    world = made(policy, {**shape, "takes_bytes": takes})
    _, checker = live(policy, world)
    alone = {record.index for record in world.records if record.size + len("{}") > takes}
    assert checker.lost == dict.fromkeys(alone, DiscardReason.RECORD_TOO_LARGE)
    assert counts(checker) == Counter({record.index for record in world.records} - alone)


# Examples.  A record for each second, windows of ten.


def records(times: list[float], size: int = 100) -> list[MadeRecord]:
    return [MadeRecord(str(100 + i), "k", at, size, i) for i, at in enumerate(times)]


def happily(batch: Batch, rng: random.Random) -> Outcome:
    return Succeeded()


def run(
    times: list[float],
    *,
    outcome: Callable[[Batch, random.Random], Outcome] = happily,
    resume: Position | None = None,
    accept: Callable[[MadeRecord], bool] | None = None,
    stop_at: float | None = None,
    size: int = 100,
    start: float = 0.0,
    tells_reach: bool = True,
    outage: tuple[float, float] | None = None,
    **policy: object,
) -> tuple[Life, StreamChecker]:
    """A shard with these records, which ends behind them unless it is stopped."""
    windowed = StreamPolicy(**{"tumbling_window": 10.0, **policy})
    world = StreamWorld(
        records(times, size),
        outcome,
        random.Random(1),
        run_latency=(0.01, 0.02),
        stop_at=stop_at,
        ends=stop_at is None,
        tells_reach=tells_reach,
        outage=outage,
    )
    checker = StreamChecker(windowed, world.records)
    life = StreamSimulation(windowed, world, checker, resume, start, accept).run()
    return life, checker


def commands(life: Life, kind: type) -> list:
    given = [command for _, _, commands in life.trace for command in commands]
    return [command for command in given if isinstance(command, kind)]


def invocations(life: Life) -> list[Invoke]:
    return commands(life, Invoke)


def told(life: Life) -> list[tuple[float, list[int], bytes, bool]]:
    """Of each invocation: the start of its window, its records, its state, whether it is final."""
    return [
        (
            invoke.window.start,
            [record.index for record in invoke.batch.records],
            invoke.window.state,
            invoke.window.final,
        )
        for invoke in invocations(life)
    ]


def finals(checker: StreamChecker) -> list[tuple[float, float, bool, tuple[int, ...]]]:
    return [(f.start, f.end, f.early, f.counted) for f in checker.windows.finals]


@pytest.mark.proves("S4.2.final")
def test_a_record_of_a_later_window_ends_the_one_before():
    life, _ = run([1.0, 2.0, 10.0, 35.0], batch_window=3.0)
    assert told(life) == [
        (0.0, [0, 1], b"{}", False),
        (0.0, [], b"[0, 1]", True),
        (10.0, [2], b"{}", False),
        (10.0, [], b"[2]", True),
        (30.0, [3], b"{}", False),
        (30.0, [], b"[3]", True),
    ]


def test_a_batching_window_ends_with_its_tumbling_window():
    life, _ = run([1.0, 12.0], batch_window=300.0, stop_at=40.0)
    (first, final, second, last) = told(life)
    assert [first[1], final[1], second[1], last[1]] == [[0], [], [1], []]


@pytest.mark.proves("S4.2.idle")
def test_a_quiet_shard_that_is_read_to_its_tip_ends_its_window_after_the_grace():
    _, checker = run([1.0], stop_at=60.0, poll_interval=1.0)
    (final,) = checker.windows.finals
    assert 10.0 + GRACE <= final.at <= 10.0 + GRACE + 1.0 + 1.0  # a poll and its latencies


def test_an_open_window_is_not_caught_up_and_its_final_invocation_makes_it_so():
    machine = StreamMachine(StreamPolicy(tumbling_window=10.0))
    seen = []
    answers = [
        Fetched(records([1.0]), 100, asked_at=1.0, read_up_to=1.0),
        Invoked(1, Succeeded(b"[0]")),
        Checkpointed(),
        Fetched((), 0, asked_at=11.9, read_up_to=11.9),
        Fetched((), 0, asked_at=12.9, read_up_to=12.9),
        Invoked(2, Succeeded(b"[0]")),
        Checkpointed(),
    ]
    for now, fact in enumerate([Started(), *answers]):
        machine.handle(fact, float(now) + 100.0)
        seen.append(machine.snapshot().caught_up)
    assert seen == [False] * 6 + [True, True]


@pytest.mark.proves("S4.2.idle")
def test_a_source_that_never_says_how_far_it_is_read_ends_windows_after_two_quiet_minutes():
    _, checker = run([1.0], stop_at=300.0, tells_reach=False)
    (final,) = checker.windows.finals
    assert QUIET_MAX <= final.at <= QUIET_MAX + 10.0


def test_an_outage_of_the_source_is_not_quiet():
    """Nobody knows what arrives meanwhile."""
    _, checker = run([1.0], stop_at=400.0, tells_reach=False, outage=(5.0, 200.0))
    (final,) = checker.windows.finals
    assert final.at >= 200.0 + QUIET_MAX - 5.0


def test_a_rejected_record_shows_that_time_has_moved_on():
    _, checker = run(
        [1.0, 11.0],
        accept=lambda record: record.index == 0,
        tells_reach=False,
        stop_at=60.0,
    )
    assert finals(checker) == [(0.0, 10.0, False, (0,))]
    assert checker.windows.finals[0].at < 11.5


def test_late_records_count_in_the_open_window_or_in_the_next():
    _, checker = run([1.0, 12.0, 9.0, 9.5])
    assert finals(checker) == [(0.0, 10.0, False, (0,)), (10.0, 20.0, False, (1, 2, 3))]


def test_a_record_for_a_window_that_was_closed_opens_the_next_one():
    closed = Position("99", window=TumblingWindow(0.0, 10.0, None))
    _, checker = run([9.0], resume=closed)
    assert finals(checker) == [(10.0, 20.0, False, (0,))]


@pytest.mark.proves("S4.2.shard-end")
def test_the_end_of_a_shard_ends_its_window_before_it_is_stored_as_ended():
    life, checker = run([1.0], tumbling_window=900.0)
    assert finals(checker) == [(0.0, 900.0, False, (0,))]
    assert life.stored == Position("100", ended=True, window=TumblingWindow(0.0, 900.0, None))


@pytest.mark.proves("S4.2.too-large")
def test_a_state_over_the_limit_ends_the_window_early_and_it_goes_on_with_an_empty_state():
    _, checker = run([1.0, 2.0, 3.0, 4.0], batch_size=1, state_bytes_max=len("[0, 1]") - 1)
    assert finals(checker) == [
        (0.0, 10.0, True, (0, 1)),
        (0.0, 10.0, True, (2, 3)),
        (0.0, 10.0, False, ()),
    ]


def test_a_state_at_the_limit_does_not_end_the_window_early():
    _, checker = run([1.0, 2.0], batch_size=1, state_bytes_max=len("[0, 1]"))
    assert finals(checker) == [(0.0, 10.0, False, (0, 1))]


def test_a_record_that_fits_only_beside_an_empty_state_ends_the_window_early():
    _, checker = run([1.0, 2.0], size=1000, batch_bytes_max=1000, state_bytes_max=50)
    assert not checker.lost
    assert finals(checker) == [
        (0.0, 10.0, True, (0,)),
        (0.0, 10.0, False, (1,)),
    ]


def test_a_final_invocation_that_fails_blocks_the_shard_and_is_tried_for_ever():
    def outcome(batch: Batch, rng: random.Random) -> Outcome:
        return Succeeded() if batch.records else Failed("no")

    life, checker = run(
        [1.0, 12.0], outcome=outcome, stop_at=500.0, retries_max=1, record_age_max=60.0, bisect=True
    )
    assert checker.ran == {0}
    assert checker.lost == {}
    assert finals(checker) == []
    first, *others = told(life)
    assert first == (0.0, [0], b"{}", False)
    assert len(others) > 10
    assert all(other == (0.0, [], b"[0]", True) for other in others)
    assert life.stored == Position("100", window=TumblingWindow(0.0, 10.0, b"[0]"))


@pytest.mark.proves("S4.2.parallel")
def test_halves_pass_the_state_on():
    def outcome(batch: Batch, rng: random.Random) -> Outcome:
        return Failed("too many") if len(batch.records) > 1 else Succeeded()

    life, _ = run([1.0, 2.0], outcome=outcome, bisect=True, batch_window=5.0)
    assert told(life) == [
        (0.0, [0, 1], b"{}", False),
        (0.0, [0], b"{}", False),
        (0.0, [1], b"[0]", False),
        (0.0, [], b"[0, 1]", True),
    ]


def test_a_partial_success_keeps_the_state_of_what_is_done():
    def outcome(batch: Batch, rng: random.Random) -> Outcome:
        return PartlyFailed(frozenset({2})) if len(batch.records) == 4 else Succeeded()

    life, _ = run([1.0, 2.0, 3.0, 4.0], outcome=outcome, batch_window=5.0)
    assert [state for _, _, state, _ in told(life)] == [b"{}", b"[0, 1]", b"[0, 1, 2, 3]"]


def test_a_failure_of_the_first_record_and_a_discard_leave_the_state_as_it_was():
    def outcome(batch: Batch, rng: random.Random) -> Outcome:
        last = [record.sequence for record in batch.records] == ["101"]
        return PartlyFailed(frozenset({0})) if last else Succeeded()

    life, checker = run([1.0, 2.0], outcome=outcome, retries_max=1, batch_size=1)
    assert checker.lost == {1: DiscardReason.RETRIES_EXHAUSTED}
    assert [state for _, _, state, _ in told(life)] == [b"{}", b"[0]", b"[0]", b"[0]"]
    (delivery,) = commands(life, Deliver)
    assert delivery.discard.window == invocations(life)[1].window


def test_windows_of_which_nothing_was_invoked_have_no_final_invocation():
    life, checker = run([1.0, 2.0], record_age_max=60.0, start=1000.0)
    assert set(checker.lost) == {0, 1}
    assert invocations(life) == []


def test_windows_that_are_turned_off_end_at_once_with_what_they_have():
    position = Position("99", window=TumblingWindow(0.0, 10.0, b"[7]"))
    life, checker = run([5.0, 6.0], resume=position, tumbling_window=None)
    assert finals(checker) == [(0.0, 10.0, True, (7,))]
    _final, *others = invocations(life)
    assert others
    assert all(invoke.window is None for invoke in others)
    assert life.stored == Position("101", ended=True)


def test_an_open_window_keeps_its_end_when_the_length_changes():
    position = Position("99", window=TumblingWindow(0.0, 60.0, b"[7]"))
    _, checker = run([50.0, 61.0, 66.0], resume=position, tumbling_window=7.0)
    assert finals(checker) == [
        (0.0, 60.0, False, (7, 0)),
        (60.0, 63.0, False, (1,)),
        (63.0, 70.0, False, (2,)),
    ]


def test_windows_and_several_lanes_do_not_go_together():
    with pytest.raises(AssertionError, match="lanes cannot share a state"):
        StreamMachine(StreamPolicy(tumbling_window=10.0, lanes=2))
