"""Stored positions: a shard's `Position` to JSON text and back.

The text names only what differs from an empty position, `{"sequence":"4957"}` as a rule, and its
shape is its version: a member that this version does not know is refused, never skipped, since a
position that is read wrongly skips records.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from poller.core.model import Begun, LaneMarks, Position, TumblingWindow

Sequence = Annotated[str, msgspec.Meta(pattern=r"^[0-9]+\Z")]


class Marks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`LaneMarks` as stored: one settled sequence number, or null, for each of `count` lanes."""

    count: Annotated[int, msgspec.Meta(ge=1)]
    settled: tuple[Sequence | None, ...]


class Aggregate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`Begun` as stored."""

    sequence: Sequence
    settled: Annotated[int, msgspec.Meta(ge=1)]


class Window(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """`TumblingWindow` as stored; the JSON of its state is a string, so that it stays as it is."""

    start: float
    end: float
    state: str | None = None


class Stored(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """`Position` as stored, with the same members."""

    sequence: Sequence | None = None
    since: float | None = None
    ahead: tuple[Marks, ...] = ()
    ended: bool = False
    begun: Aggregate | None = None
    window: Window | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Stored)


def encode_position(position: Position) -> str:
    """The JSON text of `position`."""
    ahead = tuple(Marks(marks.count, marks.settled) for marks in position.ahead)
    begun = position.begun
    aggregate = None if begun is None else Aggregate(begun.sequence, begun.settled)
    stored = Stored(
        position.sequence,
        position.since,
        ahead,
        position.ended,
        aggregate,
        _stored_window(position.window),
    )
    return _encoder.encode(stored).decode()


def decode_position(text: str | bytes) -> Position:
    """The position that `text` holds.

    Raises ValueError, with one line that says what is wrong, on anything that `encode_position`
    of this version does not write.
    """
    try:
        stored = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ValueError(f"not a position of this version: {error}") from error
    for marks in stored.ahead:
        if len(marks.settled) != marks.count:
            raise ValueError(f"not a position: {len(marks.settled)} marks for {marks.count} lanes")
    ahead = tuple(LaneMarks(marks.count, marks.settled) for marks in stored.ahead)
    aggregate = stored.begun
    begun = None if aggregate is None else Begun(aggregate.sequence, aggregate.settled)
    window = _window(stored.window)
    return Position(stored.sequence, stored.since, ahead, stored.ended, begun, window)


def _stored_window(window: TumblingWindow | None) -> Window | None:
    if window is None:
        return None
    return Window(window.start, window.end, None if window.state is None else window.state.decode())


def _window(stored: Window | None) -> TumblingWindow | None:
    """Raises ValueError."""
    if stored is None:
        return None
    if stored.start >= stored.end:
        raise ValueError(f"not a position: a window from {stored.start} to {stored.end}")
    state = None if stored.state is None else stored.state.encode()
    return TumblingWindow(stored.start, stored.end, state)
