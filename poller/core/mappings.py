"""The plan of mappings: who owns which, the config file or the API.

Both write one desired state.  A mapping is known by its source and its function; what the API owns
and the file names, too, becomes the file's, with its UUID and so with its position.  A mapping that
leaves the file keeps its row, for when it comes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .model import Instant

Pair = tuple[str, str]  # source and function


@dataclass(frozen=True, slots=True)
class Known:
    """A stored mapping."""

    uuid: str
    pair: Pair
    of_file: bool
    modified_at: Instant


@dataclass(frozen=True, slots=True)
class Claim:
    """A mapping of the file; `uuid` is what it is called if its pair is not known yet."""

    uuid: str
    pair: Pair


@dataclass(frozen=True, slots=True)
class MappingPlan:
    """`claimed`: the UUID of each claim.  `apart`: the API's own, which the file does not name.
    `replaced`: rows of the file that one of the API stands for now."""

    claimed: tuple[str, ...]
    apart: tuple[str, ...]
    replaced: tuple[str, ...]


def plan_mappings(known: Sequence[Known], claims: Sequence[Claim]) -> MappingPlan:
    """Who is who, given the rows of the store and the mappings of the file; a pair is claimed
    once at most."""
    by_pair: dict[Pair, list[Known]] = {}
    for row in known:
        by_pair.setdefault(row.pair, []).append(row)
    claimed: list[str] = []
    replaced: list[str] = []
    for claim in claims:
        rows = sorted(by_pair.get(claim.pair, ()), key=_precedence, reverse=True)
        claimed.append(rows[0].uuid if rows else claim.uuid)
        replaced += [row.uuid for row in rows[1:]]
    taken = {*claimed, *replaced}
    apart = tuple(row.uuid for row in known if not row.of_file and row.uuid not in taken)
    return MappingPlan(tuple(claimed), apart, tuple(replaced))


def _precedence(row: Known) -> tuple[bool, Instant]:
    """The API's is the one that runs; of those that left the file the last."""
    return (not row.of_file, row.modified_at)
