"""The batches that have a slot: they run, or the function refused them and they wait to run again.

A refused batch keeps its slot, so that nothing is received in its place (spec 8.3).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from .heartbeats import Heartbeats
from .model import Instant, MessageBatch, Seconds
from .policy import QueuePolicy
from .steps import Extend, Extended

PROMPT: Seconds = 1.0  # a batch formed this soon after its receive is always invoked


@dataclass(slots=True)
class _Refusal:
    """`patient`: the function said itself when to try again."""

    again_at: Instant
    why: str
    patient: bool


class RunningBatches:
    """`refusing`: some were refused and have not run since."""

    def __init__(self, policy: QueuePolicy) -> None:
        self._policy = policy
        self._batches: dict[int, MessageBatch] = {}
        self._refused: dict[int, _Refusal] = {}
        self._tried: set[int] = set()
        self._beats = Heartbeats(wanted=policy.heartbeat)

    def __len__(self) -> int:
        return len(self._batches)

    def __contains__(self, batch_id: int) -> bool:
        return batch_id in self._batches

    def __getitem__(self, batch_id: int) -> MessageBatch:
        return self._batches[batch_id]

    @property
    def refusing(self) -> bool:
        return bool(self._tried)

    @property
    def in_flight(self) -> int:
        """How many run, as far as is known."""
        return len(self._batches) - len(self._refused)

    @property
    def messages(self) -> int:
        return sum(len(batch.messages) for batch in self._batches.values())

    @property
    def blocked(self) -> str | None:
        """Why one of them was refused that waits."""
        return next((refusal.why for refusal in self._refused.values()), None)

    @property
    def unanswered(self) -> int:
        """Extend commands that are under way."""
        return self._beats.unanswered

    def groups(self) -> set[str | None]:
        return {m.group for batch in self._batches.values() for m in batch.messages}

    def time_needed(self) -> Seconds:
        """How long messages must still be hidden for a run that does not begin promptly."""
        return PROMPT if self._beats.working else self._policy.run_time_max

    def deadline(self) -> Instant | None:
        if not (self._refused or self._beats.working):
            return None
        waits = [refusal.again_at for refusal in self._refused.values()]
        extends_at = self._beats.deadline()
        if extends_at is not None:
            waits.append(extends_at)
        return min(waits, default=None)

    def start(self, batch: MessageBatch, now: Instant) -> None:
        """It runs for the first time, its messages being hidden since they came."""
        self._batches[batch.id] = batch
        self._beats.began(batch, now)

    def ran(self, batch_id: int, now: Instant) -> None:
        """The function is done with it, and may have room for one that it refused."""
        self.leave(batch_id)
        for refusal in self._refused.values():
            if not refusal.patient:
                refusal.again_at = now
                break

    def leave(self, batch_id: int) -> None:
        """It does not run any more, and gives its slot away."""
        del self._batches[batch_id]
        self._refused.pop(batch_id, None)
        self._tried.discard(batch_id)
        self._beats.ended(batch_id)

    def hold(self, batch_id: int, *, again_at: Instant, why: str, patient: bool) -> bool:
        """It waits to be tried again; False if its messages will not be hidden long enough."""
        batch = self._batches[batch_id]
        if again_at + self.time_needed() > batch.expires_at:
            return False
        self._batches[batch_id] = replace(batch, attempts=batch.attempts + 1)
        self._refused[batch_id] = _Refusal(again_at, why, patient)
        self._tried.add(batch_id)
        self._beats.rests(batch_id)
        return True

    def again(self, now: Instant) -> Iterator[MessageBatch]:
        """The batches to try again now."""
        for batch_id in [key for key, each in self._refused.items() if each.again_at <= now]:
            del self._refused[batch_id]
            self._beats.goes_on(self._batches[batch_id], now)
            yield self._batches[batch_id]

    def refused(self) -> list[MessageBatch]:
        """The batches that wait to be tried again."""
        return [self._batches[batch_id] for batch_id in self._refused]

    def extensions(self, now: Instant) -> Sequence[Extend]:
        """What is to be hidden for longer, now."""
        if not self._beats.working:
            return ()
        batches = [self._batches[batch_id] for batch_id in self._beats.due(now)]
        return [Extend(batch, self._beats.seconds(batch, now)) for batch in batches]

    def extended(self, fact: Extended, now: Instant) -> None:
        self._beats.answered(permitted=fact.permitted)
        batch = self._batches.get(fact.batch_id)
        if batch is None:
            return
        if fact.expires_at is not None:
            batch = self._batches[batch.id] = replace(batch, expires_at=fact.expires_at)
        if batch.id not in self._refused:
            self._beats.goes_on(batch, now)
