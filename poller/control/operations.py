"""The operations of the Lambda API on event source mappings: requests in, replies out.

The order of checks is AWS's, as far as recordings tell: what the request says, then whether the
function exists, then the source, then whether the pair has a mapping already.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from poller.core.lifecycle import State, may_delete, updated
from poller.core.model import Instant
from poller.engine.specs import Spec
from poller.errors import ConfigError, DestinationError, StateError
from poller.interfaces import StoredMapping
from poller.wire.arns import FunctionReference
from poller.wire.descriptions import describe
from poller.wire.mappings import MappingConfig, Rejected, parse_mapping
from poller.wire.requests import as_request

from .listing import ListQuery, described_page, place_of
from .looking import check_fit, in_time, looked_at, unpinned_unless_kept
from .refusals import (
    CONFLICT,
    INVALID,
    SERVICE,
    Refusal,
    exists,
    in_use,
    not_found,
    refusal_of,
)
from .registry import Entry, Registry

# What is there for the life of a mapping; all else may be updated.
FIXED = frozenset({"EventSourceArn", "StartingPosition", "StartingPositionTimestamp", "Tags"})

Described = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What operations ask of the rest.

    `function_arn`: the ARN that a reference stands for, None if there is no such function; the
    second argument is the region of the source.  `check_destination` raises DestinationError.
    `file`: the config file's name, for messages.
    """

    now: Callable[[], Instant]
    function_arn: Callable[[FunctionReference, str], str | None]
    check_destination: Callable[[str], Awaitable[None]]
    file: str


