"""The shard plan: which shards of a stream may be read now.

A child starts once all its parents that are still listed are finished, so that no record of a key
runs before an older one of the same key (spec 3.2).  A parent that is no longer listed has been
trimmed; nothing can wait for it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from .model import Position


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard as the stream lists it; a merge has two parents."""

    id: str
    parents: tuple[str, ...] = ()
    closed: bool = False


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """Shards to start, and stored positions that nothing needs any more."""

    start: tuple[str, ...]
    forget: tuple[str, ...]


def plan_shards(
    listed: Sequence[Shard], positions: Mapping[str, Position], running: Collection[str]
) -> ShardPlan:
    """What to do, given what the stream lists, what is stored, and what runs."""
    finished = {shard for shard, position in positions.items() if position.ended}
    names = {shard.id for shard in listed}
    start = tuple(
        shard.id
        for shard in listed
        if shard.id not in running
        and shard.id not in finished
        and all(parent in finished or parent not in names for parent in shard.parents)
    )
    forget = tuple(shard for shard in positions if shard not in names and shard not in running)
    return ShardPlan(start, forget)
