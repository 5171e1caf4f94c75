"""What the engine asks of the outside: Protocols of a few methods, and the values they exchange."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from poller.core.model import Instant, Message, MessageBatch, Position, Record, Seconds
from poller.core.shards import Shard
from poller.core.steps import (
    Deleted,
    Extended,
    Fetched,
    FetchFailed,
    Received,
    ReceiveFailed,
    Released,
)
from poller.event_queue import EventStore
from poller.wire.invocation_records import Notice

EVENT_BYTES_MAX = 1024 * 1024  # of an asynchronous invocation (spec 12.1)

# Streams and queues.


class ShardReader(Protocol):
    """Reads one shard, onwards from where it was opened."""

    async def ready(self) -> None:
        """Return when there is something to read, if that can be known without reading it.

        May be cancelled at any time.
        """

    async def read(self, limit: int) -> Fetched | FetchFailed:
        """Up to `limit` records.  What goes wrong outside is a FetchFailed, never an exception.

        Records that share a sequence number come together, beyond the limit if need be.  May be
        cancelled at any time; records of a cancelled read come again with the next one.
        """

    def close(self) -> None:
        """Let go of what is held between reads; no read follows."""


class ShardSource(Protocol):
    """A stream: its shards, a reader for each, and the events its records become."""

    async def shards(self) -> Sequence[Shard]:
        """All shards that are listed, closed ones too.  Raises SourceMissing."""

    async def pin(self) -> Mapping[str, Position]:
        """Positions that stand for LATEST, now: open shards at their tip, closed ones ended.

        The iterators are kept for these shards' readers, until `unpin`.  Raises SourceMissing.
        """

    def unpin(self) -> None: ...

    def reader(self, shard: str, resume: Position | None) -> ShardReader:
        """A reader after `resume`; with None: from where this mapping starts unknown shards."""

    def event(self, shard: str, records: Sequence[Record]) -> bytes:
        """The JSON that a function receives for `records`, which this source's readers read."""


class QueueSource(Protocol):
    """A queue.  What goes wrong outside is a value, never an exception."""

    async def check(self) -> None:
        """Return if the queue is there and may be received from.  Raises SourceMissing."""

    async def receive(self, limit: int) -> Received | ReceiveFailed:
        """A long poll for up to `limit` messages (1 to 10).  Must not be cancelled lightly:
        messages of a cancelled receive stay hidden for their visibility timeout."""

    async def delete(self, messages: Sequence[Message]) -> Deleted: ...

    async def release(self, messages: Sequence[Message]) -> Released:
        """Make messages visible again at once, as far as that is permitted."""

    async def extend(self, batch: MessageBatch, seconds: int) -> Extended:
        """Hide the messages of `batch` for `seconds` from now on, as far as that is permitted."""

    async def backlog(self) -> int | None:
        """Messages that wait in the queue, roughly; None if it cannot be told now."""

    def event(self, messages: Sequence[Message]) -> bytes:
        """The JSON that a function receives for `messages`."""


# Functions.


@dataclass(frozen=True, slots=True)
class Invocation:
    """One synchronous invocation: `event` is the JSON payload, `request_id` a UUID.

    `trace_id`: an X-Ray header, `traceparent`: W3C's.  `client_context`: base64 of JSON, as
    X-Amz-Client-Context has it.  `log_tail`: the end of what the function prints is wanted.
    """

    event: bytes
    request_id: str
    function_arn: str
    trace_id: str
    client_context: str = ""
    log_tail: bool = False
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Ran:
    """The function returned; `body` is what it returned, as bytes (perhaps empty).

    `log`: the end of what it printed, with Lambda's START, END and REPORT lines, if wanted.
    """

    body: bytes
    executed_version: str = "$LATEST"
    log: bytes = b""


@dataclass(frozen=True, slots=True)
class Errored:
    """The function was reached and failed: it raised, timed out, exited, answered garbage.

    `payload`: the error as the function's runtime wrote it, whole; empty where it wrote none.
    `log`: as in `Ran`.
    """

    error_type: str
    message: str
    function_error: str = "Unhandled"
    status_code: int = 200
    executed_version: str = "$LATEST"
    payload: bytes = b""
    log: bytes = b""


@dataclass(frozen=True, slots=True)
class NotReached:
    """The function never ran; trying again costs nothing.  `throttled`: it said so itself, for this
    `reason` in the words of AWS, if known.  `too_large`: it takes no event of this size.
    """

    why: str
    throttled: bool = False
    retry_after: Seconds | None = None
    reason: str = ""
    too_large: bool = False


