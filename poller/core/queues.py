"""The queue machine: everything an event source mapping decides about one SQS queue.

Same contract as the stream machine, other bookkeeping: there is no position to store.  A message
is settled by deleting it; whatever is not deleted comes back by itself when its visibility timeout
ends, and the queue's own redrive policy counts the attempts.  So this machine never bisects or
discards, and it retries only invocations that never reached the function (spec 8.3).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count

from .batches import Taken
from .model import (
    Failed,
    Instant,
    Message,
    MessageBatch,
    Outcome,
    PartlyFailed,
    Refused,
    Seconds,
    Snapshot,
    Succeeded,
)
from .policy import QueuePolicy
from .receiving import Receiving
from .scaling import ConcurrencyLimit
from .steps import (
    Delete,
    Deleted,
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
from .verdicts import pause
from .waiting import waiting_messages

PROMPT: Seconds = 1.0  # a batch formed this soon after its receive is always invoked


class QueueMachine:
    """One queue.  A message that matches no filter is deleted on arrival."""

    def __init__(self, policy: QueuePolicy, *, seed: int = 0) -> None:
        self.finished = False
        self._policy = policy
        self._random = random.Random(seed)
        self._ids = count(1)
        self._waiting = waiting_messages(policy)
        self._running: dict[int, MessageBatch] = {}  # every taken slot, refused ones included
        self._refused: dict[int, tuple[Instant, str]] = {}  # when to try again, and why
        self._tried: set[int] = set()  # batches that were refused and have not run since
        self._limit = ConcurrencyLimit(policy)
        self._receiving = Receiving(policy)
        self._cleaning = 0  # deletions and releases in flight
        self._stop_by: Instant | None = None
        self._last_asked_empty = False

    def handle(self, fact: QueueFact, now: Instant) -> list[QueueCommand]:
        """Take in one fact, then do everything that can be done at `now`."""
        assert not self.finished
        commands: list[QueueCommand] = []
        match fact:
            case Invoked(batch_id, outcome):
                commands += self._invoked(batch_id, outcome, now)
            case Received():
                commands += self._received(fact, now)
            case Deleted() | Released():
                self._cleaning -= 1
            case ReceiveFailed():
                self._receive_failed(fact, now)
            case Stopping(until):
                self._stop_by = until
            case Started() | Ticked():
                pass
        commands += self._retry(now)
        commands += self._run(now)
        commands += self._receive(now)
        commands += self._give_back(now)
        commands += self._finish()
        return commands

    def deadline(self) -> Instant | None:
        """When this machine next wants a Ticked, if no fact comes first."""
        if self.finished:
            return None
        waits: list[Instant | None] = [at for at, _ in self._refused.values()]
        if self._stop_by is not None:
            waits.append(self._last_start() if self._waiting else None)
            return min((wait for wait in waits if wait is not None), default=None)
        if len(self._running) < self._limit.now:
            waits.append(self._waiting.due_at())
            waits.append(None if self._tried else self._receiving.deadline(self._room()))
        else:
            waits.append(self._limit.deadline())
        return min((wait for wait in waits if wait is not None), default=None)

    def snapshot(self) -> Snapshot:
        running = sum(len(batch.messages) for batch in self._running.values())
        return Snapshot(
            unsettled=running + len(self._waiting),
            unsettled_bytes=0,
            in_flight=len(self._running) - len(self._refused),
            read_up_to=None,
            oldest=None,
            blocked=next((why for _, why in self._refused.values()), None),
            caught_up=self._last_asked_empty and not (self._running or self._waiting),
        )

    # What a fact changes.

    def _received(self, fact: Received, now: Instant) -> Iterator[QueueCommand]:
        self._receiving.answered(fact.limit, count=len(fact.messages))
        self._last_asked_empty = not fact.messages
        messages: Sequence[Message] = fact.messages
        if fact.filtered:
            messages = [m for i, m in enumerate(fact.messages) if i not in fact.filtered]
            yield from self._delete([fact.messages[index] for index in sorted(fact.filtered)])
        self._waiting.add(messages, size=fact.size, expires_at=fact.expires_at, now=now)

    def _receive_failed(self, fact: ReceiveFailed, now: Instant) -> None:
        self._last_asked_empty = False
        self._receiving.failed(fact.limit, now)
        self._receiving.wait_until(now + self._wait(fact.retry_after, self._receiving.failures))

    def _invoked(self, batch_id: int, outcome: Outcome, now: Instant) -> Iterator[QueueCommand]:
        batch = self._running[batch_id]
        if isinstance(outcome, Refused):
            yield from self._hold(batch, outcome, now)
            return
        del self._running[batch_id]
        self._tried.discard(batch_id)
        match outcome:
            case Succeeded():
                yield from self._delete(batch.messages)
            case PartlyFailed(failed):
                left = [batch.messages[index] for index in sorted(failed)]
                done = [m for index, m in enumerate(batch.messages) if index not in failed]
                yield from self._delete(done)
                self._forget(left)
            case Failed():
                self._forget(batch.messages)

    def _hold(self, batch: MessageBatch, outcome: Refused, now: Instant) -> Iterator[QueueCommand]:
        """A refused batch keeps its slot and waits, as long as a run would still be its own."""
        tried = replace(batch, attempts=batch.attempts + 1)
        again_at = now + self._wait(outcome.retry_after, tried.attempts)
        if self._stop_by is None and again_at + self._policy.run_time_max <= batch.expires_at:
            self._running[batch.id] = tried
            self._tried.add(batch.id)
            self._refused[batch.id] = (again_at, outcome.error)
            return
        del self._running[batch.id]
        self._tried.discard(batch.id)
        if self._stop_by is None:
            self._forget(batch.messages)
        else:
            yield from self._release(batch.messages)

    def _wait(self, asked: Seconds | None, attempts: int) -> Seconds:
        return pause(asked, attempts, self._policy, self._random.random())

    def _forget(self, messages: Sequence[Message]) -> None:
        """The visibility timeout brings these back; what waits behind them comes after them."""
        self._waiting.forget({message.group for message in messages})

    # What can be done now.

    def _delete(self, messages: Sequence[Message]) -> Iterator[QueueCommand]:
        if messages:
            self._cleaning += 1
            yield Delete(messages)

    def _retry(self, now: Instant) -> Iterator[QueueCommand]:
        if self._stop_by is not None:
            for batch_id in self._refused:
                yield from self._release(self._running.pop(batch_id).messages)
            self._tried.difference_update(self._refused)
            self._refused.clear()
        for batch_id in [key for key, (at, _) in self._refused.items() if at <= now]:
            del self._refused[batch_id]
            yield InvokeMessages(self._running[batch_id])

    def _run(self, now: Instant) -> Iterator[QueueCommand]:
        stopping = self._stop_by is not None
        while len(self._running) < self._limit.now and not (stopping and now > self._last_start()):
            locked = self._locked()
            taken = self._waiting.take(now, locked=locked, flush=stopping)
            if taken is None:
                break
            batch = self._batch(taken)
            if self._is_fresh(taken, batch, now):
                self._running[batch.id] = batch
                yield InvokeMessages(batch)
            else:
                self._forget(batch.messages)
        full = len(self._running) >= self._limit.now
        self._limit.observe(saturated=full and not self._tried, now=now)

    def _locked(self) -> set[str | None]:
        if not self._policy.fifo:
            return set()
        return {m.group for batch in self._running.values() for m in batch.messages}

    def _batch(self, taken: Taken[Message, Instant]) -> MessageBatch:
        return MessageBatch(next(self._ids), taken.items, min(taken.places), taken.closed_by)

    def _is_fresh(self, taken: Taken[Message, Instant], batch: MessageBatch, now: Instant) -> bool:
        """A run that outlives the visibility timeout would be repeated elsewhere meanwhile."""
        prompt = now <= taken.added_at + self._policy.batch_window + PROMPT
        needed = 0.0 if prompt else self._policy.run_time_max
        return now + needed < batch.expires_at

    def _receive(self, now: Instant) -> Iterator[QueueCommand]:
        """While the function refuses batches, more messages would only spend their receives."""
        if self._stop_by is None and not self._tried:
            for limit in self._receiving.next_limits(self._room(), now):
                yield Receive(limit)

    def _room(self) -> int:
        """How many messages the free slots could take beyond those that wait."""
        slots = self._limit.now - len(self._running)
        return slots * self._policy.batch_size - len(self._waiting)

    def _give_back(self, now: Instant) -> Iterator[QueueCommand]:
        """When stopping leaves no time to run what waits, let others have it at once."""
        if self._stop_by is not None and self._waiting and now >= self._last_start():
            yield from self._release(self._waiting.take_all())

    def _release(self, messages: Sequence[Message]) -> Iterator[QueueCommand]:
        """Let others have these at once, and what waits behind them, which comes after them."""
        behind = self._waiting.forget({message.group for message in messages})
        self._cleaning += 1
        yield Release([*messages, *behind])

    def _last_start(self) -> Instant:
        """The last moment at which a run would still end before stopping does."""
        assert self._stop_by is not None
        return self._stop_by - self._policy.run_time_max

    def _finish(self) -> Iterator[QueueCommand]:
        idle = not (self._running or self._waiting or self._receiving.open or self._cleaning)
        if self._stop_by is not None and idle:
            self.finished = True
            yield Finish()
