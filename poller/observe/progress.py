"""What a person wants to see of each mapping, as values: the rows of the progress and summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from poller.core.model import Seconds
from poller.interfaces import Unit
from poller.wire.arns import SourceKind, parse_source

from .board import Board, MappingStatus, Running, by_mapping, waiting_records
from .counts import Counts
from .tally import Tally, UnitTally

_KINDS = {
    SourceKind.KINESIS: "Kinesis",
    SourceKind.DYNAMODB: "DynamoDB",
    SourceKind.SQS: "SQS",
}
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_SIZES = (("k", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12))


@dataclass(frozen=True, slots=True)
class Row:
    """One mapping.  `state` is AWS's, or `blocked`; `note` says why it is not as it should be."""

    uuid: str
    kind: str
    source: str
    function: str
    state: str
    note: str
    counts: Counts
    in_flight: int
    behind: Seconds | None
    waiting: int | None


def rows(board: Board, tally: Tally) -> Sequence[Row]:
    """A row for each mapping, in the order in which they were added."""
    mappings, running = board.mappings(), by_mapping(board.running())
    counts = tally.sums(status.uuid for status in mappings)
    return tuple(
        _row(status, running.get(status.uuid, ()), counts[status.uuid], tally.units)
        for status in mappings
    )


def _row(
    status: MappingStatus,
    running: Sequence[Running],
    counts: Counts,
    units: Mapping[Unit, UnitTally],
) -> Row:
    source = parse_source(status.source_arn)
    blocked = next((one.snapshot.blocked for one in running if one.snapshot.blocked), None)
    known = [one.behind for one in running if one.behind is not None]
    return Row(
        uuid=status.uuid,
        kind=_KINDS[source.kind],
        source=source.name,
        function=status.function,
        state="blocked" if blocked else status.state,
        note=status.reason or blocked or "",
        counts=counts,
        in_flight=sum(units[one.unit].in_flight for one in running if one.unit in units),
        behind=max(known, default=None),
        waiting=waiting_records(status, running),
    )


def total(mappings: Sequence[Row]) -> Row:
    """The sums of all counts, as a row without a source."""
    counts = Counts()
    for row in mappings:
        counts.add(row.counts)
    return Row("", "total", "", "", "", "", counts, 0, None, None)


def describe(row: Row, width: int | None = None, *, ascii_only: bool = False) -> str:
    """`Kinesis orders → orders`; names lose their middle where that is wider than `width`."""
    if not row.source:
        return row.kind
    arrow, dots = ("->", "..") if ascii_only else ("→", "…")
    source, function = row.source, row.function
    if width is not None:
        room = width - len(f"{row.kind}  {arrow} ")
        of_source = max(room - len(function), room // 2)
        source = shorten(source, of_source, dots)
        function = shorten(function, room - len(source), dots)
    return f"{row.kind} {source} {arrow} {function}"


def shorten(name: str, width: int, dots: str = "…") -> str:
    """`name` in `width` columns at most, without its middle if need be."""
    if len(name) <= width:
        return name
    kept = max(0, width - len(dots))
    tail = kept // 2
    return f"{name[: kept - tail]}{dots}{name[len(name) - tail :]}"[: max(0, width)]


def lag_text(row: Row) -> str:
    """How far behind, in at most 9 columns: `0.3 s`, `12 s`, `3m 20s`; a queue: `812 msg`."""
    if row.behind is not None:
        return duration_text(row.behind)
    return "?" if row.waiting is None else f"{count_text(row.waiting)} msg"


def duration_text(seconds: Seconds) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m {whole % _MINUTE:02}s"
    if whole < _DAY:
        return f"{whole // _HOUR}h {whole % _HOUR // _MINUTE:02}m"
    return f"{whole // _DAY}d {whole % _DAY // _HOUR:02}h"


def number_text(count: int, width: int) -> str:
    """`12,345` where that fits into `width` columns, else as `count_text`."""
    full = f"{count:,}"
    return full if len(full) <= width else count_text(count)


def count_text(count: int) -> str:
    """In at most 5 columns: `9999`, `12.3k`, `4.56M`."""
    if count < 10_000:
        return str(count)
    name, size = next((each for each in _SIZES if count < 999.5 * each[1]), _SIZES[-1])
    value = count / size
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}{name}"