Reply = Ran | Errored | NotReached


class Target(Protocol):
    """A function, wherever it runs.  Its timeout and connection limits are its own affair; how many
    invocations run at one time is that of who calls it."""

    async def invoke(self, invocation: Invocation) -> Reply:
        """Run the function once.  What goes wrong is a value, never an exception."""


class AsyncInvocations(Protocol):
    """Events that functions declared here are invoked with later (spec 12.4)."""

    async def accept(self, function: str, invocation: Invocation) -> None:
        """Return once the event, JSON of up to EVENT_BYTES_MAX, is durable.  Raises QueueFull,
        StateError.  `function`: the key that declares it, such as `orders:live`."""


# Failure destinations.


@dataclass(frozen=True, slots=True)
class Failure:
    """One document on its way: about records given up (spec 7), or with a `notice` about an
    asynchronous invocation (spec 12.4), which has neither mapping nor shard.

    `document`: the JSON without the payload (SQS, SNS).  `payload`: the whole event as JSON text,
    which S3 gets as the string member "payload".  `key`: the S3 object key.
    """

    mapping: str
    function: str
    shard: str
    destination: str
    document: str
    payload: str
    key: str
    records: int
    notice: Notice | None = None


class Destination(Protocol):
    """Where documents of one ARN go."""

    async def send(self, failure: Failure) -> None:
        """Send one document, one attempt.  Raises DestinationError with the reason."""

    async def check(self) -> None:
        """Return if it is there, or if nobody here may ask.  Raises DestinationError."""


# State.


@dataclass(frozen=True, slots=True)
class StoredMapping:
    """A mapping as the state store remembers it.

    `request`: its settings as in CreateEventSourceMapping.  `origin`: "file" or "api".
    `result`: how its last invocation ended, in AWS's words; "" if there was none.
    """

    uuid: str
    source_arn: str
    function_arn: str
    origin: str
    request: Mapping[str, Any] = field(hash=False)
    created_at: Instant
    modified_at: Instant
    result: str = ""


class PositionStore(Protocol):
    async def positions(self, mapping: str) -> dict[str, Position]:
        """By shard."""

    async def save(self, mapping: str, shard: str, position: Position) -> None:
        """Returns once the position survives a kill of this process.  Raises StateError."""

    async def forget(self, mapping: str, shards: Collection[str]) -> None: ...


class MappingStore(Protocol):
    async def mappings(self) -> Sequence[StoredMapping]: ...

    async def put(self, mapping: StoredMapping, pins: Mapping[str, Position] | None = None) -> None:
        """Add or replace a mapping, in one step with `pin` if there are pins.

        What was pinned before stays pinned.
        """

    async def pinned(self, uuid: str) -> bool:
        """Whether the mapping's LATEST has been pinned, ever."""

    async def pin(self, uuid: str, pins: Mapping[str, Position]) -> None:
        """Store `pins` as positions of the mapping, and that it is pinned."""

    async def note_results(self, results: Mapping[str, str]) -> None:
        """Change the `result` of mappings, by UUID."""

    async def remove(self, uuid: str) -> None:
        """Drop a mapping with its positions."""


class FailureStore(Protocol):
    """Documents whose destination failed."""

    async def keep(self, failure: Failure) -> None: ...

    async def kept(self, limit: int, *, after: int = 0) -> Sequence[tuple[int, Failure]]:
        """The oldest with an id beyond `after`, each with the id by which it is dropped.

        Ids rise; fewer than `limit` do not mean that there are no more, none at all does.
        """

    async def drop(self, ids: Collection[int]) -> None: ...

    async def count_kept(self) -> int: ...


class Store(PositionStore, MappingStore, FailureStore, EventStore, Protocol):
    """The whole state of one poller."""


# Watching.


@dataclass(frozen=True, slots=True)
class Unit:
    """What one machine works for; `shard` is the shard's id, or "" for a queue."""

    mapping: str
    function: str
    source_arn: str
    shard: str


class Observer(Protocol):
    """Sees everything that happens: each fact and the commands it led to."""

    def saw(self, unit: Unit, fact: Any, commands: Sequence[Any], now: Instant) -> None: ...

    def forget(self, mapping: str) -> None:
        """The mapping was deleted, and nothing runs for it any more."""
