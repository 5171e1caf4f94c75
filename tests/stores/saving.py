"""A process that saves positions of several shards for ever, and says what was acknowledged."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from poller.core.model import Position
from poller.stores.sqlite import open_sqlite

SHARDS = ("a", "b", "c")


async def save_for_ever(path: Path, first: int) -> None:
    """Writes `SHARD SEQUENCE` to stdout after each save, sequences rising from `first`."""
    async with open_sqlite(path) as store, asyncio.TaskGroup() as tasks:

        async def save_shard(shard: str) -> None:
            sequence = first
            while True:
                await store.save("m", shard, Position(str(sequence)))
                os.write(1, f"{shard} {sequence}\n".encode())
                sequence += 1

        for shard in SHARDS:
            tasks.create_task(save_shard(shard))


if __name__ == "__main__":
    asyncio.run(save_for_ever(Path(sys.argv[1]), int(sys.argv[2])))
