"""Where a mapping begins to read a stream: StartingPosition and its timestamp (spec 1.1, 1.2)."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from poller.core.model import Instant

from .arns import Source, SourceKind
from .constraints import constraint, validation_errors
from .fields import Fields
from .problems import shown

_LAST_INSTANT: Instant = datetime.max.replace(tzinfo=UTC).timestamp()


class StartingPosition(StrEnum):
    """In the order in which AWS lists them in its error message."""

    LATEST = "LATEST"
    AT_TIMESTAMP = "AT_TIMESTAMP"
    TRIM_HORIZON = "TRIM_HORIZON"


def read_start(
    fields: Fields, source: Source | None, now: Instant
) -> tuple[StartingPosition | None, Instant | None]:
    """The starting position that a request asks for, and the time that AT_TIMESTAMP needs.

    Nothing is noted about a queue, where neither applies; `source` is None where it is not known.
    """
    if source is not None and not source.kind.is_stream:
        return None, None
    timestamp = _timestamp(fields, now)
    position = _position(fields, source)
    if position is not None:
        _check_together(fields, source, position)
    return position, timestamp


def _position(fields: Fields, source: Source | None) -> StartingPosition | None:
    text = fields.text("StartingPosition")
    if text is None:
        if source is not None and fields.sound("StartingPosition"):
            fields.note(
                "StartingPosition",
                "1 validation error detected: Value null at 'startingPosition' failed to satisfy "
                "constraint: Member must not be null.",
                "write TRIM_HORIZON or LATEST",
            )
        return None
    try:
        return StartingPosition(text)
    except ValueError:
        rule = f"satisfy enum value set: [{', '.join(StartingPosition)}]"
        message = constraint(("StartingPosition",), text, rule)
        fields.note_constraint("StartingPosition", validation_errors([message]), rule)
        return None


def _check_together(fields: Fields, source: Source | None, position: StartingPosition) -> None:
    """AT_TIMESTAMP is for Kinesis, and it goes with a StartingPositionTimestamp."""
    timed = position is StartingPosition.AT_TIMESTAMP
    if timed and source is not None and source.kind is SourceKind.DYNAMODB:
        fields.note(
            "StartingPosition",
            f"Unsupported starting position for arn type: {source.arn}",
            "write TRIM_HORIZON or LATEST",
        )
    elif timed and not fields.has("StartingPositionTimestamp"):
        fields.note("StartingPositionTimestamp", "is missing", "AT_TIMESTAMP needs it")
    elif not timed and fields.has("StartingPositionTimestamp"):
        fields.note(
            "StartingPositionTimestamp",
            "has no effect without StartingPosition AT_TIMESTAMP",
            "remove it, or start AT_TIMESTAMP",
        )


def _timestamp(fields: Fields, now: Instant) -> Instant | None:
    name = "StartingPositionTimestamp"
    value = fields.get(name)
    if value is None:
        return None
    instant = _instant(value)
    if instant is None or not 0 <= instant <= _LAST_INSTANT:
        wanted = "must be epoch seconds or a time such as 2026-01-31T12:00:00Z"
        fields.note(name, f"{wanted}, not {shown(value)}")
    elif instant > now:
        fields.note(name, f"is in the future: {shown(value)}", "write a time that has passed")
    return instant


def _instant(value: Any) -> Instant | None:
    """Epoch seconds; ISO 8601 without an offset is UTC."""
    match value:
        case int() | float() if not isinstance(value, bool):
            return value if abs(value) <= _LAST_INSTANT else None
        case str():
            try:
                moment = datetime.fromisoformat(value)
                return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
            except (ValueError, OverflowError):
                return None
        case _:
            return None
