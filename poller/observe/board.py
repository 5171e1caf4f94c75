"""What is going on now: the mappings with their states, and a look into every running machine.

The engine registers machines and mappings here; health, readiness, lag, metrics and the progress
are read from here.  It is an Observer too, but only of signs of life.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import anyio

from poller.core.model import Instant, Seconds, Snapshot
from poller.core.steps import Fetched, Received
from poller.interfaces import Unit
from poller.wire.arns import parse_source

from .lag import seconds_behind

STUCK_AFTER: Seconds = 60.0
BACKLOG_WAIT_MAX: Seconds = 2.0
STATES_WITHOUT_POLLING = frozenset({"Disabling", "Disabled", "Deleting"})  # spec 2

AskBacklog = Callable[[], Awaitable[int | None]]


@dataclass(frozen=True, slots=True)
class MappingStatus:
    """One mapping: `state` as AWS names it (spec 2), `reason` as one line, perhaps empty.

    `backlog`: how many messages waited in a queue when it was asked last, None if that is not known
    and for streams.  `polled`: a poll was answered, or there was nothing to poll.
    """

    uuid: str
    function: str
    source_arn: str
    of_file: bool
    state: str
    reason: str
    backlog: int | None = None
    polled: bool = False

    @property
    def awaited(self) -> bool:
        """Readiness waits for it: an enabled mapping of the file that has not polled."""
        return self.of_file and not self.polled and self.state not in STATES_WITHOUT_POLLING


@dataclass(frozen=True, slots=True)
class Running:
    """A running machine, now.  `behind`: seconds, see `seconds_behind`."""

    unit: Unit
    snapshot: Snapshot
    behind: Seconds | None


@dataclass(frozen=True, slots=True)
class Stuck:
    """A machine that should have done something `overdue` seconds ago."""

    unit: Unit
    overdue: Seconds


@dataclass(slots=True)
class _Machine:
    snapshot: Callable[[], Snapshot]
    deadline: Callable[[], Instant | None]
    since: Instant
    seen_at: Instant


class Board:
    """`now` is the engine's clock.  Everything is called from the event loop's thread."""

    def __init__(self, now: Callable[[], Instant]) -> None:
        self.now = now
        self.publishing: dict[str, str] = {}  # regions of mappings with metrics for CloudWatch
        self._mappings: dict[str, MappingStatus] = {}
        self._awaited: set[str] = set()  # those that readiness waits for
        self._ask: dict[str, AskBacklog] = {}
        self._machines: dict[Unit, _Machine] = {}
        self._serving = False
        self._was_ready = False

    # Mappings.

    def add_mapping(
        self,
        uuid: str,
        *,
        function: str,
        source_arn: str,
        of_file: bool,
        state: str = "Creating",
        reason: str = "",
        backlog: AskBacklog | None = None,
        publishes: bool = False,
    ) -> None:
        """Add or replace a mapping.  `backlog` is for queues; `ask_backlogs` calls it.

        `publishes`: whether its MetricsConfig has EventCount.
        """
        self._put(MappingStatus(uuid, function, source_arn, of_file, state, reason))
        self._forget(uuid)
        if publishes:
            self.publishing[uuid] = parse_source(source_arn).region
        if backlog is not None:
            self._ask[uuid] = backlog

    def state(self, uuid: str) -> str | None:
        """The state of a mapping; None if there is none."""
        status = self._mappings.get(uuid)
        return None if status is None else status.state

    def set_state(self, uuid: str, state: str, reason: str = "") -> None:
        self._put(replace(self._mappings[uuid], state=state, reason=reason))

    def mark_polled(self, uuid: str) -> None:
        """For a mapping that has nothing to poll; all others are noticed."""
        status = self._mappings.get(uuid)
        if status is not None and not status.polled:
            self._put(replace(status, polled=True))

    def remove_mapping(self, uuid: str) -> None:
        self._mappings.pop(uuid, None)
        self._awaited.discard(uuid)
        self._forget(uuid)
        self._note_readiness()

    def _put(self, status: MappingStatus) -> None:
        self._mappings[status.uuid] = status
        if status.awaited:
            self._awaited.add(status.uuid)
        else:
            self._awaited.discard(status.uuid)
        self._note_readiness()

    def _forget(self, uuid: str) -> None:
        self._ask.pop(uuid, None)
        self.publishing.pop(uuid, None)

    async def ask_backlogs(self) -> None:
        """Ask every queue how many messages wait; what is not answered in time is not known."""
        asked = dict(self._ask)
        answers = await asyncio.gather(*(_answer(ask) for ask in asked.values()))
        for uuid, backlog in zip(asked, answers, strict=True):
            if uuid in self._mappings:
                self._put(replace(self._mappings[uuid], backlog=backlog))

    def mappings(self) -> Sequence[MappingStatus]:
        """In the order in which they were added."""
        return tuple(self._mappings.values())

    # Machines.

    def register(
        self,
        unit: Unit,
        *,
        snapshot: Callable[[], Snapshot],
        deadline: Callable[[], Instant | None],
    ) -> None:
        """A machine runs for `unit` from now on, until `unregister`."""
        now = self.now()
        self._machines[unit] = _Machine(snapshot, deadline, since=now, seen_at=now)

    def unregister(self, unit: Unit) -> None:
        self._machines.pop(unit, None)

    def saw(self, unit: Unit, fact: Any, commands: Sequence[Any], now: Instant) -> None:
        machine = self._machines.get(unit)
        if machine is not None:
            machine.seen_at = now
        if type(fact) is Fetched or type(fact) is Received:
            self.mark_polled(unit.mapping)

    def running(self) -> Sequence[Running]:
        """Every running machine, looked into now."""
        now = self.now()
        return tuple(
            _look(unit, machine.snapshot(), now, machine.since)
            for unit, machine in self._machines.items()
        )

    def stuck(self) -> Sequence[Stuck]:
        """Machines with nothing in flight whose deadline passed more than a minute ago.

        The deadline says that there is work.  What stands in the way of that work (a failing
        function, a source that cannot be reached) moves the deadline; only a dead driver lets it
        pass.  The minute counts from the last step, since a deadline may lie in the past by right.
        """
        now = self.now()
        found = []
        for unit, machine in self._machines.items():
            deadline = machine.deadline()
            if deadline is None or machine.snapshot().in_flight:
                continue
            overdue = now - max(deadline, machine.seen_at)
            if overdue > STUCK_AFTER:
                found.append(Stuck(unit, overdue))
        return tuple(found)

    # Readiness.

    def begin(self) -> None:
        """All mappings of the file have been added."""
        self._serving = True
        self._note_readiness()

    def end(self) -> None:
        """Shutdown has begun."""
        self._serving = False

    def ready(self) -> bool:
        """Every enabled mapping of the file has polled; once true it stays so until shutdown."""
        return self._serving and self._was_ready

    def awaited(self) -> Sequence[MappingStatus]:
        """The mappings that readiness still waits for."""
        return tuple(status for status in self._mappings.values() if status.awaited)

    def _note_readiness(self) -> None:
        if self._serving and not self._was_ready:
            self._was_ready = not self._awaited

    # Lag.

    def lag(self) -> dict[str, Any]:
        """The document of /lag: seconds behind for each mapping, messages for queues only.

        A number is null where nobody can tell: nothing runs, or a queue's age or backlog is not
        known.  The total has the worst of the seconds and the sum of the records.
        """
        mine = by_mapping(self.running())
        mappings = {
            uuid: _lag_of(status, mine.get(uuid, ())) for uuid, status in self._mappings.items()
        }
        total = {
            "seconds": max(_known(lag["seconds"] for lag in mappings.values()), default=0.0),
            "records": sum(_known(lag["records"] for lag in mappings.values())),
        }
        return {"mappings": mappings, "total": total}


def by_mapping(running: Iterable[Running]) -> dict[str, list[Running]]:
    """The running machines of each mapping that has any."""
    found: dict[str, list[Running]] = {}
    for each in running:
        found.setdefault(each.unit.mapping, []).append(each)
    return found


def waiting_records(status: MappingStatus, running: Iterable[Running]) -> int | None:
    """How many messages wait in a queue or here; None on streams and where it is not known."""
    if status.backlog is None:
        return None
    return status.backlog + sum(each.snapshot.unsettled for each in running)


async def _answer(ask: AskBacklog) -> int | None:
    with anyio.move_on_after(BACKLOG_WAIT_MAX):
        return await ask()
    return None


def _lag_of(status: MappingStatus, running: Sequence[Running]) -> dict[str, Any]:
    seconds = max(_known(each.behind for each in running), default=None)
    return {
        "function": status.function,
        "source": status.source_arn,
        "seconds": None if seconds is None else round(seconds, 3),
        "records": waiting_records(status, running),
    }


def _look(unit: Unit, snapshot: Snapshot, now: Instant, since: Instant) -> Running:
    return Running(unit, snapshot, seconds_behind(unit, snapshot, now, since=since))


def _known(numbers: Iterable[Any]) -> list[Any]:
    return [number for number in numbers if number is not None]
