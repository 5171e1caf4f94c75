"""CreateEventSourceMapping: a row for each line of spec 1.1 and each rule of spec 1.2."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.wire.arns import parse_destination, parse_function, parse_source
from poller.wire.mappings import APPLIES_TO, MappingConfig, Rejected, parse_mapping
from poller.wire.problems import Kind
from poller.wire.requests import as_request, changed_start, what_runs
from poller.wire.starting import StartingPosition

NOW = 1_770_000_000.0
STREAM = "arn:aws:kinesis:us-east-1:123456789012:stream/orders"
TABLE = "arn:aws:dynamodb:us-east-1:123456789012:table/users/stream/2026-01-31T12:00:00.000"
QUEUE = "arn:aws:sqs:us-east-1:123456789012:jobs"
FIFO = QUEUE + ".fifo"
BUCKET = "arn:aws:s3:::failed"

ON_STREAM = {"EventSourceArn": STREAM, "FunctionName": "f", "StartingPosition": "LATEST"}
ON_TABLE = {**ON_STREAM, "EventSourceArn": TABLE}
ON_QUEUE = {"EventSourceArn": QUEUE, "FunctionName": "f"}
ON_FIFO = {**ON_QUEUE, "EventSourceArn": FIFO}
EVERY = (ON_STREAM, ON_TABLE, ON_QUEUE, ON_FIFO)
STREAMS = (ON_STREAM, ON_TABLE)
QUEUES = (ON_QUEUE, ON_FIFO)
SQS_WINDOW = "MaximumBatchingWindowInSeconds"
PATTERN = "FilterCriteria.Filters[0].Pattern"
INVALID = "Invalid filter pattern definition"


def accepted(request: dict[str, Any], **settings: Any) -> MappingConfig:
    parsed = parse_mapping({**request, **settings}, now=NOW)
    assert isinstance(parsed, MappingConfig), [str(problem) for problem in parsed.problems]
    return parsed


def problems(request: dict[str, Any], **settings: Any) -> list[str]:
    match parse_mapping({**request, **settings}, now=NOW):
        case Rejected(problems=found):
            return [str(problem) for problem in found]
        case _:
            return []


def test_a_minimal_stream_mapping_has_awss_defaults() -> None:
    for request in STREAMS:
        assert accepted(request) == MappingConfig(
            source=parse_source(request["EventSourceArn"]),
            function=parse_function("f"),
            enabled=True,
            batch_size=100,
            maximum_batching_window_in_seconds=0,
            report_batch_item_failures=False,
            starting_position=StartingPosition.LATEST,
            starting_position_timestamp=None,
            parallelization_factor=1,
            failure_destination=None,
            maximum_record_age_in_seconds=-1,
            maximum_retry_attempts=-1,
            bisect_batch_on_function_error=False,
        )


def test_a_minimal_queue_mapping_has_awss_defaults() -> None:
    for request in QUEUES:
        assert accepted(request) == MappingConfig(
            source=parse_source(request["EventSourceArn"]),
            function=parse_function("f"),
            batch_size=10,
        )


LEGAL = [
    (EVERY, "FunctionName", ["f", "f:live", "f:1", "f:$LATEST", "123456789012:function:f"]),
    (EVERY, "Enabled", [True, False, None]),
    (EVERY, "BatchSize", [1, 10, None]),
    (STREAMS, "BatchSize", [11, 10_000]),  # no window needed, whatever the API's text says
    (STREAMS, SQS_WINDOW, [0, 1, 300, None]),
    ([ON_QUEUE], SQS_WINDOW, [0, 1, 300]),
    ([ON_FIFO], SQS_WINDOW, [0]),
    (EVERY, "FunctionResponseTypes", [[], ["ReportBatchItemFailures"], None]),
    (STREAMS, "StartingPosition", ["TRIM_HORIZON", "LATEST"]),
    (STREAMS, "ParallelizationFactor", [1, 10]),
    (STREAMS, "MaximumRecordAgeInSeconds", [-1, 60, 604_800]),
    (STREAMS, "MaximumRetryAttempts", [-1, 0, 10_000]),
    (STREAMS, "BisectBatchOnFunctionError", [True, False]),
    (
        EVERY,
        "MetricsConfig",
        [{}, {"Metrics": []}, {"Metrics": None}, {"Metrics": ["EventCount"]}],
    ),
    (
        STREAMS,
        "DestinationConfig",
        [
            {},
            {"OnFailure": {}},
            {"OnFailure": {"Destination": ""}},
            {"OnFailure": {"Destination": BUCKET}, "OnSuccess": {}},
            {"OnFailure": {"Destination": QUEUE}},
            {"OnFailure": {"Destination": "arn:aws:sns:us-east-1:123456789012:t"}},
        ],
    ),
    (
        EVERY,
        "FilterCriteria",
        [
            None,
            {},
            {"Filters": []},
            {"Filters": None},
            {"Filters": [{"Pattern": '{"eventSource": ["x"]}'}] * 10},
            {"Filters": [{"Pattern": '{"a": ["' + "x" * 4085 + '"]}'}]},
        ],
    ),
    ([ON_STREAM], "FilterCriteria", [{"Filters": [{"Pattern": '{"data": {"n": [1]}}'}]}]),
    (QUEUES, "FilterCriteria", [{"Filters": [{"Pattern": '{"body": ["plain"]}'}]}]),
    (EVERY, "KMSKeyArn", [""]),
    (EVERY, "Tags", [{}, {"team": "orders", "cost center": ""}]),
    (EVERY, "poller", [{}]),
    (STREAMS, "TumblingWindowInSeconds", [0, 1, 900]),
    (QUEUES, "ScalingConfig", [{}, {"MaximumConcurrency": 2}, {"MaximumConcurrency": 1000}]),
    (
        QUEUES,
        "ProvisionedPollerConfig",
        [
            {},
            {"PollerGroupName": ""},
            {"MinimumPollers": 200},
            {"MinimumPollers": 2, "MaximumPollers": 2},
            {"MaximumPollers": 10_000},
        ],
    ),
    (
        QUEUES,
        "poller",
        [
            {"Concurrency": 1},
            {"Concurrency": 1000},
            {"MessagesPerSecond": 0.1},
            {"VisibilityHeartbeat": False},
            {"VisibilityHeartbeat": True},
        ],
    ),
]


@pytest.mark.parametrize(
    ("request_", "name", "value"),
    [
        (request, name, value)
        for requests, name, values in LEGAL
        for request in requests
        for value in values
    ],
)
def test_legal_values_are_accepted(request_: dict[str, Any], name: str, value: Any) -> None:
    assert problems(request_, **{name: value}) == []


SIZE = "BatchSize: must be a whole number from 1 to 10000, not "
WINDOW = "MaximumBatchingWindowInSeconds: must be a whole number from 0 to 300, not "
FACTOR = "ParallelizationFactor: must be a whole number from 1 to 10, not "
AGE = "MaximumRecordAgeInSeconds: must be -1 (no limit) or a whole number from 60 to 604800, not "
RETRIES = "MaximumRetryAttempts: must be -1 (no limit) or a whole number from 0 to 10000, not "
TUMBLING = "TumblingWindowInSeconds: must be a whole number from 0 to 900, not "
MOST = "ScalingConfig.MaximumConcurrency: must be a whole number from 2 to 1000, not "
POLLERS = "ProvisionedPollerConfig"
RATE = "poller.MessagesPerSecond: must be a number above 0, 1000000 at most, not "
TYPES = "FunctionResponseTypes: must be [] or [ReportBatchItemFailures], nothing else"
SIGNS = "characters: letters, numbers, blanks and _.:/=+-@"
TO_ENABLE = "Enabled: must be true or false, not "
NO_FUNCTION = (
    "; write NAME, NAME:QUALIFIER or the function's ARN; a name has up to 64 letters, digits, "
    "- and _"
)
NO_START = (
    "StartingPosition: 1 validation error detected: Value null at 'startingPosition' failed to "
    "satisfy constraint: Member must not be null; write TRIM_HORIZON or LATEST"
)
BAD_START = (
    "StartingPosition: 1 validation error detected: Value 'invalid' at 'startingPosition' failed "
    "to satisfy constraint: Member must satisfy enum value set: [LATEST, AT_TIMESTAMP, "
    "TRIM_HORIZON]"
)
BATCH_NEEDS_WINDOW = (
    "BatchSize: Maximum batch window in seconds must be greater than 0 if maximum batch size is "
    "greater than 10; set MaximumBatchingWindowInSeconds, or a BatchSize of 10 or less"
)
NO_SOURCE = (
    "EventSourceArn: Unrecognized event source; write the ARN of a Kinesis stream, a DynamoDB "
    "stream or an SQS queue"
)

ILLEGAL = [
    (EVERY, "EventSourceArn", None, NO_SOURCE),
    (EVERY, "EventSourceArn", 5, "EventSourceArn: must be text, not 5"),
    (EVERY, "FunctionName", None, "FunctionName: is missing; name the function that gets the "
                                  "records"),
    (EVERY, "FunctionName", "", 'FunctionName: "" names no function' + NO_FUNCTION),
    (EVERY, "FunctionName", ["f"], "FunctionName: must be text, not a list"),
    (EVERY, "Enabled", "yes", TO_ENABLE + '"yes"'),
    (EVERY, "Enabled", 1, TO_ENABLE + "1"),
    (EVERY, "BatchSize", 0, SIZE + "0"),
    (EVERY, "BatchSize", -1, SIZE + "-1"),
    (EVERY, "BatchSize", 10_001, SIZE + "10001"),
    (EVERY, "BatchSize", "10", SIZE + '"10"'),
    (EVERY, "BatchSize", True, SIZE + "true"),
    (EVERY, "BatchSize", 10.0, SIZE + "10.0"),
    (EVERY, "BatchSize", 10**400, SIZE + "a huge number"),
    ([ON_FIFO], "BatchSize", 11, "BatchSize: must be from 1 to 10 for a FIFO queue"),
    ([ON_QUEUE], "BatchSize", 11, BATCH_NEEDS_WINDOW),
    ([ON_QUEUE], "BatchSize", 10_000, BATCH_NEEDS_WINDOW),
    (EVERY, SQS_WINDOW, -1, WINDOW + "-1"),
    (EVERY, SQS_WINDOW, 301, WINDOW + "301"),
    (EVERY, SQS_WINDOW, 0.5, WINDOW + "0.5"),
    ([ON_FIFO], SQS_WINDOW, 1, SQS_WINDOW + ": Batching window is not supported for FIFO queues; "
                                            "remove it"),
    (EVERY, "FunctionResponseTypes", ["Other"], TYPES),
    (EVERY, "FunctionResponseTypes", ["ReportBatchItemFailures"] * 2, TYPES),
    (EVERY, "FunctionResponseTypes", "ReportBatchItemFailures",
     'FunctionResponseTypes: must be a list, not "ReportBatchItemFailures"'),
    (STREAMS, "StartingPosition", None, NO_START),
    (STREAMS, "StartingPosition", "invalid", BAD_START),
    (STREAMS, "StartingPosition", 5, "StartingPosition: must be text, not 5"),
    ([ON_STREAM], "StartingPosition", "AT_TIMESTAMP",
     "StartingPositionTimestamp: is missing; AT_TIMESTAMP needs it"),
    ([ON_TABLE], "StartingPosition", "AT_TIMESTAMP",
     f"StartingPosition: Unsupported starting position for arn type: {TABLE}; write TRIM_HORIZON "
     "or LATEST"),
    (STREAMS, "StartingPositionTimestamp", NOW,
     "StartingPositionTimestamp: has no effect without StartingPosition AT_TIMESTAMP; remove it, "
     "or start AT_TIMESTAMP"),
    (STREAMS, "ParallelizationFactor", 0, FACTOR + "0"),
    (STREAMS, "ParallelizationFactor", 11, FACTOR + "11"),
    (STREAMS, "MaximumRecordAgeInSeconds", -2, AGE + "-2"),
    (STREAMS, "MaximumRecordAgeInSeconds", 0, AGE + "0"),
    (STREAMS, "MaximumRecordAgeInSeconds", 59, AGE + "59"),
    (STREAMS, "MaximumRecordAgeInSeconds", 604_801, AGE + "604801"),
    (STREAMS, "MaximumRetryAttempts", -2, RETRIES + "-2"),
    (STREAMS, "MaximumRetryAttempts", 10_001, RETRIES + "10001"),
    (STREAMS, "BisectBatchOnFunctionError", 1,
     "BisectBatchOnFunctionError: must be true or false, not 1"),
    (STREAMS, "DestinationConfig", "x",
     'DestinationConfig: must be a block of keys, not "x"'),
    (STREAMS, "DestinationConfig", {"OnFailure": BUCKET},
     f'DestinationConfig.OnFailure: must be a block of keys, not "{BUCKET}"'),
    (STREAMS, "DestinationConfig", {"onFailure": {}},
     "DestinationConfig.onFailure: unknown key; did you mean OnFailure?"),
    (STREAMS, "DestinationConfig", {"OnFailure": {"Destination": 5}},
     "DestinationConfig.OnFailure.Destination: must be text, not 5"),
    (STREAMS, "DestinationConfig", {"OnFailure": {"Destination": FIFO}},
     "DestinationConfig.OnFailure.Destination: a FIFO queue cannot be a failure destination; use "
     "a standard one"),
    (STREAMS, "DestinationConfig", {"OnSuccess": {"Destination": BUCKET}},
     "DestinationConfig.OnSuccess: is not for event source mappings; OnFailure is: remove "
     "OnSuccess"),
    (STREAMS, "TumblingWindowInSeconds", -1, TUMBLING + "-1"),
    (STREAMS, "TumblingWindowInSeconds", 901, TUMBLING + "901"),
    # Scaling of queues.
    (QUEUES, "ScalingConfig", {"MaximumConcurrency": 1}, MOST + "1"),
    (QUEUES, "ScalingConfig", {"MaximumConcurrency": 1001}, MOST + "1001"),
    (QUEUES, "ScalingConfig", {"MaximumConcurrency": True}, MOST + "true"),
    (QUEUES, "ScalingConfig", {"Maximum": 5},
     "ScalingConfig.Maximum: unknown key; known here: MaximumConcurrency"),
    (QUEUES, "ScalingConfig", 5, "ScalingConfig: must be a block of keys, not 5"),
    (QUEUES, POLLERS, {"MinimumPollers": 1},
     f"{POLLERS}.MinimumPollers: must be 2 or more for a queue"),
    (QUEUES, POLLERS, {"MinimumPollers": 201},
     f"{POLLERS}.MinimumPollers: must be a whole number from 1 to 200, not 201"),
    (QUEUES, POLLERS, {"MinimumPollers": 2, "MaximumPollers": 1},
     f"{POLLERS}.MaximumPollers: must be 2 or more for a queue"),
    (QUEUES, POLLERS, {"MaximumPollers": 10_001},
     f"{POLLERS}.MaximumPollers: must be a whole number from 1 to 10000, not 10001"),
    (QUEUES, POLLERS, {"MinimumPollers": 6, "MaximumPollers": 5},
     f"{POLLERS}.MinimumPollers: is more than MaximumPollers, which is 5"),
    (QUEUES, POLLERS, {"MinimumPollers": 2, "PollerGroupName": "g"},
     f"{POLLERS}.PollerGroupName: is for Kafka sources only; remove it"),
    (QUEUES, "poller", {"Concurrency": 0},
     "poller.Concurrency: must be a whole number from 1 to 1000, not 0"),
    (QUEUES, "poller", {"Concurrency": 1001},
     "poller.Concurrency: must be a whole number from 1 to 1000, not 1001"),
    (QUEUES, "poller", {"MessagesPerSecond": 0}, RATE + "0"),
    (QUEUES, "poller", {"MessagesPerSecond": -0.5}, RATE + "-0.5"),
    (QUEUES, "poller", {"MessagesPerSecond": float("inf")}, RATE + "inf"),
    (QUEUES, "poller", {"MessagesPerSecond": float("nan")}, RATE + "nan"),
    (QUEUES, "poller", {"MessagesPerSecond": True}, RATE + "true"),
    (QUEUES, "poller", {"MessagesPerSecond": "5"}, RATE + '"5"'),
    (QUEUES, "poller", {"VisibilityHeartbeat": 1},
     "poller.VisibilityHeartbeat: must be true or false, not 1"),
    (QUEUES, "poller", {"concurrency": 1},
     "poller.concurrency: unknown key; did you mean Concurrency?"),
    (STREAMS, "poller", {"Concurrency": 1}, "poller: is for queues only; remove it"),
    (STREAMS, "poller", {"MessagesPerSecond": 5}, "poller: is for queues only; remove it"),
    (STREAMS, "poller", {"VisibilityHeartbeat": True}, "poller: is for queues only; remove it"),
    # Filters, keys and tags.
    (EVERY, "FilterCriteria", {"Filters": [{"Pattern": "{}"}]},
     f"{PATTERN}: {INVALID}; the pattern must not be an empty object"),
    (EVERY, "FilterCriteria", {"Filters": [{}]}, f"{PATTERN}: {INVALID}; the pattern is empty"),
    (EVERY, "FilterCriteria", {"Filters": [{"Pattern": 5}]}, f"{PATTERN}: must be text, not 5"),
    (EVERY, "FilterCriteria", {"Filters": [{"Pattern": "x" * 4097}]},
     f"{PATTERN}: must have at most 4096 characters, not 4097"),
    (EVERY, "FilterCriteria", {"Filters": [{"Patern": "{}"}]},
     "FilterCriteria.Filters[0].Patern: unknown key; did you mean Pattern?"),
    (EVERY, "FilterCriteria", {"Filters": ["{}"]},
     'FilterCriteria.Filters[0]: must be a block of keys, not "{}"'),
    (EVERY, "FilterCriteria", {"Filters": {}},
     "FilterCriteria.Filters: must be a list, not a block of keys"),
    (EVERY, "FilterCriteria", {"Filters": [{"Pattern": '{"a": [1]}'}] * 11},
     "FilterCriteria.Filters: has 11 filters; 10 are the most"),
    ([ON_STREAM], "FilterCriteria", {"Filters": [{"Pattern": '{"data": ["x"]}'}]},
     f"{PATTERN}: {INVALID}; data must be an object: Kinesis data is matched as JSON, field by "
     "field"),
    ([ON_TABLE], "FilterCriteria", {"Filters": [{"Pattern": '{"dynamodb": [{"exists": true}]}'}]},
     f"{PATTERN}: {INVALID}; dynamodb must be an object: DynamoDB data is matched as JSON, field "
     "by field"),
    (EVERY, "FilterCriteria", {"Filter": []},
     "FilterCriteria.Filter: unknown key; did you mean Filters?"),
    (EVERY, "FilterCriteria", [], "FilterCriteria: must be a block of keys, not a list"),
    (EVERY, "KMSKeyArn", "arn:aws:kms:us-east-1:123456789012:key/1",
     "KMSKeyArn: KMSKeyArn is not supported: filter criteria are kept as they are in the state "
     "store; remove it"),
    (EVERY, "MetricsConfig", {"Metrics": ["EventCount", "KafkaMetrics"]},
     "MetricsConfig.Metrics: Unsupported metric KafkaMetrics for given event source mapping type; "
     "it is for Kafka only: remove it"),
    (EVERY, "MetricsConfig", {"Metrics": ["ErrorCount"]},
     "MetricsConfig.Metrics: Unsupported metric ErrorCount for given event source mapping type; "
     "it is for Kafka only: remove it"),
    (EVERY, "MetricsConfig", {"Metrics": ["EventCount", "EventCount"]},
     "MetricsConfig.Metrics: must name EventCount once"),
    (EVERY, "MetricsConfig", {"Metrics": ["EventCount"] * 4},
     "MetricsConfig.Metrics: must be [] or [EventCount]"),
    (EVERY, "MetricsConfig", {"Metrics": ["eventCount", None]},
     "MetricsConfig.Metrics: must be [] or [EventCount]"),
    (EVERY, "MetricsConfig", {"Metrics": "EventCount"},
     'MetricsConfig.Metrics: must be a list, not "EventCount"'),
    (EVERY, "MetricsConfig", {"Metric": []},
     "MetricsConfig.Metric: unknown key; did you mean Metrics?"),
    (EVERY, "Tags", {"a": 1}, 'Tags: the value of "a" must be text, not 1'),
    (EVERY, "Tags", {"": "b"}, f'Tags: "" is no key of a tag; 1 to 128 {SIGNS}'),
    (EVERY, "Tags", {"a": "b" * 257}, f'Tags: the value of "a" is not legal; up to 256 {SIGNS}'),
    (EVERY, "Tags", {"AWS:a": "b"}, 'Tags: "AWS:a": keys that begin with aws: are AWS\'s own'),
    (EVERY, "Tags", [], "Tags: must be a block of keys, not a list"),
    (EVERY, "SelfManagedEventSource", {"Endpoints": {}},
     "SelfManagedEventSource: self-managed Kafka as an event source is not supported yet; "
     "remove it"),
    # No setting at all.
    (EVERY, "Batchsize", 5, "Batchsize: unknown key; did you mean BatchSize?"),
]  # fmt: skip


@pytest.mark.proves(
    "KMSKeyArn", "SelfManagedEventSource", "S1.2.fifo-window", "R1.2.dynamodb-timestamp"
)
@pytest.mark.parametrize(
    ("request_", "name", "value", "problem"),
    [
        (request, name, value, problem)
        for requests, name, value, problem in ILLEGAL
        for request in requests
    ],
)
def test_each_wrong_value_is_one_problem(
    request_: dict[str, Any], name: str, value: Any, problem: str
) -> None:
    assert problems(request_, **{name: value}) == [problem]


EXAMPLES: dict[str, Any] = {
    "StartingPosition": "LATEST",
    "StartingPositionTimestamp": 5,
    "DestinationConfig": {"OnFailure": {"Destination": BUCKET}},
    "BisectBatchOnFunctionError": False,
    "ScalingConfig": {},
    "ProvisionedPollerConfig": {},
    "SourceAccessConfigurations": [],
}


@pytest.mark.proves("S1.1.inapplicable", "R1.2.queue-destination")
@pytest.mark.parametrize(
    ("request_", "name"),
    [
        (request, name)
        for request in EVERY
        for name, kinds in APPLIES_TO.items()
        if parse_source(request["EventSourceArn"]).kind not in kinds
        and name != "SelfManagedEventSource"
    ],
)
def test_a_setting_of_another_kind_of_source_is_refused(
    request_: dict[str, Any], name: str
) -> None:
    (problem,) = problems(request_, **{name: EXAMPLES.get(name, 1)})
    message = f"{name}: Unsupported {name} parameter for given event source mapping type; it is for"
    assert problem.startswith(message)


@pytest.mark.parametrize(
    ("value", "instant"),
    [
        (0, 0.0),
        (NOW, NOW),
        (1_700_000_000.25, 1_700_000_000.25),
        ("2026-01-31T12:00:00Z", 1_769_860_800.0),
        ("2026-01-31T12:00:00", 1_769_860_800.0),
        ("2026-01-31T13:00:00+01:00", 1_769_860_800.0),
        ("2026-01-31", 1_769_817_600.0),
    ],
)
def test_a_time_is_epoch_seconds_or_iso_8601_in_utc(value: Any, instant: float) -> None:
    settings = {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": value}
    assert accepted(ON_STREAM, **settings).starting_position_timestamp == instant


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (NOW + 1, f"is in the future: {NOW + 1}; write a time that has passed"),
        ("2999-01-01", 'is in the future: "2999-01-01"; write a time that has passed'),
        (-1, "not -1"),
        ("1960-01-01", 'not "1960-01-01"'),
        (float("nan"), "not nan"),
        (float("inf"), "not inf"),
        (10**400, "not a huge number"),
        (True, "not true"),
        ("yesterday", 'not "yesterday"'),
        ({}, "not a block of keys"),
    ],
)
def test_other_times_are_refused(value: Any, problem: str) -> None:
    settings = {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": value}
    (found,) = problems(ON_STREAM, **settings)
    assert found.startswith("StartingPositionTimestamp: ")
    assert found.endswith(problem)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    found = problems(
        {}, EventSourceArn=QUEUE, BatchSize=0, StartingPosition="LATEST", Bisect=True, Tags={"a": 1}
    )
    assert [problem.partition(":")[0] for problem in found] == [
        "Bisect",
        "FunctionName",
        "StartingPosition",
        "BatchSize",
        "Tags",
    ]


@pytest.mark.parametrize(
    ("name", "value", "kind", "words"),
    [
        ("BatchSize", 0, Kind.CONSTRAINT,
         "Value '0' at 'batchSize' failed to satisfy constraint: Member must have value greater "
         "than or equal to 1"),
        ("MaximumRetryAttempts", 10_001, Kind.CONSTRAINT,
         "Value '10001' at 'maximumRetryAttempts' failed to satisfy constraint: Member must have "
         "value less than or equal to 10000"),
        ("MaximumRecordAgeInSeconds", -2, Kind.CONSTRAINT,
         "Value '-2' at 'maximumRecordAgeInSeconds' failed to satisfy constraint: Member must have "
         "value greater than or equal to -1"),
        ("MaximumRecordAgeInSeconds", 59, Kind.INVALID, AGE + "59"),
        ("BatchSize", "5", Kind.TYPE, "STRING_VALUE can not be converted to an Integer"),
        ("Enabled", 1, Kind.TYPE, "NUMBER_VALUE can not be converted to a Boolean"),
        ("DestinationConfig", [], Kind.TYPE, "Start of list found where not expected"),
        ("MetricsConfig", {"Metrics": ["Bytes"]}, Kind.CONSTRAINT,
         "Value '[Bytes]' at 'metricsConfig.metrics' failed to satisfy constraint: Member must "
         "satisfy constraint: [Member must satisfy enum value set: [EventCount, ErrorCount, "
         "KafkaMetrics]]"),
        ("MetricsConfig", {"Metrics": ["EventCount"] * 4}, Kind.CONSTRAINT,
         "Value '[EventCount, EventCount, EventCount, EventCount]' at 'metricsConfig.metrics' "
         "failed to satisfy constraint: Member must have length less than or equal to 3"),
        ("MetricsConfig", {"Metrics": ["ErrorCount"]}, Kind.INVALID,
         "Unsupported metric ErrorCount for given event source mapping type."),
        ("StartingPosition", None, Kind.INVALID,
         "1 validation error detected: Value null at 'startingPosition' failed to satisfy "
         "constraint: Member must not be null."),
    ],
)  # fmt: skip
def test_a_client_of_the_api_reads_awss_words(
    name: str, value: Any, kind: Kind, words: str
) -> None:
    parsed = parse_mapping({**ON_STREAM, name: value}, now=NOW)
    assert isinstance(parsed, Rejected)
    assert [(each.kind, each.for_api) for each in parsed.problems] == [(kind, words)]


def test_a_wrong_value_does_not_break_a_second_rule() -> None:
    assert problems(ON_QUEUE, BatchSize=100, MaximumBatchingWindowInSeconds="5") == [WINDOW + '"5"']
    assert problems(ON_QUEUE, BatchSize=100, MaximumBatchingWindowInSeconds=5) == []


def test_a_destination_is_kept_as_what_it_names() -> None:
    config = accepted(ON_STREAM, DestinationConfig={"OnFailure": {"Destination": BUCKET}})
    assert config.failure_destination == parse_destination(BUCKET)


FULL = {
    **ON_STREAM,
    "FilterCriteria": {"Filters": [{"Pattern": '{"data": {"n": [ 1 ]}}'}]},
    "Tags": {"team": "orders"},
    "MetricsConfig": {"Metrics": ["EventCount"]},
    "Enabled": False,
    "BatchSize": 7,
    "MaximumBatchingWindowInSeconds": 5,
    "FunctionResponseTypes": ["ReportBatchItemFailures"],
    "StartingPosition": "AT_TIMESTAMP",
    "StartingPositionTimestamp": 1_700_000_000.5,
    "ParallelizationFactor": 3,
    "DestinationConfig": {"OnFailure": {"Destination": BUCKET}},
    "MaximumRecordAgeInSeconds": 60,
    "MaximumRetryAttempts": 2,
    "BisectBatchOnFunctionError": True,
    "TumblingWindowInSeconds": 60,
}


FULL_QUEUES = [
    {**ON_QUEUE, "ScalingConfig": {"MaximumConcurrency": 7}},
    {**ON_QUEUE, "ProvisionedPollerConfig": {"MinimumPollers": 3, "MaximumPollers": 9}},
    {
        **ON_QUEUE,
        "poller": {"Concurrency": 1, "MessagesPerSecond": 0.5, "VisibilityHeartbeat": True},
    },
]


@pytest.mark.parametrize("request_", [*EVERY, FULL, *FULL_QUEUES])
def test_a_stored_request_reads_as_the_same_mapping(request_: dict[str, Any]) -> None:
    config = accepted(request_)
    stored = json.loads(json.dumps(as_request(config)))
    assert parse_mapping(stored, now=NOW) == config
    assert changed_start(stored, config) == ()
    assert set(request_) <= set(stored)


def changed_settings(one: MappingConfig, other: MappingConfig) -> set[str]:
    """The settings that a mapping restarts for when it was `one` and is to be `other`."""
    before, after = what_runs(as_request(one)), what_runs(as_request(other))
    return {name for name in before | after if before.get(name) != after.get(name)}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, value in FULL.items() if name not in ON_STREAM]
)
def test_every_changed_setting_restarts_the_mapping(name: str, value: Any) -> None:
    if name in {"StartingPositionTimestamp", "Tags"}:
        return
    assert changed_settings(accepted(ON_STREAM), accepted(ON_STREAM, **{name: value})) == {name}


@pytest.mark.parametrize("request_", FULL_QUEUES)
def test_scaling_that_is_added_or_taken_away_restarts_a_queue(request_: dict[str, Any]) -> None:
    (name,) = request_.keys() - ON_QUEUE.keys()
    plain, scaled = accepted(ON_QUEUE), accepted(request_)
    assert changed_settings(plain, scaled) == changed_settings(scaled, plain) == {name}
    assert name not in as_request(plain)


EXACT, LIMITED = {"Concurrency": 1}, {"MaximumConcurrency": 2}


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"ScalingConfig": LIMITED, POLLERS: {"MinimumPollers": 2}},
         f"{POLLERS}: ScalingConfig and {POLLERS} cannot be used together; keep one of them"),
        ({"ScalingConfig": LIMITED, "poller": EXACT},
         "poller: ScalingConfig and poller.Concurrency cannot be used together; keep one of them"),
        ({POLLERS: {"MinimumPollers": 2}, "poller": EXACT},
         f"poller: {POLLERS} and poller.Concurrency cannot be used together; keep one of them"),
    ],
)  # fmt: skip
def test_one_setting_says_how_many_may_run(settings: dict[str, Any], problem: str) -> None:
    assert problems(ON_QUEUE, **settings) == [problem]
    others = {"MessagesPerSecond": 5, "VisibilityHeartbeat": True}
    assert problems(ON_QUEUE, ScalingConfig=LIMITED, poller=others) == []


def test_a_changed_beginning_is_told_from_all_other_changes() -> None:
    stored = as_request(accepted(ON_STREAM))
    begins = {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 5}
    changed = accepted(ON_STREAM, **begins, BatchSize=9)
    assert changed_start(stored, changed) == tuple(begins)
    assert changed_settings(accepted(ON_STREAM), changed) == {"BatchSize", *begins}


def test_tags_change_nothing_that_runs() -> None:
    tagged = accepted(ON_STREAM, Tags={"team": "orders"})
    assert changed_settings(tagged, accepted(ON_STREAM)) == set()


def test_another_spelling_of_the_function_changes_nothing() -> None:
    arn = "arn:aws:lambda:us-east-1:123456789012:function:f"
    assert changed_settings(accepted(ON_STREAM), accepted(ON_STREAM, FunctionName=arn)) == set()


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([STREAM, TABLE, QUEUE, FIFO, BUCKET, "LATEST", "AT_TIMESTAMP", "f"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["OnFailure", "Destination", "Filters", "x"]), inner)
    ),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*APPLIES_TO, "poller"]) | st.text(max_size=5), VALUES))
def test_any_request_is_a_mapping_or_a_list_of_lines(raw: dict[str, Any]) -> None:
    match parse_mapping(raw, now=NOW):
        case MappingConfig() as config:
            assert parse_mapping(as_request(config), now=NOW) == config
        case Rejected(problems=found):
            assert found
            assert not any("\n" in str(problem) for problem in found)
