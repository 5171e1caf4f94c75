"""Finds the streams of tables that a template names: only the tables know their ARNs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

import anyio
import msgspec

from poller.core.lifecycle import State
from poller.core.model import Seconds
from poller.errors import PollerError, SourceMissing
from poller.observe.board import Board
from poller.settings import AwaitedMapping, MappingSettings, Settings
from poller.wire.arns import ArnError, Source, SourceKind, parse_source

from .sessions import Sessions

log = logging.getLogger("poller.service")

WAIT_MIN: Seconds = 0.5  # between looks for what is not there
WAIT_MAX: Seconds = 30.0
LOOK_AGAIN: Seconds = 5.0  # at mappings that ran, for what has become of their tables
CALL_TIMEOUT: Seconds = 10.0
CALLS_MAX = 10  # at one time

Place = tuple[str, str]  # region and name of a table


class TableStreams:
    """Waits for tables; `found` is called whenever more of their streams are known.

    A table that was made anew has another stream: where reading one fails, its table is asked
    again.
    """

    def __init__(
        self,
        sessions: Sessions,
        board: Board,
        found: Callable[[], Awaitable[None]],
        *,
        look_again: Seconds = LOOK_AGAIN,
    ) -> None:
        self._sessions = sessions
        self._board = board
        self._found = found
        self._look_again = look_again
        self._streams: dict[Place, str] = {}
        self._used: dict[str, Place] = {}  # by the UUIDs of mappings whose streams are known
        self._missing: dict[Place, str] = {}  # what has been said to be missing, and why
        self._awaited: dict[str, AwaitedMapping] = {}  # by the UUIDs that stand for theirs
        self._changed = anyio.Event()

    def resolve(self, settings: Settings) -> Settings:
        """`settings` with those of the awaited mappings whose streams are known by now."""
        found = {mapping.uuid: mapping for mapping in settings.mappings}
        awaited = []
        self._used = {}
        for each in settings.awaited:
            stream = self._streams.get(_place(each))
            if stream is None:
                awaited.append(each)
            else:
                mapping = each.found(stream)
                found.setdefault(mapping.uuid, mapping)  # one of the config goes before it
                self._used[mapping.uuid] = _place(each)
        return replace(settings, mappings=tuple(found.values()), awaited=tuple(awaited))

    def wait_for(self, settings: Settings) -> None:
        """Look for what is awaited in these settings, and for nothing else any more."""
        before = self._awaited
        self._awaited = {each.mapping.uuid: each for each in settings.awaited}
        for uuid in before.keys() - self._awaited.keys():
            self._board.remove_mapping(uuid)
        places = {_place(each) for each in self._awaited.values()}
        self._missing = {place: why for place, why in self._missing.items() if place in places}
        for uuid, each in self._awaited.items():
            if before.get(uuid) != each:
                self._show(each.mapping)
        self._changed.set()

    async def run(self) -> None:
        """Look for tables until cancelled."""
        wait, told = WAIT_MIN, dict[Place, str]()
        while True:
            self._changed = anyio.Event()
            await self._look()
            if self._streams != told and await self._tell():
                told = dict(self._streams)
            if self._changed.is_set():
                wait = WAIT_MIN
            with anyio.move_on_after(wait if self._awaited else self._look_again):
                await self._changed.wait()
            wait = min(wait * 2, WAIT_MAX)

    async def _tell(self) -> bool:
        try:
            await self._found()
        except PollerError as error:
            log.error("streams of tables were found, but cannot be used yet: %s", error)
            return False
        return True

    async def _look(self) -> None:
        """Ask the tables of which no stream is known, and those whose stream cannot be read."""
        limit = asyncio.Semaphore(CALLS_MAX)
        troubled = {status.uuid for status in self._board.mappings() if status.reason}
        again = {place for uuid, place in self._used.items() if uuid in troubled}
        places = {_place(each) for each in self._awaited.values()} - self._streams.keys()

        async def look(place: Place) -> None:
            async with limit:
                try:
                    stream = await self._stream(*place)
                except PollerError as error:
                    if place in places:
                        self._note_missing(place, str(error))
                else:
                    self._note_found(place, stream)

        await asyncio.gather(*(look(place) for place in sorted(places | again)))

    def _note_found(self, place: Place, stream: str) -> None:
        before = self._streams.get(place, stream)
        self._streams[place] = stream
        if self._missing.pop(place, None) is not None:
            log.info("table %s: the stream is there now", place[1])
        elif before != stream:
            log.warning("table %s has another stream now: %s", place[1], stream)

    def _note_missing(self, place: Place, why: str) -> None:
        if place not in self._missing:
            log.warning("table %s: %s; trying again until it is there", place[1], why)
        self._missing[place] = why
        for uuid, each in self._awaited.items():
            if _place(each) == place and each.mapping.config.enabled:
                self._board.set_state(uuid, State.CREATING, why)

    async def _stream(self, region: str, table: str) -> str:
        """The ARN of the table's stream.  Raises PollerError."""
        client = self._sessions.of(region).json_client("dynamodb")
        request = msgspec.json.encode({"TableName": table})
        reply = await client.call("DescribeTable", request, timeout=CALL_TIMEOUT)
        try:
            arn = msgspec.json.decode(reply)["Table"].get("LatestStreamArn")
        except (msgspec.DecodeError, LookupError, AttributeError, TypeError):
            raise SourceMissing("DescribeTable: bad reply") from None
        if not isinstance(arn, str) or not arn:
            raise SourceMissing("it has no stream")
        source = _source(arn)
        if (source.kind, source.name) != (SourceKind.DYNAMODB, table):
            raise SourceMissing(f"DescribeTable: {arn} is not its stream")
        return arn

    def _show(self, mapping: MappingSettings) -> None:
        enabled = mapping.config.enabled
        self._board.add_mapping(
            mapping.uuid,
            function=mapping.function,
            source_arn=mapping.config.source.arn,
            of_file=True,
            state=State.CREATING if enabled else State.DISABLED,
        )


def _place(awaited: AwaitedMapping) -> Place:
    return awaited.region, awaited.table


def _source(arn: str) -> Source:
    try:
        return parse_source(arn)
    except ArnError as error:
        raise SourceMissing(f"DescribeTable: {error.message} {error.remedy}") from None
