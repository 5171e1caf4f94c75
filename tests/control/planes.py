"""A whole control plane in virtual time: memory adapters, the real registry and supervisor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from poller.control.operations import Operations, Surroundings
from poller.control.refusals import Refusal
from poller.control.registry import Claimed, Registry
from poller.control.tagging import Tagging
from poller.core.policy import QueuePolicy, StreamPolicy
from poller.engine.shared import Shared
from poller.engine.specs import QueueSpec, Spec, StreamSpec
from poller.engine.supervisor import Supervisor
from poller.errors import DestinationError
from poller.interfaces import StoredMapping
from poller.observe.advice import Advice
from poller.observe.board import Board
from poller.observe.cloudwatch import EventMetrics
from poller.observe.decisions import Decisions
from poller.observe.results import Results
from poller.observe.tally import Tally
from poller.sources.memory import MemoryStream
from poller.sources.memory_queue import MemoryQueue
from poller.stores.memory import MemoryStore
from poller.wire.arns import FunctionReference, mapping_uuid
from poller.wire.mappings import MappingConfig, parse_mapping
from poller.wire.starting import StartingPosition
from tests.engine.worlds import Function, LoopClock, until

STREAM = "arn:aws:kinesis:us-east-1:000000000000:stream/orders"
OTHER_STREAM = "arn:aws:kinesis:us-east-1:000000000000:stream/others"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:jobs"
BUCKET = "arn:aws:s3:::failed"
ON_STREAM = {"EventSourceArn": STREAM, "FunctionName": "work", "StartingPosition": "TRIM_HORIZON"}
ON_QUEUE = {"EventSourceArn": QUEUE, "FunctionName": "work"}


@dataclass
class Outside:
    """What a restart does not touch: sources, functions and the store."""

    clock: LoopClock = field(default_factory=LoopClock)
    store: MemoryStore = field(default_factory=MemoryStore)
    functions: dict[str, Function] = field(default_factory=dict)
    streams: dict[str, MemoryStream] = field(default_factory=dict)
    queues: dict[str, MemoryQueue] = field(default_factory=dict)
    destinations: set[str] = field(default_factory=lambda: {BUCKET})
    destination_delay: float = 0.0  # seconds until one that is asked for answers

    def __post_init__(self) -> None:
        self.functions = {name: Function(self.clock) for name in ("work", "other")}
        self.streams = {arn: MemoryStream(now=self.clock.now) for arn in (STREAM, OTHER_STREAM)}
        self.queues = {QUEUE: MemoryQueue(now=self.clock.now)}

    @property
    def work(self) -> Function:
        return self.functions["work"]

    @property
    def stream(self) -> MemoryStream:
        return self.streams[STREAM]


class Plane:
    """One life of a process over `outside`."""

    def __init__(self, outside: Outside, supervisor: Supervisor, shared: Shared) -> None:
        self.outside = outside
        self.supervisor = supervisor
        self.results = next(each for each in shared.observers if isinstance(each, Results))
        self.registry = Registry(
            outside.store, supervisor, shared.board, self.results, now=outside.clock.now
        )
        around = Surroundings(
            now=outside.clock.now,
            function_arn=self._function_arn,
            check_destination=self._check_destination,
            file="poller.yaml",
        )
        self.api = Operations(self.registry, around)
        self.tagging = Tagging(self.registry, "poller.yaml")

    async def claim(self, *requests: Mapping[str, Any]) -> None:
        """Have the config file say this."""
        claims = []
        for request in requests:
            config = parse_mapping(request, now=self.outside.clock.now())
            assert isinstance(config, MappingConfig)
            arn = self._function_arn(config.function, "us-east-1")
            assert arn is not None
            claims.append(Claimed(mapping_uuid(config.source.arn, arn), arn, config))
        await self.registry.claim(claims, self._spec)

    async def settled(self, uuid: str) -> dict[str, Any]:
        """A mapping once nothing is under way."""
        await until(lambda: self.api.get(uuid)["State"] in {"Enabled", "Disabled"})
        return self.api.get(uuid)

    async def gone(self, uuid: str) -> None:
        def is_gone() -> bool:
            try:
                self.api.get(uuid)
            except Refusal as refusal:
                return refusal.status == 404
            return False

        await until(is_gone)

    def _function_arn(self, function: FunctionReference, region: str) -> str | None:
        known = function.name in self.outside.functions
        return function.arn(region=region, account="000000000000") if known else None

    async def _check_destination(self, arn: str) -> None:
        await asyncio.sleep(self.outside.destination_delay)
        if arn not in self.outside.destinations:
            raise DestinationError(f"{arn}: there is none")

    def _spec(self, stored: StoredMapping, config: MappingConfig) -> Spec:
        values: dict[str, Any] = {
            "stored": stored,
            "function": config.function.key,
            "target": self.outside.functions[config.function.name],
            "reporting": config.report_batch_item_failures,
            "function_timeout": 3.0,
            "enabled": config.enabled,
        }
        if config.source.kind.is_stream:
            missing = MemoryStream(now=self.outside.clock.now)
            missing.outage = f"Stream not found: {config.source.arn}"
            return StreamSpec(
                **values,
                source=self.outside.streams.get(config.source.arn, missing),
                policy=StreamPolicy(batch_size=config.batch_size),
                latest=config.starting_position is StartingPosition.LATEST,
            )
        return QueueSpec(
            **values,
            source=self.outside.queues[config.source.arn],
            policy=QueuePolicy(batch_size=config.batch_size),
        )


@asynccontextmanager
async def plane(
    outside: Outside, *file: Mapping[str, Any], crash: bool = False
) -> AsyncIterator[Plane]:
    """A process whose config file has these mappings; `crash`: it ends without stopping."""
    board, tally = Board(outside.clock.now), Tally()
    told = EventMetrics(tally, board.publishing)
    observers = (tally, Decisions(), Advice(), Results(), told)
    shared = Shared(outside.clock, outside.store, board, observers)
    async with Supervisor(shared) as supervisor:
        life = Plane(outside, supervisor, shared)
        await life.registry.load()
        await life.claim(*file)
        yield life
        if not crash:
            await supervisor.stop()
            await life.registry.save_results()
