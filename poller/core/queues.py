"""The queue machine: everything an event source mapping decides about one SQS queue.

Same contract as the stream machine, other bookkeeping: there is no position to store.  A message
is settled by deleting it; whatever is not deleted comes back by itself when its visibility timeout
ends, and the queue's own redrive policy counts the attempts.  So this machine never bisects or
discards, and it retries only invocations that never reached the function (spec 8.3), those of a
batch that is too large in two halves.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import count

from .batches import Taken
from .model import (
    BEGINNING,
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
    TooLarge,
)
from .paces import message_pace
from .policy import QueuePolicy
from .receiving import Receiving
from .running import PROMPT, RunningBatches
from .scaling import ConcurrencyLimit
from .steps import (
    Delete,
    Deleted,
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
from .verdicts import pause
from .waiting import waiting_messages


class QueueMachine:
    """One queue.  A message that matches no filter is deleted on arrival.

    `running` is for whoever looks on.
    """

    def __init__(self, policy: QueuePolicy, *, seed: int = 0) -> None:
        self.finished = False
        self._policy = policy
        self._random = random.Random(seed)
        self._ids = count(1)
        self._waiting = waiting_messages(policy)
        self.running = RunningBatches(policy)
        self._limit = ConcurrencyLimit(policy)
        self._pace = message_pace(policy)
        self._receiving = Receiving(policy, self._limit, self._pace)
        self._cleaning = 0  # deletions and releases in flight
        self._stop_by: Instant | None = None
        self._last_asked_empty = False
        self._now: Instant = BEGINNING

    def handle(self, fact: QueueFact, now: Instant) -> list[QueueCommand]:
        """Take in one fact, then do everything that can be done at `now`."""
        assert not self.finished
        self._now = now
        self._limit.pass_time(now)
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
            case Extended():
                self.running.extended(fact, now)
            case Stopping(until):
                self._stop_by = until
            case Started() | Ticked():
                pass
        if self.running.refusing:
            commands += self._retry(now)
        commands += self._run(now)
        commands += self.running.extensions(now)
        commands += self._receive(now)
        commands += self._give_back(now)
        commands += self._finish()
        return commands

    def deadline(self) -> Instant | None:
        """When this machine next wants a Ticked, if no fact comes first."""
        if self.finished:
            return None
        waits = [self.running.deadline()]
        if self._stop_by is not None and self._waiting:
            waits.append(self._last_start())
        if len(self.running) < self._limit.granted:
            waits.append(self._due_at())
        waits += (self._limit.deadline(), self._receive_at())
        return min((wait for wait in waits if wait is not None), default=None)

    def snapshot(self) -> Snapshot:
        return Snapshot(
            unsettled=self.running.messages + len(self._waiting),
            unsettled_bytes=0,
            in_flight=self.running.in_flight,
            read_up_to=None,
            oldest=None,
            blocked=self.running.blocked,
            caught_up=self._last_asked_empty and not (self.running or self._waiting),
            slots=self._limit.slots,
            pollers=self._limit.pollers,
        )

    # What a fact changes.

    def _received(self, fact: Received, now: Instant) -> Iterator[QueueCommand]:
        count, size = len(fact.messages), fact.size
        self._receiving.answered(fact.limit, count=count, size=size, now=now)
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
        batch = self.running[batch_id]
        if isinstance(outcome, Refused):
            yield from self._hold(batch, outcome, now)
            return
        if isinstance(outcome, TooLarge) and len(batch.messages) > 1:
            self.running.leave(batch_id)
            self._waiting.split(batch)
            return
        self.running.ran(batch_id, now)
        match outcome:
            case Succeeded():
                self._limit.succeeded()
                yield from self._delete(batch.messages)
            case PartlyFailed(failed):
                self._limit.succeeded()
                left = [batch.messages[index] for index in sorted(failed)]
                done = [m for index, m in enumerate(batch.messages) if index not in failed]
                yield from self._delete(done)
                self._forget(left)
            case Failed():
                self._limit.failed()
                self._forget(batch.messages)
            case TooLarge():  # alone: as it comes back, the queue's redrive policy counts it
                self._forget(batch.messages)

    def _hold(self, batch: MessageBatch, outcome: Refused, now: Instant) -> Iterator[QueueCommand]:
        """A refused batch keeps its slot and waits, as long as a run would still be its own."""
        self._limit.refused(beside=self.running.in_flight - 1)
        again_at = now + self._wait(outcome.retry_after, batch.attempts + 1)
        stopping, patient = self._stop_by is not None, outcome.retry_after is not None
        if not stopping and self.running.hold(
            batch.id, again_at=again_at, why=outcome.error, patient=patient
        ):
            return
        self.running.leave(batch.id)
        if stopping:
            yield from self._release(batch.messages)
        else:
            self._forget(batch.messages)
            self._receiving.wait_until(again_at)

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
            for batch in self.running.refused():
                self.running.leave(batch.id)
                yield from self._release(batch.messages)
        for batch in self.running.again(now):
            yield InvokeMessages(batch)

    def _run(self, now: Instant) -> Iterator[QueueCommand]:
        stopping = self._stop_by is not None
        while self._waiting and self._may_start(now):
            locked = self.running.groups() if self._policy.fifo else ()
            taken = self._waiting.take(now, locked=locked, flush=stopping)
            if taken is None:
                break
            batch = self._batch(taken)
            if self._is_fresh(batch, now):
                self.running.start(batch, now)
                if self._pace is not None:
                    self._pace.take(len(batch.messages), now)
                yield InvokeMessages(batch)
            else:
                self._forget(batch.messages)
        self._limit.observe(
            running=len(self.running),
            promised=self._receiving.promised(len(self._waiting)),
            refusing=self.running.refusing,
            now=now,
        )

    def _may_start(self, now: Instant) -> bool:
        """Whether there is a slot, the rate allows it, and stopping leaves time for it."""
        if len(self.running) >= self._limit.granted:
            return False
        if self._pace is not None and now < self._pace.free_at:
            return False
        return self._stop_by is None or now <= self._last_start()

    def _due_at(self) -> Instant | None:
        """When the next batch may start, if a slot is free."""
        if self._pace is not None and self._now < self._pace.free_at and self._waiting:
            return self._pace.free_at
        return self._waiting.due_at()

    def _batch(self, taken: Taken[Message, Instant]) -> MessageBatch:
        items, places, closed_by, added_at = taken
        return MessageBatch(next(self._ids), items, min(places), closed_by, since=added_at)

    def _is_fresh(self, batch: MessageBatch, now: Instant) -> bool:
        """A run that outlives the visibility timeout would be repeated elsewhere meanwhile."""
        prompt = now <= batch.since + self._policy.batch_window + PROMPT
        return now + (0.0 if prompt else self.running.time_needed()) < batch.expires_at

    def _receive(self, now: Instant) -> Iterator[QueueCommand]:
        """While the function refuses batches, more messages would only spend their receives."""
        if self._stop_by is None and not self.running.refusing:
            running, waiting = len(self.running), len(self._waiting)
            for limit in self._receiving.next_limits(running=running, waiting=waiting, now=now):
                yield Receive(limit)

    def _receive_at(self) -> Instant | None:
        """When to receive what must wait now."""
        if self._stop_by is not None or self.running.refusing:
            return None
        running, waiting = len(self.running), len(self._waiting)
        return self._receiving.deadline(running=running, waiting=waiting, now=self._now)

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
        open_calls = self._receiving.open or self._cleaning or self.running.unanswered
        if self._stop_by is not None and not (self.running or self._waiting or open_calls):
            self.finished = True
            yield Finish()
