"""Asynchronous invocations of the declared functions, and the delivery of every document."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from poller.core.model import Instant
from poller.core.policy import EventPolicy
from poller.destinations.choice import destination_for
from poller.destinations.delivery import Delivery
from poller.destinations.functions import OwnFunctions
from poller.engine.async_invocations import EventQueues
from poller.engine.event_runs import EventFunction
from poller.interfaces import Destination, Failure, Store, Target
from poller.observe.event_counts import EventTally
from poller.observe.event_decisions import EventDecisions
from poller.observe.tally import Tally
from poller.settings import FunctionConfig, Settings
from poller.targets.undeclared import UndeclaredFunction
from poller.wire.arns import parse_function

from .sessions import Sessions

RUNNING_MAX = 100  # events of one function at one time; each may have a megabyte


@asynccontextmanager
async def open_queues(
    store: Store,
    sessions: Sessions,
    settings: Callable[[], Settings],
    tally: Tally,
    events: EventTally,
    *,
    now: Callable[[], Instant],
) -> AsyncIterator[tuple[EventQueues, Delivery]]:
    """The queues, and what tells destinations; `settings` are those in force.

    They go together, since a function declared here may be a destination.  Raises StateError.
    """

    def key_of(arn: str) -> str | None:
        function = parse_function(arn)
        known = settings().function_arn(function, function.region or "")
        return None if known is None else function.key

    def destination(arn: str) -> Destination:
        return destination_for(arn, sessions.of, own)

    def failed(failure: Failure) -> None:
        if failure.notice is None:
            tally.destination_failed(failure, now())
        else:
            events.delivery_failed(failure)

    delivery = Delivery(store, destination, on_failed_attempt=failed)
    observers = (events, EventDecisions())
    queues = EventQueues(store, delivery.deliver, _undeclared, now=now, observers=observers)
    own = OwnFunctions(key_of, queues)
    async with queues:
        events.backlogs = queues.backlogs
        yield queues, delivery


def event_functions(
    configs: Mapping[str, FunctionConfig], targets: Mapping[str, Target]
) -> dict[str, EventFunction]:
    return {name: _event_function(config, targets[name]) for name, config in configs.items()}


def _event_function(config: FunctionConfig, target: Target) -> EventFunction:
    asynchronous = config.asynchronous
    failure = asynchronous.on_failure, asynchronous.dead_letter
    return EventFunction(
        key=config.name,
        target=target,
        policy=EventPolicy(
            retries_max=asynchronous.retries_max,
            age_max=asynchronous.age_max,
            concurrency_max=min(config.concurrency or RUNNING_MAX, RUNNING_MAX),
            tells_success=asynchronous.on_success is not None,
            tells_failure=any(failure),
        ),
        timeout=config.timeout,
        on_success=asynchronous.on_success,
        on_failure=asynchronous.on_failure,
        dead_letter=asynchronous.dead_letter,
    )


def _undeclared(key: str) -> EventFunction:
    return EventFunction(key=key, target=UndeclaredFunction(key), policy=EventPolicy(), timeout=0.0)
