"""What only the SQLite store promises: durability, grouping, exclusiveness, patience."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from poller.core.model import Position
from poller.errors import StateError
from poller.interfaces import Failure
from poller.stores import sqlite, sqlite_checkpoints, sqlite_commits
from poller.stores.sqlite import SqliteStore, open_sqlite
from tests.stores.saving import SHARDS
from tests.waiting import soon

ROOT = Path(__file__).parents[2]
FAILURE = Failure("m", "f", "s", "arn", "{}", "", "key", 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    async with open_sqlite(path) as opened:
        yield opened


def log_bytes(path: Path) -> int:
    log = path.with_name(path.name + "-wal")
    return log.stat().st_size if log.exists() else 0


def killed_after(path: Path, lines: int, first: int) -> dict[str, int]:
    """The newest acknowledged sequence of each shard, of a process that is killed by SIGKILL."""
    acknowledged: dict[str, int] = {}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.stores.saving", str(path), str(first)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        for number, line in enumerate(child.stdout, 1):
            shard, sequence = line.split()
            acknowledged[shard] = int(sequence)
            if number == lines:
                child.kill()
    return acknowledged


async def test_whatever_was_acknowledged_survives_kill_9(path: Path) -> None:
    moments = random.Random(9)
    newest = 0
    for _ in range(5):
        acknowledged = killed_after(path, moments.randint(1, 2000), newest)
        assert set(acknowledged) <= set(SHARDS)
        async with open_sqlite(path) as store:
            stored = await store.positions("m")
        for shard, sequence in acknowledged.items():
            assert int(stored[shard].sequence or 0) >= sequence
        newest = 1 + max(int(position.sequence or 0) for position in stored.values())


async def test_the_saves_of_one_turn_are_one_transaction(store: SqliteStore, path: Path) -> None:
    before = log_bytes(path)
    await asyncio.gather(*(store.save("m", f"shard-{n}", Position("1")) for n in range(200)))
    together = log_bytes(path) - before
    for number in range(200):
        await store.save("m", f"shard-{number}", Position("2"))

    assert together < (log_bytes(path) - before - together) / 5


async def test_a_cancelled_save_does_not_take_the_others_with_it(store: SqliteStore) -> None:
    saves = [asyncio.ensure_future(store.save("m", shard, Position("1"))) for shard in "abc"]
    await asyncio.sleep(0)
    saves[0].cancel()

    results = await asyncio.gather(*saves, return_exceptions=True)

    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [None, None]
    assert {"b", "c"} <= set(await store.positions("m"))


async def test_what_cannot_be_written_fails_alone(store: SqliteStore) -> None:
    good, bad = store.save("m", "a", Position("1")), store.save("m", "\ud800", Position("1"))

    results = await asyncio.gather(good, bad, return_exceptions=True)

    assert results[0] is None
    assert isinstance(results[1], StateError)
    assert await store.positions("m") == {"a": Position("1")}


async def test_closing_commits_what_was_asked_for(path: Path) -> None:
    async with open_sqlite(path) as store:
        save = asyncio.ensure_future(store.save("m", "a", Position("1")))
        await asyncio.sleep(0)
    await save

    async with open_sqlite(path) as store:
        assert await store.positions("m") == {"a": Position("1")}


async def test_a_closed_store_says_so(path: Path) -> None:
    async with open_sqlite(path) as store:
        pass

    with pytest.raises(StateError, match="closed"):
        await store.save("m", "a", Position("1"))
    with pytest.raises(StateError, match="closed"):
        await store.positions("m")


async def test_a_save_waits_for_another_programs_lock(store: SqliteStore, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        early = asyncio.ensure_future(store.save("m", "a", Position("1")))
        await asyncio.sleep(0.01)
        late = asyncio.ensure_future(store.save("m", "a", Position("2")))
        await asyncio.sleep(0.01)
        assert not early.done()
        assert not late.done()
        other.execute("COMMIT")
        await asyncio.gather(early, late)

    assert await store.positions("m") == {"a": Position("2")}


async def test_a_lock_that_stays_fails_the_save_and_not_the_store(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_commits, "LOCK_PATIENCE", 0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateError, match=r"state\.db is locked by another program"):
            await store.save("m", "a", Position("1"))
        assert await store.positions("m") == {}

    await store.save("m", "a", Position("2"))
    assert await store.positions("m") == {"a": Position("2")}


async def test_no_program_locks_readers_out_of_an_open_store(
    store: SqliteStore, path: Path
) -> None:
    await store.save("m", "a", Position("1"))
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("SELECT * FROM positions")
        assert await store.positions("m") == {"a": Position("1")}
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert await store.positions("m") == {"a": Position("1")}


async def test_the_log_is_moved_while_saves_go_on(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_checkpoints, "WAL_BYTES_MAX", 200_000)
    monkeypatch.setattr(sqlite_checkpoints, "CHECK_PERIOD", 0.01)
    largest = 0
    async with open_sqlite(path) as store:
        for number in range(100_000):
            await store.save("m", "a", Position(str(number)))
            size = log_bytes(path)
            if size < largest:
                break
            largest = size
        assert largest > 200_000
        assert size < largest, "the log was never moved"
        assert await store.positions("m") == {"a": Position(str(number))}

    assert [file.name for file in path.parent.iterdir()] == ["state.db"]


async def test_a_reader_that_stays_does_not_stop_saves(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_checkpoints, "WAL_BYTES_MAX", 20_000)
    monkeypatch.setattr(sqlite_checkpoints, "CHECK_PERIOD", 0.01)
    async with open_sqlite(path) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT * FROM positions").fetchall()
            for number in range(300):
                await store.save("m", "a", Position(str(number)))
            assert log_bytes(path) > 20_000
            other.execute("ROLLBACK")
        await soon(lambda: log_bytes(path) < 20_000)


async def test_large_documents_come_a_few_at_a_time(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "KEPT_BYTES_MAX", 1000)
    for size in (2000, 10, 10, 2000):
        await store.keep(replace(FAILURE, payload="x" * size))

    sizes = []
    while kept := await store.kept(10):
        sizes.append([len(failure.payload) for _, failure in kept])
        await store.drop([id for id, _ in kept])

    assert sizes == [[2000], [10, 10], [2000]]


async def test_a_position_of_another_shape_is_not_guessed_at(
    store: SqliteStore, path: Path
) -> None:
    await store.save("m", "shard-7", Position("1"))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("""UPDATE positions SET position = '{"sequence":"1","epoch":2}'""")

    with pytest.raises(StateError, match=r"state\.db, position of shard shard-7 of mapping m"):
        await store.positions("m")


async def test_a_file_is_for_its_owner_alone(store: SqliteStore, path: Path) -> None:
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}

    assert modes == dict.fromkeys(["state.db", "state.db-wal", "state.db-shm"], 0o600)
