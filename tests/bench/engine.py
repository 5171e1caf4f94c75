"""The whole engine between the canned server and a function: sources, machines, state, counts."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from poller.core.policy import QueuePolicy, StreamPolicy
from poller.engine.clock import Clock
from poller.engine.shared import Shared
from poller.engine.specs import QueueSpec, Spec, StreamSpec
from poller.engine.supervisor import Supervisor
from poller.interfaces import Invocation, Ran, Reply, StoredMapping, Target
from poller.observe.advice import Advice
from poller.observe.board import Board
from poller.observe.cloudwatch import EventMetrics
from poller.observe.decisions import Decisions
from poller.observe.results import Results
from poller.observe.tally import Tally
from poller.sources.dynamodb_streams import DynamoDBStreamsSource
from poller.sources.sqs import SqsSource
from poller.stores.sqlite import open_sqlite
from poller.targets.http_endpoint import HttpEndpoint
from poller.wire.arns import mapping_uuid
from poller.wire.mappings import MappingConfig, parse_mapping
from poller.wire.policies import stream_policy
from tests.bench import parts, replies
from tests.bench.sampling import Sample, Spending

FUNCTION_ARN = "arn:aws:lambda:us-east-1:000000000000:function:nothing"
TIMEOUT = 30.0
WARM_UP = 0.2  # seconds
PERIOD = 1.2  # seconds, in which every idle shard is polled
LOOK = 0.005  # seconds between looks at the allowance


class Nothing:
    """A function in this process that does nothing."""

    async def invoke(self, invocation: Invocation) -> Reply:
        return Ran(b"")


async def kinesis_one_lane(url: str, seconds: float) -> Sample:
    return await _kinesis(url, seconds, Nothing())


async def kinesis_ten_lanes(url: str, seconds: float) -> Sample:
    return await _kinesis(url, seconds, Nothing(), ParallelizationFactor=10)


async def kinesis_to_http(url: str, seconds: float) -> Sample:
    endpoint = HttpEndpoint([url], timeout=TIMEOUT, headers={}, now=time.time)
    async with endpoint as target:
        return await _kinesis(url, seconds, target)


async def dynamodb(url: str, seconds: float) -> Sample:
    async with parts.session(url) as aws:
        arn = replies.stream_arn("busy-4")
        client = aws.json_client("dynamodbstreams")
        policy = _policy(arn, BatchSize=1000)
        source = DynamoDBStreamsSource(client, stream_arn=arn, now=time.time)
        return await _run(seconds, [_stream(arn, source, Nothing(), policy)])


async def sqs(url: str, seconds: float) -> Sample:
    async with parts.session(url) as aws:
        arn = replies.queue_arn("orders")
        source = SqsSource(
            aws.json_client("sqs", long_poll=True),
            aws.json_client("sqs"),
            queue_arn=arn,
            batch_window=0.0,
            function_timeout=3.0,
            now=time.time,
        )
        spec = QueueSpec(
            stored=_stored(arn),
            function="nothing",
            target=Nothing(),
            reporting=False,
            function_timeout=TIMEOUT,
            source=source,
            policy=QueuePolicy(),
        )
        return await _run(seconds, [spec])


async def idle_shards(url: str, seconds: float) -> Sample:
    """Polls of many idle shards at their own pace of one a second; units are polls."""
    async with parts.session(url) as aws:
        arn = replies.arn("idle-500")
        spec = _stream(arn, parts.kinesis(aws, arn), Nothing(), _policy(arn))
        async with _engine([spec]) as tally:
            await asyncio.sleep(2.0)
            before = tally.of_mapping(spec.uuid).fetches
            spending = Spending(seconds)
            await asyncio.sleep(max(PERIOD, 3 * seconds))
            return spending.sample(tally.of_mapping(spec.uuid).fetches - before)


async def _kinesis(url: str, seconds: float, target: Target, **settings: Any) -> Sample:
    async with parts.session(url) as aws:
        arn = replies.arn("busy-4")
        policy = _policy(arn, **settings)
        return await _run(seconds, [_stream(arn, parts.kinesis(aws, arn), target, policy)])


def _policy(arn: str, **settings: Any) -> StreamPolicy:
    """What the settings of a config file come to."""
    request = {"EventSourceArn": arn, "FunctionName": "nothing", "StartingPosition": "TRIM_HORIZON"}
    config = parse_mapping(request | settings, now=time.time())
    assert isinstance(config, MappingConfig), config
    return stream_policy(config)


async def _run(seconds: float, specs: Sequence[Spec]) -> Sample:
    """Records that ran, per CPU-second, once everything is warm; a batch of them at least."""
    async with _engine(specs) as tally:
        await asyncio.sleep(WARM_UP)
        before, spending = _ran(tally, specs), Spending(seconds)
        while spending.goes_on() or _ran(tally, specs) == before:  # noqa: ASYNC110 - processor time passes without events
            await asyncio.sleep(LOOK)
        return spending.sample(_ran(tally, specs) - before)


def _ran(tally: Tally, specs: Sequence[Spec]) -> int:
    return sum(tally.of_mapping(spec.uuid).succeeded for spec in specs)


@asynccontextmanager
async def _engine(specs: Sequence[Spec]) -> AsyncIterator[Tally]:
    clock, tally = Clock(), Tally()
    with tempfile.TemporaryDirectory() as folder:
        async with open_sqlite(Path(folder) / "state.db") as store:
            board = Board(clock.now)
            metrics = EventMetrics(tally, board.publishing)
            observers = [tally, Decisions(), Advice(), Results(), metrics]
            shared = Shared(clock, store, board, observers)
            async with Supervisor(shared) as supervisor:
                await supervisor.apply(specs)
                yield tally


def _stored(arn: str) -> StoredMapping:
    request: dict[str, Any] = {}
    return StoredMapping(
        mapping_uuid(arn, FUNCTION_ARN), arn, FUNCTION_ARN, "file", request, 0.0, 0.0
    )


def _stream(arn: str, source: Any, target: Target, policy: StreamPolicy) -> StreamSpec:
    return StreamSpec(
        stored=_stored(arn),
        function="nothing",
        target=target,
        reporting=False,
        function_timeout=TIMEOUT,
        source=source,
        policy=policy,
        latest=False,
    )
