"""Lives of the events of one function: a world of virtual time that crashes, and what must hold.

The world keeps what the store would: each event as it was noted last.  A crash loses what is under
way and what the machine knows; a new machine goes on from the store.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count, pairwise

from poller.core.event_steps import (
    DeliverEvent,
    EventAccepted,
    EventCommand,
    EventDelivered,
    EventFact,
    EventInvoked,
    EventNoted,
    EventRemoved,
    EventResult,
    EventsLoaded,
    InvokeEvent,
    LoadEvents,
    NoteEvent,
    QueuedEvent,
    RemoveEvent,
)
from poller.core.invocations import (
    DELIVERIES_MAX,
    LAST_TRY_BEFORE,
    REFUSAL_WAIT_MAX,
    REFUSAL_WAIT_MIN,
    EventMachine,
)
from poller.core.model import Failed, Instant, Refused, Seconds, Succeeded
from poller.core.policy import EventPolicy
from poller.core.steps import Finish, Started, Stopping, Ticked

STEPS_MAX = 100_000

Outcome = Succeeded | Failed | Refused
Behaviour = Callable[[QueuedEvent, random.Random], Outcome]


@dataclass(slots=True)
class Attempt:
    """One invocation: of the event as it was, when it began and ended, and how."""

    event: QueuedEvent
    began: Instant
    ended: Instant
    outcome: Outcome


@dataclass(slots=True)
class EventWorld:
    """`takes`: how long a command takes at most; `deliveries_take`: longer, by so much.
    `crash_chance`: at each answer.  `saw` is told of every step."""

    policy: EventPolicy
    behaviour: Behaviour
    rng: random.Random
    takes: Seconds = 0.0
    deliveries_take: Seconds = 0.0
    saw: Callable[[EventFact, list[EventCommand], Instant], None] = lambda fact, commands, now: None
    crash_chance: float = 0.0
    now: Instant = 1_000_000.0
    stored: dict[int, QueuedEvent] = field(default_factory=dict)
    attempts: dict[int, list[Attempt]] = field(default_factory=dict)
    told: dict[int, list[QueuedEvent]] = field(default_factory=dict)
    ended: dict[int, QueuedEvent] = field(default_factory=dict)
    ended_at: dict[int, Instant] = field(default_factory=dict)
    crashed: set[int] = field(default_factory=set)
    _ids: count[int] = field(default_factory=lambda: count(1))
    _heap: list[tuple[Instant, int, bool, Callable[[], EventFact]]] = field(default_factory=list)
    _order: count[int] = field(default_factory=count)
    _under_way: set[int] = field(default_factory=set)
    _running: int = 0
    _loads: int = 0
    _wanted: dict[int, Instant] = field(default_factory=dict)  # when accepted events come

    def accept_at(self, instant: Instant) -> int:
        """An event that will be accepted then."""
        id = next(self._ids)
        self._wanted[id] = instant
        return id

    def live(self, *, stop_at: Instant = float("inf")) -> bool:
        """One life, until all is settled, stopped or crashed; whether it did not crash."""
        machine = EventMachine(self.policy)
        self._heap, self._under_way, self._running, self._loads = [], set(), 0, 0
        for id, instant in sorted(self._wanted.items()):
            self._push(max(instant, self.now), lambda id=id: self._accepted(id))  # type: ignore[misc]
        if stop_at < float("inf"):
            self._push(stop_at, lambda: Stopping(stop_at))
        self._push(self.now, Started)
        for _ in range(STEPS_MAX):
            deadline = machine.deadline()
            if self._heap and (deadline is None or self._heap[0][0] <= deadline):
                self.now, _, _, learn = heapq.heappop(self._heap)
                if self.rng.random() < self.crash_chance:
                    self._crash()
                    return False
                fact = learn()
            elif deadline is not None:
                self.now = max(self.now, deadline)
                fact = Ticked()
            else:
                assert stop_at < float("inf") or not self.stored
                return True
            commands = machine.handle(fact, self.now)
            self.saw(fact, commands, self.now)
            for command in commands:
                if isinstance(command, Finish):
                    assert not self._under_way
                    assert not self._loads
                    return True
                self._carry_out(command)
        raise AssertionError("it goes on for ever")

    def _crash(self) -> None:
        """Nobody hears of what was under way; of what was being written some is durable."""
        self.crashed |= self._under_way
        for _, _, is_write, learn in self._heap:
            if is_write and self.rng.random() < 0.5:
                learn()

    def _accepted(self, id: int) -> EventFact:
        del self._wanted[id]
        self.stored[id] = QueuedEvent(id, f"request-{id}", 2, self.now, self.now)
        self.attempts[id], self.told[id] = [], []
        return EventAccepted()

    def _push(self, at: Instant, learn: Callable[[], EventFact], *, is_write: bool = False) -> None:
        heapq.heappush(self._heap, (at, next(self._order), is_write, learn))

    def _carry_out(self, command: EventCommand) -> None:
        at = self.now + self.rng.uniform(0.0, self.takes)
        match command:
            case LoadEvents():
                # What the store has may change between the question and the answer's arrival.
                answer = self._load(command)
                self._loads += 1
                self._push(at, lambda: self._loaded(answer))
            case InvokeEvent(event):
                self._takes(event)
                self._running += 1
                assert self._running <= self.policy.concurrency_max
                attempt = Attempt(event, self.now, at, self.behaviour(event, self.rng))
                self._push(at, lambda: self._invoked(attempt))
            case NoteEvent(event):
                self._takes(event)
                self._push(at, lambda: self._noted(event), is_write=True)
            case DeliverEvent(event):
                self._takes(event)
                self.told[event.id].append(event)
                at += self.deliveries_take
                self._push(at, lambda: self._released(event, EventDelivered(event.id)))
            case RemoveEvent(event):
                self._takes(event)
                self._push(at, lambda: self._removed(event), is_write=True)
            case Finish():
                raise AssertionError("Finish is answered by nothing")

    def _takes(self, event: QueuedEvent) -> None:
        assert event.id not in self._under_way, "one command for an event at one time"
        assert event.id in self.stored
        self._under_way.add(event.id)
        assert len(self._under_way) <= self.policy.concurrency_max + DELIVERIES_MAX

    def _released(self, event: QueuedEvent, fact: EventFact) -> EventFact:
        self._under_way.remove(event.id)
        return fact

    def _load(self, command: LoadEvents) -> EventsLoaded:
        assert 0 < command.limit <= self.policy.concurrency_max
        assert self._under_way <= command.held
        rest = sorted(
            (event for id, event in self.stored.items() if id not in command.held),
            key=lambda event: (event.due_at, event.id),
        )
        due = [event for event in rest if event.due_at <= command.due_by][: command.limit]
        following = rest[len(due) :]
        return EventsLoaded(due, following[0].due_at if following else None)

    def _loaded(self, answer: EventsLoaded) -> EventFact:
        self._loads -= 1
        return answer

    def _invoked(self, attempt: Attempt) -> EventFact:
        self._running -= 1
        self.attempts[attempt.event.id].append(attempt)
        fact = EventInvoked(attempt.event.id, attempt.outcome)
        return self._released(attempt.event, fact)

    def _noted(self, event: QueuedEvent) -> EventFact:
        self.stored[event.id] = event
        return self._released(event, EventNoted(event.id))

    def _removed(self, event: QueuedEvent) -> EventFact:
        del self.stored[event.id]
        self.ended[event.id], self.ended_at[event.id] = event, self.now
        return self._released(event, EventRemoved(event.id))


def check_waits(world: EventWorld) -> None:
    """No attempt comes earlier than the rule says, and none of an event that is too old."""
    policy = world.policy
    for id, attempts in world.attempts.items():
        if id in world.crashed:
            continue
        refusals = errors = 0
        for before, after in pairwise(attempts):
            waited = after.began - before.ended
            too_old_at = before.event.accepted_at + policy.age_max
            if isinstance(before.outcome, Refused):
                refusals += 1
                rule = min(REFUSAL_WAIT_MAX, REFUSAL_WAIT_MIN * 2 ** (refusals - 1))
                asked = before.outcome.retry_after or 0.0
                is_last = after.began >= too_old_at - LAST_TRY_BEFORE
                assert waited >= (REFUSAL_WAIT_MIN if is_last else max(rule, asked)) - 1e-6
            else:
                errors, refusals = errors + 1, 0
                assert waited >= 60.0 * errors - 1e-6
        assert all(each.began < each.event.accepted_at + policy.age_max for each in attempts)


def check_results(world: EventWorld) -> None:
    """Every event that was accepted ended, as its attempts say, and its result was told."""
    policy = world.policy
    assert not world.stored
    assert world.ended.keys() == world.attempts.keys()
    for id, event in world.ended.items():
        attempts = world.attempts[id]
        ran = [each for each in attempts if not isinstance(each.outcome, Refused)]
        success = event.result is EventResult.SUCCESS
        told = world.told[id]
        assert bool(told) is (policy.tells_success if success else policy.tells_failure)
        assert {each.result for each in told} <= {event.result}
        if id in world.crashed:
            continue
        assert len(told) <= 1
        assert event.attempts == len(ran) <= policy.retries_max + 1
        assert not any(isinstance(each.outcome, Succeeded) for each in attempts[:-1])
        match event.result:
            case EventResult.SUCCESS:
                assert isinstance(attempts[-1].outcome, Succeeded)
            case EventResult.RETRIES_EXHAUSTED:
                assert len(ran) == policy.retries_max + 1
                assert isinstance(attempts[-1].outcome, Failed)
            case EventResult.EVENT_AGE_EXCEEDED:
                assert not attempts or not isinstance(attempts[-1].outcome, Succeeded)
