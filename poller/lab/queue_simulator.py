"""Runs a queue machine in virtual time against a made-up queue, and judges every command.

Never a message run with a dead receipt or in two batches at once, FIFO order within a group, no
more at a time than allowed, nothing received while the function refuses, every message deleted
only after it ran, a heartbeat that keeps messages hidden while they run.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from poller.core.model import (
    BEGINNING,
    Instant,
    MessageBatch,
    Outcome,
    PartlyFailed,
    Refused,
    Seconds,
    Succeeded,
    TooLarge,
)
from poller.core.policy import QueuePolicy
from poller.core.queues import QueueMachine
from poller.core.steps import (
    Delete,
    Deleted,
    Extend,
    Extended,
    Finish,
    Invoked,
    InvokeMessages,
    QueueCommand,
    QueueFact,
    Receive,
    Received,
    ReceiveFailed,
    Release,
    Released,
    Started,
    Stopping,
    Ticked,
)

from .queue_limits import QueueLimits
from .world import MadeMessage, MadeQueue

STEPS_MAX = 200_000
HIDDEN_MAX: Seconds = 12 * 60 * 60.0

Learn = Callable[[Instant], QueueFact]


@dataclass(slots=True)
class QueueSimulation:
    """One life of a queue machine; it stops at `stop_at`, or once the queue is empty.

    `capacity`: how many invocations the function takes at one time, `takes`: how many messages.
    `extend_failures`: the share of extensions that fail; all of them if they are not permitted.
    """

    policy: QueuePolicy
    queue: MadeQueue
    outcome: Callable[[MessageBatch, random.Random], Outcome]
    random: random.Random
    run_latency: tuple[Seconds, Seconds] = (0.1, 5.0)
    receive_latency: tuple[Seconds, Seconds] = (0.05, 1.0)
    receive_failures: float = 0.0
    extend_failures: float = 0.0
    extend_permitted: bool = True
    capacity: int | None = None
    takes: int | None = None
    message_size: int = 10
    stop_at: Instant | None = None
    accept: Callable[[MadeMessage], bool] | None = None
    now: Instant = 0.0
    peak: int = 0
    ran: list[tuple[Instant, MadeMessage]] = field(default_factory=list)
    running: dict[int, MessageBatch] = field(default_factory=dict)
    refusing: set[int] = field(default_factory=set)
    released: set[int] = field(default_factory=set)
    limits: QueueLimits = field(init=False)
    _asked: int = 0
    _held: set[str] = field(default_factory=set)  # received, and not run yet
    _receive_failed_at: Instant = BEGINNING
    _may_delete: set[int] = field(default_factory=set)
    _heap: list[tuple[Instant, int, Learn]] = field(default_factory=list)
    _order: count[int] = field(default_factory=count)
    _stopping: bool = False

    def run(self) -> None:
        machine = QueueMachine(self.policy, seed=1)
        self.limits = QueueLimits(self.policy)
        fact: QueueFact = Started()
        for _ in range(STEPS_MAX):
            commands = machine.handle(fact, self.now)
            shot = machine.snapshot()
            assert shot.slots is not None
            self.limits.allows(shot.slots, shot.pollers, self.now)
            if isinstance(fact, Invoked) and fact.batch_id not in machine.running:
                self._left(fact)
            for command in commands:
                self._perform(command)
            if machine.finished:
                assert not self._heap, "finished with commands unanswered"
                return
            fact = self._next(machine.deadline())
        raise AssertionError("does not drain")

    def _left(self, fact: Invoked) -> None:
        """A batch that was refused and is not tried again must have had no time left for that."""
        if not isinstance(fact.outcome, Refused):
            return
        batch = self.running.pop(fact.batch_id)
        self.refusing.discard(batch.id)
        policy = self.policy
        wait = max(fact.outcome.retry_after or 0.0, policy.backoff_min * 2.0**batch.attempts)
        late = self.now + wait + policy.run_time_max > batch.expires_at
        assert late or self._stopping, "gave up a batch that could be tried again"

    def _next(self, deadline: Instant | None) -> QueueFact:
        empty = len(self.queue.deleted) == len(self.queue.groups)
        if not self._stopping and (empty or self.now >= (self.stop_at or 1e12)):
            self._stopping = True
            return Stopping(until=self.now + 40.0)
        if self._heap and (deadline is None or self._heap[0][0] <= deadline):
            at, _, learn = heapq.heappop(self._heap)
            self.now = max(self.now, at)
            return learn(self.now)
        assert deadline is not None, "stuck: nothing in flight and no deadline"
        self.now = max(self.now, deadline)
        return Ticked()

    def _after(self, wait: Seconds, learn: Learn) -> None:
        heapq.heappush(self._heap, (self.now + wait, next(self._order), learn))

    def _perform(self, command: QueueCommand) -> None:
        match command:
            case Receive(limit):
                assert not self._stopping, "receives while stopping"
                assert not self.refusing, "receives while the function refuses"
                assert 0 < limit <= 10
                assert not self.policy.fifo or limit <= self.policy.batch_size
                pause = self.now - self._receive_failed_at
                assert pause >= self.policy.backoff_min / 2, "receives again without backing off"
                self._asked += limit
                self._has_room()
                self.limits.receives(self.now)
                latency = self.random.uniform(*self.receive_latency)
                self._after(latency, lambda now: self._receive(limit, now))
            case InvokeMessages(batch):
                self._invoke(batch)
            case Delete(messages):
                indexes = {message.index for message in messages}  # type: ignore[attr-defined]
                assert indexes <= self._may_delete, "deletes what did not run"
                self._after(0.05, lambda now: self._deleted(indexes))
            case Release(messages):
                assert self._stopping
                made: list[MadeMessage] = list(messages)  # type: ignore[arg-type]
                self._give_back(made)
                self._after(0.05, lambda now: self._released(made))
            case Extend(batch, seconds):
                self._extend(batch, seconds)
            case Finish():
                assert not self.running, "finished with batches in flight"

    def _has_room(self) -> None:
        """No more is asked for than free slots could take.

        That is only known where their number is fixed and no message is ever forgotten.
        """
        policy = self.policy
        if policy.concurrency_start == policy.concurrency_max and self.queue.visibility > 1e6:
            free = (policy.concurrency_max - len(self.running)) * policy.batch_size
            assert self._asked + len(self._held) <= free, "receives what cannot be invoked soon"

    def _receive(self, limit: int, now: Instant) -> QueueFact:
        self._asked -= limit
        if self.random.random() < self.receive_failures:
            self._receive_failed_at = now
            self.limits.received(0, now)
            return ReceiveFailed("throttled", limit)
        messages = self.queue.receive(limit, now, self.message_size)
        accept = self.accept
        filtered = frozenset(i for i, m in enumerate(messages) if accept and not accept(m))
        self._held |= {m.id for i, m in enumerate(messages) if i not in filtered}
        self._may_delete |= {messages[index].index for index in filtered}
        size = self.message_size * len(messages)
        self.limits.received(size, now)
        return Received(messages, size, limit, now + self.queue.visibility, filtered)

    def _invoke(self, batch: MessageBatch) -> None:
        policy = self.policy
        made: list[MadeMessage] = list(batch.messages)  # type: ignore[arg-type]
        assert 0 < len(made) <= policy.batch_size
        assert len(made) == 1 or sum(m.size for m in made) <= policy.batch_bytes_max
        busy = {m.id: b.id for b in self.running.values() for m in b.messages}
        groups = {m.group for b in self.running.values() for m in b.messages if b.id != batch.id}
        for message in made:
            assert batch.expires_at > self.now, "runs with a dead receipt"
            assert self.queue.is_mine(message), "runs a message that others have received since"
            alone = busy.get(message.id, batch.id) == batch.id
            assert alone or not self._hides_reliably(), "a message in two batches"
            assert not policy.fifo or message.group not in groups, "a group in two batches"
        if policy.fifo:
            self._in_order(made)
        if not batch.attempts:
            self.limits.handed(len(made), self.now)
        elif not policy.heartbeat:
            ends_at = self.now + policy.run_time_max
            assert ends_at <= batch.expires_at + 1e-6, "retried too late"
        self.refusing.discard(batch.id)
        self.running[batch.id] = batch
        self._held -= {message.id for message in made}
        self.peak = max(self.peak, len(self.running))
        self.limits.runs(len(self.running))
        unreached = self._unreached(batch)
        latency = 0.01 if unreached else self.random.uniform(*self.run_latency)
        self._after(latency, lambda now: self._ended(batch, unreached, now))

    def _unreached(self, batch: MessageBatch) -> Refused | TooLarge | None:
        """Why this invocation does not reach the function, if it does not."""
        takes = self.takes or len(batch.messages)
        if len(batch.messages) > takes:
            return TooLarge("more than it takes")
        running = sum(len(b.messages) <= takes for b in self.running.values()) - len(self.refusing)
        return Refused("at its capacity") if running > (self.capacity or running) else None

    def _in_order(self, made: list[MadeMessage]) -> None:
        """Nothing of a group runs before everything older of it is deleted or with it."""
        inside = {message.index for message in made}
        for message in made:
            assert self.queue.older(message) <= self._may_delete | inside, "group order"
        for group in {m.group for m in made}:
            indexes = [m.index for m in made if m.group == group]
            assert indexes == sorted(indexes)

    def _ended(self, batch: MessageBatch, unreached: Outcome | None, now: Instant) -> QueueFact:
        outcome = unreached or self.outcome(batch, self.random)
        made: list[MadeMessage] = list(batch.messages)  # type: ignore[arg-type]
        if self.policy.heartbeat and self._hides_reliably():
            assert all(self.queue.hides(m, now) for m in made), "ran for longer than it was hidden"
        if isinstance(outcome, Refused):
            self.refusing.add(batch.id)
            return Invoked(batch.id, outcome)
        del self.running[batch.id]
        if isinstance(outcome, TooLarge):
            self._held |= {message.id for message in made} if len(made) > 1 else set()
            return Invoked(batch.id, outcome)
        self.ran += [(now, message) for message in made]
        failed: frozenset[int] = frozenset(range(len(made)))
        if isinstance(outcome, Succeeded):
            failed = frozenset()
        elif isinstance(outcome, PartlyFailed):
            failed = outcome.failed
        self._may_delete |= {m.index for i, m in enumerate(made) if i not in failed}
        return Invoked(batch.id, outcome)

    def _extend(self, batch: MessageBatch, seconds: int) -> None:
        made: list[MadeMessage] = list(batch.messages)  # type: ignore[arg-type]
        assert self.policy.heartbeat
        assert batch.id in self.running.keys() - self.refusing, "hides what does not run"
        assert seconds > 0
        until = self.now + seconds
        received_at = self.queue.received_at
        assert all(until <= received_at[m.index] + HIDDEN_MAX for m in made), "SQS refuses that"
        failed = not self.extend_permitted or self.random.random() < self.extend_failures
        if failed:
            fact = Extended(batch.id, None, permitted=self.extend_permitted)
        else:
            done = [self.queue.extend(m, until, self.now) for m in made]
            fact = Extended(batch.id, until if any(done) else None)
        self._after(self.random.uniform(0.01, 0.2), lambda now: fact)

    def _hides_reliably(self) -> bool:
        """Whether no message comes again while it runs, for want of a heartbeat."""
        return self.extend_permitted and not self.extend_failures

    def _deleted(self, indexes: set[int]) -> QueueFact:
        self.queue.deleted |= indexes
        return Deleted(len(indexes))

    def _give_back(self, messages: list[MadeMessage]) -> None:
        """Batches of these no longer take a slot."""
        given = {message.id for message in messages}
        self.running = {
            key: batch
            for key, batch in self.running.items()
            if given.isdisjoint(message.id for message in batch.messages)
        }

    def _released(self, messages: list[MadeMessage]) -> QueueFact:
        for message in messages:
            self.released.add(message.index)
            self.queue.hidden_until[message.index] = self.now
        return Released()
