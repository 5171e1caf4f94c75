"""Runs a stream machine in virtual time: a heap of facts instead of an event loop."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count, takewhile

from poller.core.model import BEGINNING, Fate, Instant, Position, Record, Seconds
from poller.core.policy import StreamPolicy
from poller.core.steps import (
    Checkpoint,
    Checkpointed,
    Command,
    Deliver,
    Delivered,
    Fact,
    Fetch,
    Fetched,
    FetchFailed,
    Finish,
    Invoke,
    Invoked,
    Started,
    Stopping,
    Ticked,
)
from poller.core.streams import StreamMachine

from .checks import StreamChecker
from .world import StreamWorld

STEPS_MAX = 200_000

Learn = Callable[[Instant], Fact]  # what the world does when a command is answered


@dataclass(frozen=True, slots=True)
class Life:
    """How a run ended: `finished` by itself, or crashed; `trace` is every step of it."""

    now: Instant
    stored: Position | None
    finished: bool
    trace: list[tuple[Instant, Fact, list[Command]]]


@dataclass(slots=True)
class StreamSimulation:
    """One life of a machine in a world."""

    policy: StreamPolicy
    world: StreamWorld
    checker: StreamChecker
    resume: Position | None = None
    now: Instant = 0.0
    accept: Callable[[Record], bool] | None = None
    cursor: int = 0
    _heap: list[tuple[Instant, int, Learn]] = field(default_factory=list)
    _order: count[int] = field(default_factory=count)

    def run(self) -> Life:
        machine = StreamMachine(self.policy, resume=self.resume, seed=1)
        self.checker.begin(self.policy, self.resume)
        low = -1 if self.resume is None or self.resume.sequence is None else self.resume.sequence
        self.cursor = sum(int(record.sequence) <= int(low) for record in self.world.records)
        trace: list[tuple[Instant, Fact, list[Command]]] = []
        fact: Fact = Started()
        for _ in range(STEPS_MAX):
            commands = machine.handle(fact, self.now)
            trace.append((self.now, fact, commands))
            for command in commands:
                self.checker.command(command, self.now)
                self._perform(command)
            if machine.finished:
                return Life(self.now, self.checker.stored, True, trace)
            fact = self._next(machine.deadline())
            crash_at = self.world.crash_at
            if crash_at is not None and self.now >= crash_at:
                return Life(self.now, self.checker.stored, False, trace)
        raise AssertionError("does not drain")

    def _next(self, deadline: Instant | None) -> Fact:
        stop_at = self.world.stop_at
        times = [at for at in (deadline, stop_at) if at is not None]
        if self._heap and all(self._heap[0][0] <= at for at in times):
            at, _, learn = heapq.heappop(self._heap)
            self.now = max(self.now, at)
            return learn(self.now)
        assert times, "stuck: nothing in flight and no deadline"
        self.now = max(self.now, min(times))
        if stop_at is not None and stop_at <= self.now:
            self.world.stop_at = None
            return Stopping(until=self.now + 60.0)
        return Ticked()

    def _after(self, wait: Seconds, learn: Learn) -> None:
        heapq.heappush(self._heap, (self.now + wait, next(self._order), learn))

    def _perform(self, command: Command) -> None:
        world, checker = self.world, self.checker
        match command:
            case Fetch(limit):
                asked_at = self.now
                self._after(
                    world.between(world.read_latency), lambda now: self._read(limit, asked_at)
                )
            case Invoke(batch, window):

                def invoked(now: Instant) -> Fact:
                    outcome = world.answer(batch, window)
                    checker.invoked(batch, outcome, now)
                    return Invoked(batch.id, outcome)

                self._after(world.between(world.run_latency), invoked)
            case Deliver(discard):

                def delivered(now: Instant) -> Fact:
                    checker.delivered(discard, now)
                    return Delivered(discard.batch.id, Fate.SENT)

                self._after(world.between(world.read_latency), delivered)
            case Checkpoint(position):

                def saved(now: Instant) -> Fact:
                    checker.saved(position)
                    return Checkpointed()

                self._after(world.between(world.read_latency), saved)
            case Finish():
                pass

    def _read(self, limit: int, asked_at: Instant) -> Fact:
        world = self.world
        if world.random.random() < world.read_failures or world.is_out(self.now):
            self.checker.fetch_failed(self.now)
            return FetchFailed("the stream is throttled")
        page = world.records[self.cursor : self.cursor + limit]
        records = list(takewhile(lambda record: record.readable_at <= asked_at, page))
        for record in world.records[self.cursor + len(records) :]:
            if not records or record.sequence != records[-1].sequence:
                break
            records.append(record)  # aggregates come whole, whatever the limit
        self.cursor += len(records)
        accept = self.accept
        filtered = [i for i, record in enumerate(records) if accept and not accept(record)]
        for index in filtered:
            self.checker.ignored(records[index].index)
        caught_up = len(records) < limit
        fact = Fetched(
            records,
            size=sum(record.size for record in records),
            asked_at=asked_at,
            read_up_to=asked_at if caught_up and world.tells_reach else self._last_arrival(),
            shard_ended=world.ends and self.cursor == len(world.records),
            filtered=frozenset(filtered),
        )
        self.checker.fetched(fact, self.now)
        return fact

    def _last_arrival(self) -> Instant:
        read = self.world.records[: self.cursor]
        return read[-1].arrived_at if read else BEGINNING
