"""Counts everything that happens, once, for whoever shows it: /metrics, the progress, the summary.

    (unit, fact, commands)  ->  Tally.saw  ->  Counts per unit, Histograms per mapping

Here is what each number means (spec 11.1, where AWS has it too):

polled      every record or message read
filtered    those of them that match no filter of their mapping
invoked     records sent to the function, counted again with each retry
failed      records of an invocation that did not wholly succeed, counted when it ended
succeeded   records that an invocation finished with: all of them, those before the first failure
            that a stream's function reported, or those that a queue's function did not report
dropped     records given up for which there is no destination
delivered   records given up whose failure document the destination has
kept        records given up whose failure document waits in the state store
deleted     messages deleted from their queue
retries     invocations of what had been sent before; all others are a batch that closed, but for
            the final ones of tumbling windows, which have no records

This is the hot path: an observation costs a few microseconds whatever the batch holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from poller.core.model import (
    Batch,
    ClosedBy,
    Failed,
    Fate,
    Instant,
    MessageBatch,
    PartlyFailed,
    Refused,
    Seconds,
    Succeeded,
    TooLarge,
)
from poller.core.steps import (
    Checkpointed,
    Deleted,
    Deliver,
    Delivered,
    Fetched,
    FetchFailed,
    Invoke,
    Invoked,
    InvokeMessages,
    Received,
    ReceiveFailed,
    Started,
    Stopping,
)
from poller.interfaces import Failure, Unit

from .counts import Counts, Histograms

# Nothing leaves a living machine silent for longer than the longest function timeout (15 minutes).
UNSEEN_MAX: Seconds = 1800.0
DELETED_SHOWN: Seconds = 300.0  # so that a scrape finds the last counts of a deleted mapping
PRUNE_INTERVAL: Seconds = 60.0

_Running = tuple[Instant, int, bool]  # since when, how many records, whether from a stream


class UnitTally:
    """One unit: its counts, and what is under way so that its end can be counted.

    `iterator_age`: how old the last record of the latest batch was when it was sent; None until
    then, and on queues.
    """

    __slots__ = (
        "_discarded",
        "_running",
        "_stopping",
        "counts",
        "histograms",
        "iterator_age",
        "seen_at",
    )

    def __init__(self, histograms: Histograms, now: Instant) -> None:
        self.counts = Counts()
        self.histograms = histograms
        self.iterator_age: Seconds | None = None
        self.seen_at = now
        self._running: dict[int, _Running] = {}
        self._discarded: dict[int, int] = {}
        self._stopping = False

    @property
    def in_flight(self) -> int:
        """Invocations under way."""
        return len(self._running)

    # Facts.

    def started(self, fact: Started, now: Instant) -> None:
        """A new machine: what an earlier one of this unit had under way ends unseen."""
        self._running.clear()
        self._discarded.clear()
        self._stopping = False

    def stopping(self, fact: Stopping, now: Instant) -> None:
        self._stopping = True

    def fetched(self, fact: Fetched, now: Instant) -> None:
        self.counts.fetches += 1
        self.counts.polled += len(fact.records)
        self.counts.filtered += len(fact.filtered)

    def received(self, fact: Received, now: Instant) -> None:
        self.counts.fetches += 1
        self.counts.polled += len(fact.messages)
        self.counts.filtered += len(fact.filtered)

    def fetch_failed(self, fact: FetchFailed | ReceiveFailed, now: Instant) -> None:
        if not self._stopping:  # then a poll is cut off on purpose
            self.counts.fetch_failures += 1

    def checkpointed(self, fact: Checkpointed, now: Instant) -> None:
        self.counts.checkpoints += 1

    def deleted(self, fact: Deleted, now: Instant) -> None:
        self.counts.deleted += fact.count
        self.counts.delete_failures += fact.failed

    def delivered(self, fact: Delivered, now: Instant) -> None:
        records = self._discarded.pop(fact.batch_id, 0)
        match fact.fate:
            case Fate.SENT:
                self.counts.delivered += records
            case Fate.KEPT:
                self.counts.kept += records
            case Fate.DROPPED:
                self.counts.dropped += records

    def invoked(self, fact: Invoked, now: Instant) -> None:
        running = self._running.pop(fact.batch_id, None)
        if running is None:
            return
        began, size, of_stream = running
        counts = self.counts
        match fact.outcome:
            case Succeeded():
                counts.invocations_succeeded += 1
                counts.succeeded += size
            case PartlyFailed(failed):
                counts.invocations_partly_failed += 1
                counts.failed += size
                # A stream goes on from the first failure, whatever came after it (spec 6.4).
                counts.succeeded += min(failed) if of_stream else size - len(failed)
            case Failed():
                counts.invocations_failed += 1
                counts.failed += size
            case Refused() | TooLarge():
                counts.invocations_refused += 1
                counts.failed += size
                return  # the function did not run, so there is no duration
        counts.invocation_seconds += now - began
        self.histograms.duration.observe(now - began)

    # Commands.

    def invoke(self, command: Invoke, now: Instant) -> None:
        batch = command.batch
        if batch.records:
            self.iterator_age = max(0.0, now - batch.records[-1].arrived_at)
        self._running[batch.id] = (now, len(batch.records), True)
        self._sent(batch, len(batch.records))

    def invoke_messages(self, command: InvokeMessages, now: Instant) -> None:
        batch = command.batch
        self._running[batch.id] = (now, len(batch.messages), False)
        self._sent(batch, len(batch.messages))

    def deliver(self, command: Deliver, now: Instant) -> None:
        batch = command.discard.batch
        self._discarded[batch.id] = len(batch.records)

    def _sent(self, batch: Batch | MessageBatch, size: int) -> None:
        counts = self.counts
        counts.invoked += size
        closed_by = batch.closed_by
        if batch.attempts or closed_by is ClosedBy.RETRY:
            counts.retries += 1
            return
        if not size:
            return
        self.histograms.batch_records.observe(size)
        if closed_by is ClosedBy.COUNT:
            counts.closed_by_count += 1
        elif closed_by is ClosedBy.WINDOW:
            counts.closed_by_window += 1
        elif closed_by is ClosedBy.BYTES:
            counts.closed_by_bytes += 1
        else:
            counts.closed_by_flush += 1


# Facts and commands that are not named here are not counted.
_COUNT: dict[type, Callable[[UnitTally, Any, Instant], None]] = {
    Started: UnitTally.started,
    Stopping: UnitTally.stopping,
    Fetched: UnitTally.fetched,
    FetchFailed: UnitTally.fetch_failed,
    Received: UnitTally.received,
    ReceiveFailed: UnitTally.fetch_failed,
    Invoked: UnitTally.invoked,
    Delivered: UnitTally.delivered,
    Deleted: UnitTally.deleted,
    Checkpointed: UnitTally.checkpointed,
    Invoke: UnitTally.invoke,
    InvokeMessages: UnitTally.invoke_messages,
    Deliver: UnitTally.deliver,
}


class Tally:
    """The Observer that counts.

    Units not seen for `UNSEEN_MAX` leave; their sums stay.  Of deleted mappings nothing stays.
    """

    def __init__(self) -> None:
        self.units: dict[Unit, UnitTally] = {}
        self.histograms: dict[tuple[str, str], Histograms] = {}  # by mapping and function
        self._gone: dict[str, Counts] = {}
        self._deleted: set[str] = set()  # mappings of which something is still here
        self._pruned_at: Instant = 0.0

    def saw(self, unit: Unit, fact: Any, commands: Sequence[Any], now: Instant) -> None:
        tally = self._of(unit, now)
        tally.seen_at = now
        count = _COUNT.get(type(fact))
        if count is not None:
            count(tally, fact, now)
        for command in commands:
            count = _COUNT.get(type(command))
            if count is not None:
                count(tally, command, now)

    def destination_failed(self, failure: Failure, now: Instant) -> None:
        """One attempt to deliver a failure document went wrong."""
        place = (failure.mapping, failure.shard)
        same = (unit for unit in self.units if (unit.mapping, unit.shard) == place)
        # A document that an earlier run kept may be of a shard that this one never read.
        unit = next(same, Unit(failure.mapping, failure.function, "", failure.shard))
        self._of(unit, now).counts.destination_failures += 1

    def of_mapping(self, mapping: str) -> Counts:
        """The sums over all shards a mapping ever had in this process."""
        return self.sums((mapping,))[mapping]

    def sums(self, mappings: Iterable[str]) -> dict[str, Counts]:
        """The same for each of `mappings`, in one look at all units."""
        sums = {mapping: Counts() for mapping in mappings}
        for mapping in sums.keys() & self._gone.keys():
            sums[mapping].add(self._gone[mapping])
        for unit, tally in self.units.items():
            if unit.mapping in sums:
                sums[unit.mapping].add(tally.counts)
        return sums

    def forget(self, mapping: str) -> None:
        self._deleted.add(mapping)

    def prune(self, now: Instant) -> None:
        """Let go of units that ended a while ago, so that resharding does not add up for ever."""
        if now - self._pruned_at < PRUNE_INTERVAL:
            return
        self._pruned_at = now
        for unit, tally in list(self.units.items()):
            is_deleted = unit.mapping in self._deleted
            if now - tally.seen_at > (DELETED_SHOWN if is_deleted else UNSEEN_MAX):
                self._gone.setdefault(unit.mapping, Counts()).add(tally.counts)
                del self.units[unit]
        alive = {(unit.mapping, unit.function) for unit in self.units}
        for key in self.histograms.keys() - alive:
            del self.histograms[key]
        for mapping in self._deleted - {mapping for mapping, _ in alive}:
            self._deleted.remove(mapping)
            self._gone.pop(mapping, None)

    def _of(self, unit: Unit, now: Instant) -> UnitTally:
        tally = self.units.get(unit)
        if tally is None:
            self.prune(now)
            histograms = self.histograms.setdefault((unit.mapping, unit.function), Histograms())
            tally = self.units[unit] = UnitTally(histograms, now)
        return tally