class Operations:
    """Every method raises Refusal."""

    def __init__(self, registry: Registry, around: Surroundings) -> None:
        self._registry = registry
        self._around = around

    async def create(self, request: Mapping[str, Any]) -> Described:
        config = self._parsed(request)
        registry, now = self._registry, round(self._around.now(), 3)
        stored = StoredMapping(
            uuid=str(uuid4()),
            source_arn=config.source.arn,
            function_arn=self._function_arn(config),
            origin="api",
            request=as_request(config),
            created_at=now,
            modified_at=now,
        )
        entry = Entry(stored, config)
        while True:
            generation, holder = registry.generation, registry.holder(entry.pair)
            spec = self._spec(entry)
            with unpinned_unless_kept(spec) as kept:
                with in_time(config.source.arn):
                    pins = await looked_at(spec, is_new=holder is None)
                await self._check_destination(config)
                async with registry.lock:
                    if registry.generation != generation:
                        continue  # the file was reread meanwhile, and functions may be others now
                    self._refuse_second(entry)
                    if holder is not None:
                        continue  # it was deleted meanwhile, and this is a new mapping after all
                    with _state_errors():
                        state = await registry.add(entry, spec, pins)
                    kept()
                    return self._described(entry, state)

    def get(self, uuid: str) -> Described:
        entry = self._find(uuid)
        return self._described(entry, self._registry.state(uuid))

    async def update(self, uuid: str, request: Mapping[str, Any]) -> Described:
        registry = self._registry
        while True:
            generation, before = registry.generation, self._find(uuid)
            entry = self._changed(before, request)
            spec = self._spec(entry)
            self._refuse_of_file(before)
            self._next_state(before, entry)
            await check_fit(spec)
            if entry.config.failure_destination != before.config.failure_destination:
                await self._check_destination(entry.config)
            async with registry.lock:
                if registry.generation != generation or registry.find(uuid) is not before:
                    continue
                if entry.pair != before.pair:
                    self._refuse_second(entry)
                state = self._next_state(before, entry)
                with _state_errors():
                    await registry.change(entry, spec, state)
                return self._described(entry, state)

    async def delete(self, uuid: str) -> Described:
        registry = self._registry
        async with registry.lock:
            entry = self._find(uuid)
            self._refuse_of_file(entry)
            if not may_delete(registry.state(uuid)):
                raise in_use("delete")
            with _state_errors():
                await registry.remove(entry)
        return self._described(entry, State.DELETING)

    def list(self, query: ListQuery) -> dict[str, Any]:
        """A page of the mappings, the oldest first."""
        entries = [entry for entry in self._registry.entries() if _matches(entry, query)]
        after = query.after
        if after is not None:
            entries = [entry for entry in entries if place_of(entry.stored) > after]
        page = entries[: query.limit]
        described = [
            self._described(entry, self._registry.state(entry.stored.uuid)) for entry in page
        ]
        more = len(entries) > len(page)
        return described_page(described, place_of(page[-1].stored) if more else None)

    # What is asked for.

    def _parsed(self, request: Mapping[str, Any]) -> MappingConfig:
        match parse_mapping(request, now=self._around.now()):
            case Rejected(problems=problems):
                raise refusal_of(problems)
            case config:
                return config

    def _changed(self, before: Entry, request: Mapping[str, Any]) -> Entry:
        """What an update makes of a mapping; its function may have left the file meanwhile."""
        given = {name: value for name, value in request.items() if value is not None}
        given.pop("UUID", None)
        for name in given:
            if name in FIXED:
                raise Refusal(INVALID, f"{name} of an event source mapping cannot be changed.")
        config = self._parsed({**before.stored.request, **given})
        renamed = "FunctionName" in given
        stored = replace(
            before.stored,
            function_arn=self._function_arn(config) if renamed else before.stored.function_arn,
            request=as_request(config),
            modified_at=round(self._around.now(), 3),
        )
        return Entry(stored, config)

    def _spec(self, entry: Entry) -> Spec:
        try:
            return self._registry.spec(entry.stored, entry.config)
        except ConfigError as error:
            raise Refusal(INVALID, str(error)) from None

    def _function_arn(self, config: MappingConfig) -> str:
        arn = self._around.function_arn(config.function, config.source.region)
        if arn is None:
            raise Refusal(INVALID, "Function does not exist")
        return arn

    # What stands in the way.

    def _find(self, uuid: str) -> Entry:
        entry = self._registry.find(uuid)
        if entry is None:
            raise not_found()
        return entry

    def _refuse_of_file(self, entry: Entry) -> None:
        if entry.of_file:
            raise Refusal(
                CONFLICT,
                f"The event source mapping with UUID {entry.stored.uuid} is declared in "
                f"{self._around.file}: change it there.",
            )

    def _refuse_second(self, entry: Entry) -> None:
        holder = self._registry.holder(entry.pair)
        if holder is not None:
            source, function = entry.config.source, entry.config.function
            queue = not source.kind.is_stream
            raise exists(source.arn, function.name, holder.stored.uuid, queue=queue)

    def _next_state(self, before: Entry, entry: Entry) -> State:
        state = updated(
            self._registry.state(before.stored.uuid),
            was_enabled=before.config.enabled,
            enabled=entry.config.enabled,
        )
        if state is None:
            raise in_use("update")
        return state

    async def _check_destination(self, config: MappingConfig) -> None:
        if config.failure_destination is None:
            return
        arn = config.failure_destination.arn
        try:
            with in_time(arn):
                await self._around.check_destination(arn)
        except (DestinationError, ConfigError) as error:
            why = str(error).removeprefix(f"{arn}: ")
            raise Refusal(INVALID, f"The destination ARN {arn} is invalid: {why}") from None

    def _described(self, entry: Entry, state: State) -> Described:
        stored = entry.stored
        return describe(
            entry.config,
            uuid=stored.uuid,
            function_arn=stored.function_arn,
            state=state,
            modified_at=stored.modified_at,
            result=self._registry.result(stored.uuid),
        )


def _matches(entry: Entry, query: ListQuery) -> bool:
    if query.source_arn is not None and entry.stored.source_arn != query.source_arn:
        return False
    return query.function is None or query.function.names(entry.stored.function_arn)


@contextmanager
def _state_errors() -> Iterator[None]:
    try:
        yield
    except StateError as error:
        raise Refusal(SERVICE, str(error)) from None
