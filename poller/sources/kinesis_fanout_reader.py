"""Reads one Kinesis shard from what is pushed to a consumer: enhanced fan-out (spec 3.3, 3.4).

A subscription lasts five minutes and is followed by the next one, from where it stopped.  Its
events wait in the socket until they are asked for, so a machine that asks for nothing holds the
server up; what it misses while its subscription ends, the next subscription brings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from poller.aws.client import AwsError
from poller.aws.event_streams import Event
from poller.core.model import BEGINNING, EVERYTHING, Instant, Seconds
from poller.core.shards import Shard
from poller.core.steps import Fetched, FetchFailed
from poller.errors import SourceMissing
from poller.wire.aggregates import unpack
from poller.wire.kinesis import KinesisCodec, KinesisRecord, Malformed

from .kinesis_places import (
    GONE,
    INVALID,
    OLDEST,
    THROTTLED_FOR,
    Seek,
    after,
    reach,
    the_end,
    warn_dropped,
    warn_lost,
    warn_unknown,
)
from .paces import Pace

LIFETIME: Seconds = 300.0  # of a subscription (spec 3.3)
LIFETIME_SLACK: Seconds = 15.0  # by which it may end sooner or later
SILENCE_MAX: Seconds = 30.0  # AWS pushes an event every five seconds, also where there is no record
OVERDUE_SILENCE_MAX: Seconds = 1.0  # for a subscription that should have ended
TAKEOVER_AFTER: Seconds = 5.0  # AWS: only then may a subscription replace the one before
IN_USE_WAIT_MAX: Seconds = 60.0
UNDER_WAY_MAX: Seconds = 1.0  # how long an event may take from the server to here

_EVENT = "SubscribeToShardEvent"
_IN_USE = "ResourceInUseException"
_CUT = frozenset({"ConnectionLost", "TimedOut"})


class _Pushed(NamedTuple):
    """An event that is not taken in yet; everything sent before `asked_at` came before it."""

    event: Event
    asked_at: Instant


class Subscription(Protocol):
    """The events that are pushed; see `EventStream`."""

    async def next(self, *, silence_max: Seconds) -> Event | None: ...

    def close(self) -> None: ...


class Consumer(Protocol):
    """What a reader asks of its consumer."""

    async def shards(self) -> Sequence[Shard]: ...

    async def hash_keys(self, shard: str) -> range: ...

    async def subscribe(self, shard: str, seek: Seek) -> Subscription: ...


class FanoutReader:
    """A `ShardReader`.

    The place of a reader is `_seek`, after the last record that it took in; `_continuation` is a
    shortcut to it that the stream may forget.  What is taken in and not yet handed out waits.
    """

    def __init__(
        self,
        consumer: Consumer,
        codec: KinesisCodec,
        *,
        shard: str,
        seek: Seek,
        subscription: Subscription | None,
        now: Callable[[], Instant],
        pace: Pace,
    ) -> None:
        self._consumer = consumer
        self._codec = codec
        self._shard = shard
        self._seek = seek
        self._continuation: str | None = None
        self._now = now
        self._pace = pace
        self._subscription = subscription
        self._subscribed_at = now()
        self._has_brought = False  # something, this subscription
        self._times_in_use = 0
        self._hash_keys: range | None = None
        self._pushed: _Pushed | None = None
        self._failure: FetchFailed | None = None
        self._waiting: Sequence[KinesisRecord] = ()
        self._asked_at: Instant = BEGINNING
        self._reach: Instant = BEGINNING  # once nothing waits any more
        self._read_up_to: Instant = BEGINNING
        self._may_have_ended = False
        self._ended = False
        self._dropped = 0
        self._told_of = 0

    async def ready(self) -> None:
        """Return once there is something to read, or a failure to tell of."""
        try:
            while not (self._waiting or self._ended or self._pushed or self._failure):
                await self._receive()
        except (AwsError, Malformed, SourceMissing) as error:
            self.close()
            self._failure = self._failed(error)

    async def read(self, limit: int) -> Fetched | FetchFailed:
        """About `limit` records of one event; waits for an event if need be.

        Records that share a sequence number come together.  What goes wrong outside is a
        FetchFailed.  May be cancelled at any time.
        """
        await self.ready()
        failure, self._failure = self._failure, None
        if failure is not None:
            return failure
        try:
            self._take_in()
        except Malformed as error:
            self.close()
            return self._failed(error)
        if self._ended and not self._waiting:
            self.close()
            return the_end(self._now())
        return self._handed_out(max(1, limit))

    def close(self) -> None:
        """Let the subscription go, if there is one."""
        if self._subscription is not None:
            self._subscription.close()
        self._subscription = None

    # Subscriptions.

    async def _receive(self) -> None:
        """One step towards the next event; this is how a subscription may go on:

        | the server says                      | then                                        |
        | an event                             | keep it until it is read                    |
        | nothing more, after five minutes     | subscribe anew, unseen                      |
        | the continuation is not known        | subscribe after the last record, unseen     |
        | the record is not known              | subscribe at the oldest, with a warning     |
        | not found, the shard is not listed   | the shard is lost: it ends, with a warning  |
        | in use: somebody else has subscribed | fail; wait longer each time                 |
        | anything else, also silence          | fail                                        |
        """
        asked_at = self._now()
        if self._hash_keys is None:
            self._hash_keys = await self._consumer.hash_keys(self._shard)
        if self._may_have_ended:
            self._ended = await self._is_listed(closed=True)
            self._may_have_ended = False
            return
        try:
            event = await self._next_event()
        except AwsError as error:
            self.close()
            if self._is_over(error):
                event = None
            elif await self._found_way(error):
                return
            else:
                raise
        if event is None:
            self._end_subscription()
        elif event.kind == _EVENT:  # a subscription begins with one that only says so
            # What waited in the socket may have been sent long ago.
            since = self._now() - UNDER_WAY_MAX if event.fresh else self._now()
            self._pushed = _Pushed(event, max(asked_at, since))

    async def _next_event(self) -> Event | None:
        if self._subscription is None:
            await self._pace.turn()
            self._has_brought = False
            where = self._seek if self._continuation is None else after(self._continuation)
            self._subscription = await self._consumer.subscribe(self._shard, where)
            self._subscribed_at = self._now()
            self._pace.rest(TAKEOVER_AFTER)
        is_overdue = self._now() - self._subscribed_at > LIFETIME + LIFETIME_SLACK
        silence_max = OVERDUE_SILENCE_MAX if is_overdue else SILENCE_MAX
        return await self._subscription.next(silence_max=silence_max)

    def _end_subscription(self) -> None:
        self.close()
        self._times_in_use = 0
        if not self._has_brought:
            raise Malformed("the subscription ended before its first event")

    def _is_over(self, error: AwsError) -> bool:
        """Whether this is how a subscription looks that has lasted as long as it may."""
        age = self._now() - self._subscribed_at
        return error.code in _CUT and self._has_brought and age > LIFETIME - LIFETIME_SLACK

    async def _found_way(self, error: AwsError) -> bool:
        """Whether there is another place to subscribe at, or the shard has ended by this error.

        Raises SourceMissing if the stream or the consumer is gone.
        """
        if error.code == GONE and not await self._is_listed():
            warn_lost(self._shard, self._seek)
            self._ended = True
            return True
        if error.code != GONE and error.code not in INVALID:
            return False
        if self._continuation is not None:
            self._continuation = None
            return True
        if (sequence := self._seek.get("StartingSequenceNumber")) is None:
            return False
        warn_unknown(self._shard, sequence, error)
        self._seek = OLDEST
        return True

    async def _is_listed(self, *, closed: bool = False) -> bool:
        """Whether the shard exists, and with `closed`, has ended.  Raises SourceMissing."""
        shards = await self._consumer.shards()
        return any(shard.id == self._shard and shard.closed >= closed for shard in shards)

    # Events.  No awaits from here on: a place moves whole or not at all.

    def _take_in(self) -> None:
        """Make the records of what was pushed wait.  Raises Malformed; it comes again then."""
        if self._pushed is None:
            return
        (event, asked_at), self._pushed = self._pushed, None
        pushed = self._codec.pushed(self._shard, event.payload)
        assert self._hash_keys is not None
        unpacked = unpack(pushed.records, self._hash_keys)
        self._count_dropped(unpacked.dropped)
        self._waiting, self._has_brought = unpacked.records, True
        if pushed.records:
            self._seek = after(pushed.records[-1].sequence)
        self._continuation = pushed.continuation
        self._ended = bool(pushed.children)
        # AWS says neither without the other; some emulators never tell a continuation.
        self._may_have_ended = not self._ended and not pushed.continuation
        self._asked_at = asked_at
        behind = pushed.millis_behind if event.fresh else None
        self._reach = reach(pushed.records, behind, asked_at, at_tip=event.fresh)

    def _handed_out(self, limit: int) -> Fetched:
        """Up to `limit` of the records that wait, and the rest of the last one's aggregate."""
        count = min(limit, len(self._waiting))
        while 0 < count < len(self._waiting):
            if self._waiting[count].sequence != self._waiting[count - 1].sequence:
                break
            count += 1
        records, self._waiting = self._waiting[:count], self._waiting[count:]
        if self._waiting:
            read = reach(records, None, self._asked_at, at_tip=False)
        else:
            read = EVERYTHING if self._ended else self._reach
        self._read_up_to = max(self._read_up_to, read)
        size = sum(record.size for record in records)
        ended = self._read_up_to == EVERYTHING
        return Fetched(records, size, self._asked_at, self._read_up_to, ended)

    def _failed(self, error: AwsError | Malformed | SourceMissing) -> FetchFailed:
        why = f"reading {self._shard}: {error}"
        if not isinstance(error, AwsError):
            return FetchFailed(why)
        if error.code == _IN_USE:
            wait = min(TAKEOVER_AFTER * 2 ** min(self._times_in_use, 8), IN_USE_WAIT_MAX)
            self._times_in_use += 1
            return FetchFailed(f"{why}; every mapping needs a consumer of its own", wait)
        retry_after = error.retry_after
        if error.throttled:
            retry_after = max(retry_after or 0.0, THROTTLED_FOR)
            self._pace.rest(retry_after)
        return FetchFailed(why, retry_after)

    def _count_dropped(self, dropped: int) -> None:
        """Say how many user records were left out, each time that it is twice as many."""
        self._dropped += dropped
        if self._dropped >= max(1, 2 * self._told_of):
            self._told_of = self._dropped
            warn_dropped(self._shard, self._dropped)
