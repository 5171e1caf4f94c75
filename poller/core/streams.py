"""The stream machine: everything an event source mapping decides about one shard.

    facts in  ->  handle(fact, now)  ->  commands out
                  deadline()         ->  when to send Ticked

Nothing here waits, reads a clock, or raises because something outside failed.  The same machine
runs under the service, the simulator and the property tests.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import count

from . import verdicts
from .lanes import Lane
from .model import (
    BEGINNING,
    EVERYTHING,
    Batch,
    DiscardReason,
    Instant,
    Outcome,
    Position,
    Record,
    Seconds,
    Snapshot,
)
from .policy import StreamPolicy
from .routing import Ahead, lanes_of
from .steps import (
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
    Invoked,
    Started,
    Stopping,
    Ticked,
)
from .watermarks import Watermark
from .windows import windows_of


class StreamMachine:
    """One shard.  A record that matches no filter is settled on arrival."""

    def __init__(
        self,
        policy: StreamPolicy,
        *,
        resume: Position | None = None,
        seed: int = 0,
    ) -> None:
        resume = resume or Position()
        ids = count(1)
        self.finished = False
        self._policy = policy
        self._unsettled_max = policy.unsettled_max
        self._random = random.Random(seed)
        self._windows = windows_of(policy, resume.window)
        self._lanes = [
            Lane(index, policy, lambda: next(ids), None if index else self._windows)
            for index in range(policy.lanes)
        ]
        self._in_flight: dict[int, Lane] = {}
        self._watermark = Watermark(resume)
        self._since = resume.since
        self._ahead = Ahead(resume.ahead)
        self._position = resume  # what is stored, or on its way
        self._settlements = 0
        self._storing: int | None = None  # the settlements that the checkpoint in flight holds
        self._saved = 0
        self._stopping = False
        self._fetching = False
        self._fetch_at: Instant = 0.0
        self._fetch_failures = 0
        self._read_up_to: Instant = BEGINNING
        self._caught_up = False

    def handle(self, fact: Fact, now: Instant) -> list[Command]:
        """Take in one fact, then do everything that can be done at `now`."""
        assert not self.finished
        commands: list[Command] = []
        match fact:
            case Invoked(batch_id, outcome):
                commands += self._invoked(batch_id, outcome, now)
            case Checkpointed():
                assert self._storing is not None
                self._saved, self._storing = self._storing, None
            case Fetched():
                self._fetched(fact, now)
            case FetchFailed():
                self._fetch_failed(fact, now)
            case Delivered(batch_id):
                lane = self._in_flight.pop(batch_id)
                assert lane.busy is not None
                self._settle(lane, len(lane.busy.records), now)
            case Stopping():
                self._stopping = True
            case Started() | Ticked():
                pass
        lows = [low for lane in self._lanes if (low := lane.lowest()) is not None]
        self._watermark.advance(min(lows, default=self._watermark.next))
        commands += self._store()
        commands += self._run_lanes(now)
        commands += self._read(now)
        commands += self._finish()
        return commands

    def deadline(self) -> Instant | None:
        """When this machine next wants a Ticked, if no fact comes first."""
        if self.finished or self._stopping:
            return None
        flush = self._nothing_can_join()
        waits = [lane.deadline(saved=self._saved, flush=flush) for lane in self._lanes]
        waits.append(self._fetch_at if self._wants_records() else None)
        return min((wait for wait in waits if wait is not None), default=None)

    @property
    def unsettled_bytes(self) -> int:
        """What this machine holds in memory, roughly."""
        if self._windows is not None:
            return self._watermark.bytes + len(self._windows.state)
        return self._watermark.bytes

    def snapshot(self) -> Snapshot:
        oldest = self._watermark.oldest()
        is_open = self._windows is not None and self._windows.open is not None
        return Snapshot(
            unsettled=self._watermark.unsettled,
            unsettled_bytes=self._watermark.bytes,
            in_flight=len(self._in_flight),
            read_up_to=self._read_up_to if self._read_up_to > BEGINNING else None,
            oldest=None if oldest is None else oldest.arrived_at,
            blocked=next((lane.blocked for lane in self._lanes if lane.blocked), None),
            caught_up=self._caught_up and oldest is None and not is_open,
        )

    # What a fact changes.

    def _fetched(self, fact: Fetched, now: Instant) -> None:
        self._fetching, self._fetch_failures = False, 0
        self._read_up_to = EVERYTHING if fact.shard_ended else fact.read_up_to
        self._caught_up = fact.read_up_to >= fact.asked_at or fact.shard_ended
        if fact.records or not self._caught_up:
            self._fetch_at = now
        else:
            self._fetch_at = fact.asked_at + self._policy.poll_interval
        if self._windows is not None:
            self._windows.fetched(fact)
        ordinals: Sequence[int] = self._watermark.track(fact.records, fact.size)
        first = len(fact.records) - len(ordinals)
        records = fact.records[first:] if ordinals else ()
        if fact.filtered:
            kept = [at for at in range(len(records)) if first + at not in fact.filtered]
            records, ordinals = [records[at] for at in kept], [ordinals[at] for at in kept]
        if len(self._lanes) == 1 and not self._ahead:
            self._lanes[0].add(records, ordinals, size=fact.size, now=now)
        else:
            self._route(records, ordinals, fact.size, now)

    def _route(
        self, records: Sequence[Record], ordinals: Sequence[int], size: int, now: Instant
    ) -> None:
        """Sort records into lanes; those done before a restart are settled."""
        parts: list[tuple[list[Record], list[int]]] = [([], []) for _ in self._lanes]
        lanes = lanes_of(records, len(parts))
        for record, ordinal, lane in zip(records, ordinals, lanes, strict=True):
            if self._ahead and self._ahead.covers(record):
                continue
            routed, places = parts[lane]
            routed.append(record)
            places.append(ordinal)
        # What all records take together bounds each lane's part, and costs nothing to know.
        is_bound = size <= self._policy.batch_bytes_max
        for target, (routed, places) in zip(self._lanes, parts, strict=True):
            bound = size if is_bound else sum(record.size for record in routed)
            target.add(routed, places, size=bound, now=now)

    def _fetch_failed(self, fact: FetchFailed, now: Instant) -> None:
        self._fetching, self._caught_up = False, False
        if self._windows is not None:
            self._windows.fetch_failed()
        self._fetch_failures += 1
        self._fetch_at = now + self._wait(fact.retry_after, self._fetch_failures)

    def _invoked(self, batch_id: int, outcome: Outcome, now: Instant) -> Iterator[Command]:
        lane = self._in_flight.pop(batch_id)
        assert lane.busy is not None
        verdict = verdicts.judge(lane.busy, outcome, self._policy)
        if not lane.busy.records and not verdict.again:
            self._settlements += 1
            lane.close_window(now, settlement=self._settlements)
            return
        self._settle(lane, verdict.settled, now, verdict.state)
        why = verdict.give_up
        if why is DiscardReason.RECORD_TOO_LARGE and lane.leaves_room():
            why = None
        if why is not None:
            (batch,) = verdict.again
            yield self._deliver(lane, batch, why, outcome)
        elif verdict.again:
            wait = self._wait(verdict.retry_after, verdict.again[0].attempts)
            lane.retry(verdict.again, outcome, why=verdicts.reason(outcome), at=now + wait)

    def _wait(self, asked: Seconds | None, attempts: int) -> Seconds:
        return verdicts.pause(asked, attempts, self._policy, self._random.random())

    def _deliver(self, lane: Lane, batch: Batch, why: DiscardReason, outcome: Outcome) -> Deliver:
        self._in_flight[batch.id] = lane
        return lane.give_up(batch, why, outcome)

    def _settle(self, lane: Lane, records: int, now: Instant, state: bytes | None = None) -> None:
        if records:
            self._settlements += 1
        lane.settle(records, now, settlement=self._settlements, state=state)

    # What can be done now.

    def _store(self) -> list[Command]:
        moved = self._watermark.sequence != self._position.sequence
        if self._storing is not None or not (
            moved or self._settlements != self._saved or self._drained()
        ):
            return []
        position = self._where()
        if moved or position != self._position:
            self._storing, self._position = self._settlements, position
            return [Checkpoint(position)]
        self._saved = self._settlements
        return []

    def _where(self) -> Position:
        sequence = self._watermark.sequence
        if self._ahead and self._ahead.passed_by(sequence):
            self._ahead = Ahead(())
        ahead = self._position.ahead
        if len(self._lanes) > 1 or self._ahead:
            ahead = self._ahead.with_marks([lane.mark for lane in self._lanes], sequence)
        elif ahead:
            ahead = ()
        begun = self._watermark.begun
        window = None if self._windows is None else self._windows.latest
        return Position(sequence, self._since, ahead, self._drained(), begun, window)

    def _run_lanes(self, now: Instant) -> Iterator[Command]:
        if self._stopping:
            return
        flush = self._nothing_can_join()
        for lane in [lane for lane in self._lanes if lane.busy is None]:
            command = lane.next(now, saved=self._saved, flush=flush)
            if command is not None:
                assert lane.busy is not None
                self._in_flight[lane.busy.id] = lane
                yield command

    def _read(self, now: Instant) -> list[Command]:
        if not self._wants_records() or now < self._fetch_at:
            return []
        self._fetching = True
        room = self._unsettled_max - self._watermark.unsettled
        return [Fetch(min(self._policy.fetch_max, room))]

    def _finish(self) -> list[Command]:
        if self._fetching or self._storing is not None or self._in_flight:
            return []
        self.finished = self._stopping or self._drained()
        return [Finish(shard_ended=self._drained())] if self.finished else []

    # Small questions.

    def _drained(self) -> bool:
        return self._read_up_to == EVERYTHING and all(lane.drained for lane in self._lanes)

    def _nothing_can_join(self) -> bool:
        """The shard has ended, or what is unsettled leaves no room to read."""
        return self._read_up_to == EVERYTHING or (not self._fetching and not self._has_room())

    def _has_room(self) -> bool:
        mark = self._watermark
        is_few = mark.next - mark.low < self._unsettled_max
        return is_few and mark.bytes < self._policy.unsettled_bytes_max

    def _wants_records(self) -> bool:
        if self._fetching or self._stopping or self._read_up_to == EVERYTHING:
            return False
        return self._has_room() and any(lane.hungry for lane in self._lanes)
