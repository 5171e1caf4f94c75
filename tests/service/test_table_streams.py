"""The streams of tables are found, waited for, and found anew; nothing is said twice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from poller.errors import StateError
from poller.observe.board import Board
from poller.service.sessions import Sessions
from poller.service.table_streams import TableStreams
from poller.settings import AwsConfig, Settings
from tests.settings.templates.written import loaded, worker
from tests.waiting import soon

LABEL = "2026-01-31T12:00:00.00"


def stream(table: str, number: int = 0) -> str:
    return f"arn:aws:dynamodb:us-east-1:000000000000:table/{table}/stream/{LABEL}{number}"


@dataclass
class Tables:
    """A DynamoDB that knows these tables, and what it answers for each."""

    replies: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    async def describe(self, request: web.Request) -> web.Response:
        assert request.headers["X-Amz-Target"] == "DynamoDB_20120810.DescribeTable"
        name = json.loads(await request.read())["TableName"]
        self.asked.append(name)
        if name in self.replies:
            return web.json_response(self.replies[name])
        error = {"__type": "ResourceNotFoundException", "message": "no such table"}
        return web.json_response(error, status=400)

    def have(self, table: str, arn: Any) -> None:
        self.replies[table] = {"Table": {"LatestStreamArn": arn}}


@contextlib.asynccontextmanager
async def dynamodb() -> AsyncIterator[Tables]:
    tables = Tables()
    app = web.Application()
    app.router.add_post("/", tables.describe)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    tables.url = str(site.name)
    try:
        yield tables
    finally:
        await runner.cleanup()


@dataclass
class Poller:
    """What the service does with the streams: it applies the same settings again."""

    settings: Settings
    board: Board
    streams: TableStreams = field(init=False)
    applied: list[Settings] = field(default_factory=list)
    failures: int = 0

    async def apply(self) -> None:
        if self.failures:
            self.failures -= 1
            raise StateError("the disk is full")
        settings = self.streams.resolve(self.settings)
        self.applied.append(settings)
        self.streams.wait_for(settings)

    @property
    def sources(self) -> list[str]:
        return [each.config.source.arn for each in self.applied[-1].mappings]


def settings_of(folder: Path, *tables: str, enabled: bool = True) -> Settings:
    events = "".join(
        f"        {table}: {{Type: DynamoDB, Properties: {{Stream: !Ref {table}, "
        f"StartingPosition: LATEST, Enabled: {enabled}}}}}\n"
        for table in tables
    )
    more = "".join(
        f"  {table}: {{Type: AWS::DynamoDB::Table, Properties: {{StreamSpecification: {{}}}}}}\n"
        for table in tables
    )
    return loaded(folder, worker(events, more))


@contextlib.asynccontextmanager
async def running(settings: Settings, url: str, *, failures: int = 0) -> AsyncIterator[Poller]:
    aws = AwsConfig(region="us-east-1", account_id="0" * 12, endpoint_url=url, endpoints={})
    async with Sessions(aws) as sessions:
        poller = Poller(settings, Board(lambda: 0.0))
        poller.streams = TableStreams(sessions, poller.board, poller.apply, look_again=0.01)
        await poller.apply()
        poller.failures = failures
        task = asyncio.create_task(poller.streams.run())
        try:
            yield poller
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What poller has said."""
    return [record.getMessage() for record in caplog.records if record.name.startswith("poller.")]


async def test_streams_that_are_there_are_found_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with dynamodb() as tables:
        tables.have("A", stream("A"))
        tables.have("B", stream("B"))
        async with running(settings_of(tmp_path, "A", "B"), tables.url) as poller:
            assert [each.state for each in poller.board.mappings()] == ["Creating"] * 2
            await soon(lambda: len(poller.applied) == 2)
            assert poller.sources == [stream("A"), stream("B")]
            assert poller.board.mappings() == ()
    assert (sorted(tables.asked), lines(caplog)) == (["A", "B"], [])


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (None, "ResourceNotFoundException: no such table"),
        ({"Table": {}}, "it has no stream"),
        ({"Table": {"LatestStreamArn": ""}}, "it has no stream"),
        ({"Table": {"LatestStreamArn": stream("B")}}, "is not its stream"),
        ({"Table": {"LatestStreamArn": "arn:x"}}, "DescribeTable: Unrecognized event source."),
        ({"Table": 5}, "DescribeTable: bad reply"),
        ([], "DescribeTable: bad reply"),
    ],
)
async def test_what_is_not_there_is_said_once_and_when_it_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, reply: Any, why: str
) -> None:
    caplog.set_level(logging.INFO)
    async with dynamodb() as tables:
        if reply is not None:
            tables.replies["A"] = reply
        async with running(settings_of(tmp_path, "A"), tables.url) as poller:
            await soon(lambda: len(tables.asked) >= 2)
            (status,) = poller.board.mappings()
            assert (status.state, why in status.reason) == ("Creating", True)
            assert poller.board.awaited() == (status,)
            tables.have("A", stream("A"))
            await soon(lambda: poller.sources == [stream("A")])
    began, ended = lines(caplog)
    assert began.startswith("table A: ")
    assert began.endswith("; trying again until it is there")
    assert why in began
    assert ended == "table A: the stream is there now"


async def test_one_table_does_not_wait_for_another(tmp_path: Path) -> None:
    async with dynamodb() as tables:
        tables.have("B", stream("B"))
        async with running(settings_of(tmp_path, "A", "B"), tables.url) as poller:
            await soon(lambda: poller.sources == [stream("B")])
            assert [each.table for each in poller.applied[-1].awaited] == ["A"]


async def test_a_disabled_mapping_is_not_awaited_by_readiness(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "A", enabled=False)
    async with dynamodb() as tables, running(settings, tables.url) as poller:
        await soon(lambda: bool(tables.asked))
        assert [each.state for each in poller.board.mappings()] == ["Disabled"]
        assert poller.board.awaited() == ()


async def test_other_settings_look_for_other_tables(tmp_path: Path) -> None:
    async with dynamodb() as tables, running(settings_of(tmp_path, "A"), tables.url) as poller:
        await soon(lambda: "A" in tables.asked)
        poller.settings = settings_of(tmp_path, "B")
        tables.have("B", stream("B"))
        await poller.apply()
        await soon(lambda: poller.sources == [stream("B")])
        assert poller.board.mappings() == ()


async def test_what_was_found_is_told_again_until_it_is_taken_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with dynamodb() as tables:
        tables.have("A", stream("A"))
        async with running(settings_of(tmp_path, "A"), tables.url, failures=2) as poller:
            await soon(lambda: poller.sources == [stream("A")])
    assert set(lines(caplog)) == {
        "streams of tables were found, but cannot be used yet: the disk is full"
    }


async def test_a_table_that_was_made_anew_is_followed_once_its_stream_cannot_be_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with dynamodb() as tables:
        tables.have("A", stream("A"))
        async with running(settings_of(tmp_path, "A"), tables.url) as poller:
            await soon(lambda: poller.sources == [stream("A")])
            (mapping,) = poller.applied[-1].mappings
            tables.have("A", stream("A", 1))
            poller.board.add_mapping(
                mapping.uuid, function="f", source_arn=stream("A"), of_file=True, state="Enabled"
            )
            asked = len(tables.asked)
            await asyncio.sleep(0.1)  # what is read is not asked about
            assert len(tables.asked) == asked
            poller.board.set_state(mapping.uuid, "Enabled", "listing shards: not found")
            await soon(lambda: poller.sources == [stream("A", 1)])
    assert lines(caplog) == [f"table A has another stream now: {stream('A', 1)}"]
