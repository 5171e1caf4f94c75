"""Where reading of a Kinesis shard is: places to begin at, how far it has come, places lost.

Both ways of reading, polled and pushed, are at such places, and say the same of them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence

from poller.core.model import BEGINNING, EVERYTHING, Instant, Record, Seconds
from poller.core.steps import Fetched

GONE = "ResourceNotFoundException"
INVALID = frozenset({"InvalidArgumentException", "ValidationException"})
THROTTLED_FOR: Seconds = 1.0  # AWS: wait a second (spec 3.1)

Seek = Mapping[str, str | float]  # what GetShardIterator is asked for

OLDEST: Seek = {"ShardIteratorType": "TRIM_HORIZON"}
TIP: Seek = {"ShardIteratorType": "LATEST"}

_log = logging.getLogger("poller.sources")


def after(sequence: str) -> Seek:
    return {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": sequence}


def from_instant(at: Instant) -> Seek:
    return {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": at}


def reach(
    records: Sequence[Record], millis_behind: float | None, asked_at: Instant, *, at_tip: bool
) -> Instant:
    """The instant before which everything has been read.

        | MillisBehindLatest | at tip | is                                             |
        | 0                  | yes    | when it was asked: caught up                   |
        | 0                  | no     | the last arrival: kinesalite says 0 everywhere |
        | more               | any    | that long before, or the last arrival if later |

    `at_tip`: no more records can have been there.  A server whose clock is ahead must not make a
    reader that is behind look caught up.
    """
    behind = (millis_behind or 0.0) / 1000
    if behind <= 0 and at_tip:
        return asked_at
    last = records[-1].arrived_at if records else BEGINNING
    known = last if behind <= 0 else max(last, asked_at - behind)
    return min(known, math.nextafter(asked_at, BEGINNING))


def the_end(now: Instant) -> Fetched:
    """What reading beyond the end of a shard brings."""
    return Fetched((), 0, now, EVERYTHING, shard_ended=True)


def warn_unknown(shard: str, sequence: str | float, error: Exception) -> None:
    """The stream no longer has the place after a record."""
    _log.warning(
        "%s: the stream no longer knows record %s; reading goes on at the oldest record, "
        "and what was between is lost (%s)",
        shard,
        sequence,
        error,
        extra={"shard": shard},
    )


def warn_lost(shard: str, seek: Seek) -> None:
    """The shard itself is gone, whether or not it was read to its end."""
    _log.warning(
        "%s is no longer in the stream: it counts as ended, and records beyond %s, of which "
        "there may be any number, are lost",
        shard,
        _place(seek),
        extra={"shard": shard},
    )


def warn_dropped(shard: str, count: int) -> None:
    """Records of aggregates were left out, `count` of them so far."""
    _log.warning(
        "%s: %d records of aggregates, so far, have keys of another shard and are dropped, as "
        "Lambda does",
        shard,
        count,
        extra={"shard": shard},
    )


def _place(seek: Seek) -> str:
    match seek:
        case {"StartingSequenceNumber": sequence}:
            return f"record {sequence}"
        case {"Timestamp": at}:
            return f"the instant {at}"
        case _:
            return "its beginning"
