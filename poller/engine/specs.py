"""What the engine is given to run: one value for each mapping."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from poller.core.model import Fate, Seconds
from poller.core.policy import QueuePolicy, StreamPolicy
from poller.interfaces import Failure, QueueSource, ShardSource, StoredMapping, Target

from .filtering import MakeAccept

Deliver = Callable[[Failure], Awaitable[Fate]]


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingSpec:
    """A mapping, ready to run.

    `stored`: what the state store is to remember of it.  `reporting`: whether FunctionResponseTypes
    has ReportBatchItemFailures.  `function_timeout`: how long its invocations may take.
    `publishes`: whether MetricsConfig has EventCount.
    `make_accept`: makes the predicate of its FilterCriteria; None: all goes to the function.
    `warnings`: what is probably not meant in its settings, for the log.
    """

    stored: StoredMapping
    function: str
    target: Target
    reporting: bool
    function_timeout: Seconds
    enabled: bool = True
    publishes: bool = False
    make_accept: MakeAccept | None = None
    warnings: tuple[str, ...] = ()

    @property
    def uuid(self) -> str:
        return self.stored.uuid


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSpec(MappingSpec):
    """`latest`: whether reading starts at LATEST.  `destination`: the ARN for discards, with
    `deliver` to get them there; None: dropped.  `destination_takes_events`: it wants the records,
    too."""

    source: ShardSource
    policy: StreamPolicy
    latest: bool
    destination: str | None = None
    deliver: Deliver | None = None
    destination_takes_events: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSpec(MappingSpec):
    source: QueueSource
    policy: QueuePolicy


Spec = StreamSpec | QueueSpec
