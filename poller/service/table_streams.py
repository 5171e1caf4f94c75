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
from poller.wire.arns import ArnError

from .sessions import Sessions

log = logging.getLogger("poller.service")

WAIT_MIN: Seconds = 0.5  # between looks for what is not there
WAIT_MAX: Seconds = 30.0
CALL_TIMEOUT: Seconds = 10.0
CALLS_MAX = 10  # at one time

Place = tuple[str, str]  # region and name of a table


class TableStreams:
    """Waits for tables; `found` is called whenever more of their streams are known.

    A stream that was found is that of its table for as long as this process runs.
    """

    def __init__(
        self, sessions: Sessions, board: Board, found: Callable[[], Awaitable[None]]
    ) -> None:
        self._sessions = sessions
        self._board = board
        self._found = found
        self._streams: dict[Place, str] = {}
        self._missing: dict[Place, str] = {}  # what has been said to be missing, and why
        self._awaited: dict[str, AwaitedMapping] = {}  # by the UUID that stands for theirs
        self._changed = anyio.Event()

    def resolve(self, settings: Settings) -> Settings:
        """`settings` with those of the awaited mappings whose streams are known by now."""
        found = {mapping.uuid: mapping for mapping in settings.mappings}
        awaited = []
        for each in settings.awaited:
            stream = self._streams.get(_place(each))
            if stream is None:
                awaited.append(each)
            else:
                mapping = each.found(stream)
                found.setdefault(mapping.uuid, mapping)  # one of the config goes before it
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
            if uuid not in before:
                self._show(each.mapping)
        self._changed.set()

    async def run(self) -> None:
        """Look for tables until cancelled."""
        wait, told = WAIT_MIN, 0
        while True:
            self._changed = anyio.Event()
            await self._look()
            if len(self._streams) > told and await self._tell():
                told = len(self._streams)
            again = bool(self._awaited) and not self._changed.is_set()
            with anyio.move_on_after(wait if again else None):
                await self._changed.wait()
            wait = min(wait * 2, WAIT_MAX) if again else WAIT_MIN

    async def _tell(self) -> bool:
        try:
            await self._found()
        except PollerError as error:
            log.error("streams of tables were found, but cannot be used yet: %s", error)
            return False
        return True

    async def _look(self) -> None:
        places = {_place(each) for each in self._awaited.values()} - self._streams.keys()
        limit = asyncio.Semaphore(CALLS_MAX)

        async def look(place: Place) -> None:
            async with limit:
                try:
                    self._streams[place] = await self._stream(*place)
                except PollerError as error:
                    self._note_missing(place, str(error))
                else:
                    if self._missing.pop(place, None) is not None:
                        log.info("table %s: the stream is there now", place[1])

        await asyncio.gather(*(look(place) for place in sorted(places)))

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
        except (msgspec.DecodeError, LookupError, AttributeError, TypeError) as error:
            raise SourceMissing(f"DescribeTable: bad reply: {type(error).__name__}") from None
        if not isinstance(arn, str) or not arn:
            raise SourceMissing("it has no stream")
        for each in self._awaited.values():
            if _place(each) == (region, table):
                _check(each, arn)
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


def _check(awaited: AwaitedMapping, arn: str) -> None:
    try:
        awaited.found(arn)
    except ArnError as error:
        raise SourceMissing(f"DescribeTable: {error.message}") from None
