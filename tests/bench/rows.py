"""What `make bench` measures, in the order of its table; a row more is an entry more here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.bench import core, engine, filters, floor, parts, runtimes
from tests.bench.sampling import Sample

FLOOR = "floor: orjson and dicts"
AIOBOTOCORE_CALL = "one aiobotocore call"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    `measure(url, seconds)` spends about that much processor time on the canned server at `url`.
    `of`: the row that this one is compared with; `least`: the budget, as a ratio to that row, or in
    units per CPU-second without one.  None: nothing is asked of it.
    """

    what: str
    unit: str
    measure: Callable[[str, float], Awaitable[Sample]]
    of: str | None = None
    least: float | None = None


ROWS = (
    Row(FLOOR, "record", floor.floor_of_dicts),
    Row("Kinesis, BatchSize 100", "record", engine.kinesis_one_lane, FLOOR, 0.7),
    Row("the same, ParallelizationFactor 10", "record", engine.kinesis_ten_lanes, FLOOR, 0.5),
    Row("the same, through an HTTP function", "record", engine.kinesis_to_http, FLOOR, 0.45),
    Row("DynamoDB Streams, BatchSize 1,000", "record", engine.dynamodb, None, 100_000),
    Row("SQS, BatchSize 10", "message", engine.sqs, None, 15_000),
    Row("idle shards, one poll a second", "poll", engine.idle_shards, None, 1 / 0.0003),
    Row("the core alone, BatchSize 100", "record", core.one_lane, None, 1_000_000),
    Row("the core alone, 10 lanes", "record", core.ten_lanes, None, 500_000),
    Row("the same over aiohttp", "record", floor.floor_over_aiohttp, FLOOR),
    Row("floor: msgspec and structs", "record", floor.floor_of_structs, FLOOR),
    Row("plain aiobotocore loop", "record", floor.aiobotocore_loop, FLOOR),
    Row("Kinesis codec alone", "record", parts.kinesis_codec, FLOOR),
    Row("Kinesis source alone", "record", parts.kinesis_source, FLOOR),
    Row("Kinesis, polls of an idle shard", "poll", parts.idle_shard),
    Row("DynamoDB Streams source alone", "record", parts.dynamodb_source),
    Row("SQS source alone: receive, delete", "message", parts.sqs_source),
    Row("Kinesis filter alone", "record", filters.kinesis),
    Row("DynamoDB filter alone", "record", filters.dynamodb),
    Row("SQS filter alone", "message", filters.sqs),
    Row(AIOBOTOCORE_CALL, "call", parts.aiobotocore_call),
    Row("one call of the lean client", "call", parts.lean_call, AIOBOTOCORE_CALL),
    Row("an invocation on a runtime", "invocation", runtimes.on_a_runtime, AIOBOTOCORE_CALL),
)
