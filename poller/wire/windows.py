"""Tumbling windows on the wire: what an event says of its window (spec 4.2).

The members stand behind `Records`, in AWS's order.  The state is the JSON that the function itself
returned, byte for byte.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from poller.core.model import Instant, WindowTurn

FRAME_BYTES_MAX = 1024  # of the members of a window with an empty state

_encode = msgspec.json.Encoder().encode


def in_window(event: bytes, turn: WindowTurn, *, shard: str, source_arn: str) -> bytes:
    """`event`, which is an object with records, as the event of a window."""
    return (
        b'%b,"window":{"start":"%b","end":"%b"},"state":%b,"shardId":%b,"eventSourceARN":%b,'
        b'"isFinalInvokeForWindow":%b,"isWindowTerminatedEarly":%b}'
    ) % (
        event[:-1],
        iso(turn.start).encode(),
        iso(turn.end).encode(),
        turn.state,
        _encode(shard),
        _encode(source_arn),
        _encode(turn.final),
        _encode(turn.early),
    )


def iso(instant: Instant) -> str:
    """As `2020-12-09T07:04:00Z`: windows begin and end with whole seconds."""
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
