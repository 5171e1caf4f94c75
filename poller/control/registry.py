"""The mappings that are wanted: one desired state with two writers, the config file and the API.

A change is durable before anybody hears of it; the supervisor then brings about what is wanted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import anyio

from poller.core.lifecycle import State, created
from poller.core.mappings import Claim, Known, Pair, plan_mappings
from poller.core.model import Instant, Position
from poller.engine.specs import Spec
from poller.engine.supervisor import Supervisor
from poller.errors import StateError
from poller.interfaces import Store, StoredMapping
from poller.observe.board import Board
from poller.observe.results import Results
from poller.wire.arns import unversioned
from poller.wire.mappings import MappingConfig, Rejected, parse_mapping
from poller.wire.requests import as_request, changed_start

log = logging.getLogger("poller.control")


@dataclass(frozen=True, slots=True)
class Claimed:
    """A mapping of the config file; `uuid` is its own, if nobody else has the pair."""

    uuid: str
    function_arn: str
    config: MappingConfig


@dataclass(frozen=True, slots=True)
class Entry:
    """A mapping that is wanted: its row, and what its settings say."""

    stored: StoredMapping
    config: MappingConfig

    @property
    def of_file(self) -> bool:
        return self.stored.origin == "file"

    @property
    def pair(self) -> Pair:
        return pair_of(self.stored.source_arn, self.stored.function_arn)


class MakeSpec(Protocol):
    def __call__(self, stored: StoredMapping, config: MappingConfig) -> Spec: ...


def pair_of(source_arn: str, function_arn: str) -> Pair:
    """What a mapping is known by; a function and its $LATEST are one."""
    return source_arn, unversioned(function_arn)


class Registry:
    """Rows and entries by UUID.  `lock` is for whoever decides by what is here and then writes."""

    def __init__(
        self,
        store: Store,
        supervisor: Supervisor,
        board: Board,
        results: Results,
        *,
        now: Callable[[], Instant],
    ) -> None:
        self.lock = anyio.Lock()
        self.claimed = anyio.Event()  # set once the file's mappings are known, too
        self.generation = 0  # rises when functions or the file's mappings may have changed
        self._store = store
        self._supervisor = supervisor
        self._board = board
        self._results = results
        self._now = now
        self._rows: dict[str, StoredMapping] = {}  # with those that have left the file
        self._entries: dict[str, Entry] = {}
        self._holders: dict[Pair, str] = {}
        self._deleted: dict[str, Entry] = {}  # until nothing of them runs any more
        self._unsaved: dict[str, str] = {}  # results by UUID
        self._make: MakeSpec | None = None

    async def load(self) -> None:
        """Read what is stored.  Raises StateError."""
        for stored in await self._store.mappings():
            self._rows[stored.uuid] = stored
            if stored.result:
                self._results.restore(stored.uuid, stored.result)

    # Looking.

    def find(self, uuid: str) -> Entry | None:
        """A mapping, also one that is being deleted."""
        return self._entries.get(uuid) or self._deleted.get(uuid)

    def holder(self, pair: Pair) -> Entry | None:
        """The mapping that has this source and function."""
        uuid = self._holders.get(pair)
        return None if uuid is None else self._entries[uuid]

    def entries(self) -> Sequence[Entry]:
        """All mappings, the oldest first."""
        listed = [*self._entries.values(), *self._deleted.values()]
        return sorted(listed, key=lambda entry: (entry.stored.created_at, entry.stored.uuid))

    def state(self, uuid: str) -> State:
        if uuid in self._deleted:
            return State.DELETING
        return State(self._board.state(uuid) or State.CREATING)

    def result(self, uuid: str) -> str:
        return self._results.of(uuid)

    def spec(self, stored: StoredMapping, config: MappingConfig) -> Spec:
        """What the engine would run for a mapping with these settings."""
        assert self._make is not None, "claim comes first"
        return self._make(stored, config)

    # The API's writing; under the lock.

    async def add(self, entry: Entry, spec: Spec, pins: Mapping[str, Position] | None) -> State:
        """A new mapping, which begins in the state that is returned.  Raises StateError."""
        await self._store.put(entry.stored, pins)
        state = created(enabled=entry.config.enabled, stream=entry.config.source.kind.is_stream)
        self._keep(entry)
        self._supervisor.put(spec, state)
        _say("created", entry)
        return state

    async def change(self, entry: Entry, spec: Spec, state: State) -> None:
        """A mapping with other settings; `state` until they are in force.  Raises StateError."""
        await self._store.put(self._with_result(entry.stored))
        self._keep(entry)
        self._supervisor.put(spec, state)
        _say("changed", entry)

    async def note(self, entry: Entry) -> None:
        """A mapping of which nothing changes that runs, such as its tags.  Raises StateError."""
        await self._store.put(self._with_result(entry.stored))
        self._keep(entry)

    async def remove(self, entry: Entry) -> None:
        """Drop a mapping and its position.  Raises StateError."""
        uuid = entry.stored.uuid
        await self._store.remove(uuid)
        del self._entries[uuid], self._rows[uuid], self._holders[entry.pair]
        self._deleted[uuid] = entry

        async def ended() -> None:
            del self._deleted[uuid]
            try:
                await self._store.remove(uuid)  # what was saved while it ended
            except StateError as error:
                log.warning("positions of the deleted mapping %s stay behind: %s", uuid, error)

        self._supervisor.drop(uuid, ended)
        _say("deleted", entry)

    # The file's writing.

    async def claim(self, claims: Sequence[Claimed], make: MakeSpec) -> None:
        """Run the mappings of the file and, as before, those of the API.

        Returns once what had to stop has stopped.  Raises PollerError, and what runs is as before
        then.
        """
        async with self.lock:
            plan = plan_mappings(
                [_known(row) for row in self._rows.values()],
                [Claim(each.uuid, _pair(each)) for each in claims],
            )
            entries = [
                await self._claimed(uuid, each)
                for uuid, each in zip(plan.claimed, claims, strict=True)
            ]
            entries += self._apart(plan.apart)
            specs = [make(entry.stored, entry.config) for entry in entries]
            for entry in entries:
                if self._rows.get(entry.stored.uuid) != entry.stored:
                    await self._store.put(entry.stored)
            for uuid in plan.replaced:
                await self._store.remove(uuid)
                del self._rows[uuid]
            self._make = make
            self.generation += 1
            self._entries, self._holders = {}, {}
            for entry in entries:
                self._keep(entry)
        self.claimed.set()
        await self._supervisor.apply(specs)

    async def _claimed(self, uuid: str, claimed: Claimed) -> Entry:
        known = self._rows.get(uuid)
        config = claimed.config if known is None else await self._as_begun(known, claimed.config)
        now = float(int(self._now()))
        stored = StoredMapping(
            uuid=uuid,
            source_arn=config.source.arn,
            function_arn=claimed.function_arn,
            origin="file",
            request=as_request(config),
            created_at=now if known is None else known.created_at,
            modified_at=now,
            result="" if known is None else self._with_result(known).result,
        )
        if known is not None and replace(known, modified_at=now, result=stored.result) == stored:
            stored = replace(stored, modified_at=known.modified_at)
        return Entry(stored, config)

    async def _as_begun(self, known: StoredMapping, config: MappingConfig) -> MappingConfig:
        """A mapping that has a position began where it began, whatever the file says now."""
        uuid = known.uuid
        positioned = await self._store.pinned(uuid) or bool(await self._store.positions(uuid))
        changed = changed_start(known.request, config) if positioned else ()
        begun = parse_mapping(known.request, now=self._now())
        if not changed or isinstance(begun, Rejected):
            return config
        log.warning(
            "%s has changed, which has no effect: %s continues where it stopped",
            " and ".join(changed),
            config.source.arn,
        )
        return replace(
            config,
            starting_position=begun.starting_position,
            starting_position_timestamp=begun.starting_position_timestamp,
        )

    def _apart(self, uuids: Sequence[str]) -> list[Entry]:
        """The API's own mappings; what this version cannot run stays stored, and is said."""
        entries = []
        for uuid in uuids:
            row = self._rows[uuid]
            match parse_mapping(row.request, now=self._now()):
                case Rejected(problems=problems):
                    log.error("mapping %s does not run: %s", uuid, problems[0])
                case config:
                    entries.append(Entry(row, config))
        return entries

    # Small things.

    async def save_results(self) -> None:
        """Store how mappings have fared since this succeeded last.  Raises StateError."""
        self._unsaved |= self._results.take_changed()
        if self._unsaved:
            await self._store.note_results(self._unsaved)
            self._unsaved = {}

    def _with_result(self, stored: StoredMapping) -> StoredMapping:
        return replace(stored, result=self._results.of(stored.uuid))

    def _keep(self, entry: Entry) -> None:
        uuid = entry.stored.uuid
        if before := self._entries.get(uuid):
            del self._holders[before.pair]
        self._rows[uuid] = entry.stored
        self._entries[uuid] = entry
        self._holders[entry.pair] = uuid


def _say(what: str, entry: Entry) -> None:
    stored = entry.stored
    extra = {"mapping": stored.uuid, "function": entry.config.function.key}
    log.info("%s through the API: the mapping of %s", what, stored.source_arn, extra=extra)


def _pair(claimed: Claimed) -> Pair:
    return pair_of(claimed.config.source.arn, claimed.function_arn)


def _known(row: StoredMapping) -> Known:
    pair = pair_of(row.source_arn, row.function_arn)
    return Known(row.uuid, pair, row.origin == "file", row.modified_at)
