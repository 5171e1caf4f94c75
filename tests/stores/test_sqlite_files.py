"""Files that cannot be used as state: each is refused in one line, and nothing is changed."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from poller.core.model import Position
from poller.errors import StateError
from poller.stores import sqlite_file
from poller.stores.sqlite import open_sqlite

ROOT = Path(__file__).parents[2]
NOBODY = 65534


async def use(path: Path) -> dict[str, Position]:
    async with open_sqlite(path) as store:
        await store.save("m", "a", Position("1"))
        return await store.positions("m")


def make_text(path: Path) -> None:
    path.write_text("state: of the nation\n" * 100)


def make_other_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE positions (mapping, shard, position)")


def make_newer(path: Path) -> None:
    asyncio.run(use(path))
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version=99")


def make_large(path: Path) -> None:
    """Some megabytes of positions, more than SQLite keeps in memory."""
    asyncio.run(use(path))
    with closing(sqlite3.connect(path)) as other:
        rows = ((f"shard-{number}", "1" * 100) for number in range(30_000))
        other.executemany(
            """INSERT INTO positions VALUES ('m', ?, '{"sequence":"' || ? || '"}')""", rows
        )
        other.commit()


def damage(path: Path) -> None:
    """Overwrite the file but its first pages."""
    with path.open("r+b") as file:
        file.seek(64 * 1024)
        file.write(b"\xaa" * (path.stat().st_size - 64 * 1024))


def make_damaged(path: Path) -> None:
    make_large(path)
    damage(path)


def make_cut(path: Path) -> None:
    make_large(path)
    os.truncate(path, path.stat().st_size // 2)


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a folder": (Path.mkdir, "is a folder: name a file in it"),
    "a device": (lambda path: path.symlink_to("/dev/null"), "is not a regular file"),
    "a fifo": (os.mkfifo, "is not a regular file"),
    "text": (make_text, "is not an SQLite database: name another file"),
    "another program's": (make_other_program, "belongs to another program: name another file"),
    "newer": (
        make_newer,
        r"was written by a newer poller \(version 99 of the file, this one",
    ),
    "damaged": (make_damaged, "is damaged: put a copy of it in its place, or move it away"),
    "cut off": (make_cut, "is damaged: put a copy of it in its place, or move it away"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_state_file_is_refused_and_left_as_it_is(kind: str, tmp_path: Path) -> None:
    make, reason = REFUSED[kind]
    path = tmp_path / "state.db"
    make(path)
    before = path.read_bytes() if path.is_file() else None

    with pytest.raises(StateError, match=rf"state\.db {reason}") as refusal:
        asyncio.run(use(path))

    assert "\n" not in str(refusal.value)
    assert (path.read_bytes() if path.is_file() else None) == before
    assert [file.name for file in tmp_path.iterdir()] == ["state.db"]


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"cannot be created: there is no folder .*/missing$"):
        await use(tmp_path / "missing" / "state.db")


async def test_an_empty_file_becomes_a_state_file(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.touch()

    assert await use(path) == {"a": Position("1")}


async def test_a_file_has_one_poller_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with open_sqlite(path) as store:
        with pytest.raises(StateError, match="is in use by another poller"):
            await use(path)  # in this process
        second = run("asyncio.run(use(Path(sys.argv[1])))", arguments=[path])
        await store.save("m", "b", Position("2"))

    assert "is in use by another poller: stop that one" in second.stderr
    assert set(await use(path)) == {"a", "b"}


async def test_a_locked_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "OPEN_PATIENCE", 0.05)
    path = tmp_path / "state.db"
    await use(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateError, match=r"state\.db is locked by another program: end"):
            await use(path)

    assert await use(path) == {"a": Position("1")}


async def test_damage_that_comes_later_is_told(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    await asyncio.to_thread(make_large, path)
    async with open_sqlite(path) as store:
        damage(path)
        with pytest.raises(StateError, match=r"state\.db is damaged: put a copy"):
            await store.positions("m")


@pytest.fixture
def anyones_folder() -> Iterator[Path]:
    """A folder that other users may read, unlike those that pytest makes."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
        Path(folder).chmod(0o755)


@pytest.mark.parametrize("mode", [0o444, 0o666, None], ids=["file", "folder", "new file"])
def test_what_this_user_may_not_write_is_refused(anyones_folder: Path, mode: int | None) -> None:
    path = anyones_folder / "state.db"
    if mode is not None:
        path.touch()
        path.chmod(mode)
    anyones_folder.chmod(0o555)

    refused = run(
        f"os.getuid() or os.setuid({NOBODY})",  # the superuser may write anything
        "StateFile(Path(sys.argv[1]))",
        arguments=[path],
    )

    assert "state.db cannot be written: give this user the file and its folder" in refused.stderr
    assert [file.stat().st_size for file in anyones_folder.iterdir()] == [0] * (mode is not None)


FULL_DISK = """
async def main():
    async with open_sqlite(path) as store:
        await store.save("m", "a", Position("1"))
        limit = path.with_name("state.db-wal").stat().st_size + 100_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        large = Failure("m", "f", "s", "d", "{}", "x" * 1_000_000, "k", 1)
        problem, saved = await asyncio.gather(
            store.keep(large), store.save("m", "a", Position("2")), return_exceptions=True
        )
        assert isinstance(problem, StateError), problem
        assert saved is None, saved
        assert await store.positions("m") == {"a": Position("2")}
        for number in range(3, 1000):
            try:
                await store.save("m", "a", Position(str(number)))
            except StateError as error:
                print(error)
                break
        else:
            raise AssertionError("the disk never was full")
        assert await store.positions("m") == {"a": Position(str(number - 1))}
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        await store.save("m", "a", Position("5000"))
path = Path(sys.argv[1])
asyncio.run(main())
assert asyncio.run(use(path)) == {"a": Position("1")}
"""


def test_a_full_disk_fails_saves_until_there_is_room(tmp_path: Path) -> None:
    done = run(*FULL_DISK.splitlines(), arguments=[tmp_path / "state.db"])

    assert done.returncode == 0, done.stderr
    assert "state.db failed: check its disk and the free space" in done.stdout


def run(*lines: str, arguments: list[Path]) -> subprocess.CompletedProcess[str]:
    """Run `lines` with this module's names in a process of its own."""
    code = "\n".join(
        [
            "import asyncio, os, resource, sys",
            "from tests.stores.test_sqlite_files import *",
            "from poller.interfaces import Failure",
            "from poller.stores.sqlite_file import StateFile",
            *lines,
        ]
    )
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
