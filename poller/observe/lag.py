"""How far behind a shard or a queue is, in seconds."""

from __future__ import annotations

from poller.core.model import BEGINNING, Instant, Seconds, Snapshot
from poller.interfaces import Unit


def seconds_behind(
    unit: Unit, snapshot: Snapshot, now: Instant, *, since: Instant
) -> Seconds | None:
    """How long the oldest work that is known of, or possible, has waited.

    caught up, nothing unsettled    0
    something unsettled             the age of the oldest of it
    a queue whose age is unknown    None: its messages are counted instead
    nothing was read yet            the time since its machine was registered, `since`
    nothing unsettled, but behind   the time since the instant up to which everything was read
    """
    if snapshot.caught_up and not snapshot.unsettled:
        return 0.0
    if snapshot.oldest is not None:
        return max(0.0, now - snapshot.oldest)
    if not unit.shard:
        return None
    if snapshot.read_up_to is None or snapshot.read_up_to == BEGINNING:
        return max(0.0, now - since)
    return max(0.0, now - snapshot.read_up_to)
