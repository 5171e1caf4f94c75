"""What Lambda's API refuses at create and at update: every rule, at a running poller."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.functions import function
from tests.outside.lambda_api import (
    ACCOUNT,
    MAPPINGS,
    REGION,
    await_state,
    invalid,
    listed,
    raw,
    refused,
    told,
)
from tests.outside.poller_process import Running, poller
from tests.servers import aws, new_queue, new_stream, new_table

INVALID, VALIDATION = "InvalidParameterValueException", "ValidationException"
SERIALIZATION = "SerializationException"
FUNCTION_TIMEOUT = 10


@dataclass(frozen=True, slots=True)
class Sources:
    """A poller with one disabled mapping of each kind, by which updates are tried."""

    url: str
    running: Running
    arns: dict[str, str]
    made: dict[str, dict[str, Any]]

    @property
    def api(self) -> Any:
        return aws("lambda", self.running.address)

    def create(self, kind: str, settings: dict[str, Any], name: str = "other") -> Any:
        """The reply to a request that boto3 might not even send."""
        start = {"StartingPosition": "TRIM_HORIZON"} if kind in {"stream", "table"} else {}
        request = {"EventSourceArn": self.arns[kind], "FunctionName": name, **start, **settings}
        return raw(self.running.address, "POST", MAPPINGS, json.dumps(request).encode())

    def update(self, kind: str, settings: dict[str, Any]) -> Any:
        path = f"{MAPPINGS}/{self.made[kind]['UUID']}"
        return raw(self.running.address, "PUT", path, json.dumps(settings).encode())


@pytest.fixture(scope="module")
def sources(ministack_url: str) -> Iterator[Sources]:
    url = ministack_url
    arns = {
        "stream": new_stream(url).arn,
        "table": new_table(url).stream_arn,
        "queue": new_queue(url).arn,
        "fifo": new_queue(url, fifo=True).arn,
    }
    with function() as stub:
        named = {
            name: {"url": stub.url, "timeout": FUNCTION_TIMEOUT} for name in ("orders", "other")
        }
        named["slow"] = {"url": stub.url, "timeout": 60}
        config = {"aws": {"endpoint_url": url, "region": REGION}, "functions": named}
        with poller(config) as running:
            sources = Sources(url, running, arns, {})
            for kind in arns:
                reply = sources.create(kind, {"Enabled": False}, "orders")
                assert reply.status == 202, reply
                sources.made[kind] = await_state(sources.api, reply.json["UUID"], "Disabled")
            yield sources
            assert listed(sources.api) == list(sources.made.values()), "nothing has changed"
            running.kill()
            assert "Traceback" not in running.log()


def out_of_range(name: str, value: int, rule: str) -> str:
    """AWS's words for a number that its model does not allow."""
    constraint = f"Member must have value {rule}"
    return (
        f"1 validation error detected: Value '{value}' at '{name}' failed to satisfy constraint: "
        f"{constraint}"
    )


def unsupported(name: str) -> str:
    return f"Unsupported {name} parameter for given event source mapping type."


WINDOW_WANTED = (
    "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than "
    "10"
)
# Kind of source, settings, error and the beginning of its message: at create and at update.
RULES: list[tuple[str, dict[str, Any], str, str]] = [
    *(
        (kind, {"BatchSize": value}, VALIDATION, out_of_range("batchSize", value, rule))
        for kind in ("stream", "queue")
        for value, rule in (
            (0, "greater than or equal to 1"),
            (-1, "greater than or equal to 1"),
            (10_001, "less than or equal to 10000"),
        )
    ),
    *(
        (kind, {name[:1].upper() + name[1:]: value}, VALIDATION, out_of_range(name, value, rule))
        for kind, name, value, rule in (
            ("stream", "maximumBatchingWindowInSeconds", 301, "less than or equal to 300"),
            ("queue", "maximumBatchingWindowInSeconds", -1, "greater than or equal to 0"),
            ("stream", "parallelizationFactor", 0, "greater than or equal to 1"),
            ("table", "parallelizationFactor", 11, "less than or equal to 10"),
            ("stream", "maximumRecordAgeInSeconds", -2, "greater than or equal to -1"),
            ("table", "maximumRecordAgeInSeconds", 604_801, "less than or equal to 604800"),
            ("stream", "maximumRetryAttempts", -2, "greater than or equal to -1"),
            ("table", "maximumRetryAttempts", 10_001, "less than or equal to 10000"),
            ("stream", "tumblingWindowInSeconds", 901, "less than or equal to 900"),
            ("table", "tumblingWindowInSeconds", -1, "greater than or equal to 0"),
        )
    ),
    (
        "queue",
        {"ScalingConfig": {"MaximumConcurrency": 1}},
        VALIDATION,
        out_of_range("scalingConfig.maximumConcurrency", 1, "greater than or equal to 2"),
    ),
    (
        "queue",
        {"ScalingConfig": {"MaximumConcurrency": 1001}},
        VALIDATION,
        out_of_range("scalingConfig.maximumConcurrency", 1001, "less than or equal to 1000"),
    ),
    (
        "stream",
        {"BatchSize": 0, "ParallelizationFactor": 11},
        VALIDATION,
        "2 validation errors detected: Value '0' at 'batchSize' failed to satisfy constraint: "
        "Member must have value greater than or equal to 1; Value '11' at 'parallelizationFactor' "
        "failed to satisfy constraint: Member must have value less than or equal to 10",
    ),
    (
        "queue",
        {"FunctionResponseTypes": ["Report"]},
        VALIDATION,
        "1 validation error detected: Value '[Report]' at 'functionResponseTypes' failed to "
        "satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: "
        "[ReportBatchItemFailures]]",
    ),
    (
        "queue",
        {"FunctionResponseTypes": ["ReportBatchItemFailures"] * 2},
        VALIDATION,
        "1 validation error detected: Value '[ReportBatchItemFailures, ReportBatchItemFailures]' "
        "at 'functionResponseTypes' failed to satisfy constraint: Member must have length less "
        "than or equal to 1",
    ),
    (
        "stream",
        {"MetricsConfig": {"Metrics": ["Everything"]}},
        VALIDATION,
        "1 validation error detected: Value '[Everything]' at 'metricsConfig.metrics' failed to "
        "satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: "
        "[EventCount, ErrorCount, KafkaMetrics]]",
    ),
    ("queue", {"MetricsConfig": {"Metrics": ["KafkaMetrics"]}}, INVALID, "Unsupported metric "),
    ("queue", {"BatchSize": 11}, INVALID, WINDOW_WANTED),
    ("fifo", {"BatchSize": 11}, INVALID, "BatchSize: must be from 1 to 10 for a FIFO queue"),
    (
        "fifo",
        {"MaximumBatchingWindowInSeconds": 1},
        INVALID,
        "Batching window is not supported for FIFO queues",
    ),
    *(
        ("stream", {"MaximumRecordAgeInSeconds": age}, INVALID, "MaximumRecordAgeInSeconds: must ")
        for age in (0, 1, 59)
    ),
    *(
        ("queue", {name: value}, INVALID, unsupported(name))
        for name, value in (
            ("DestinationConfig", {"OnFailure": {"Destination": "arn:aws:s3:::bucket"}}),
            ("ParallelizationFactor", 1),
            ("MaximumRecordAgeInSeconds", -1),
            ("MaximumRetryAttempts", -1),
            ("BisectBatchOnFunctionError", False),
            ("TumblingWindowInSeconds", 0),
            ("SourceAccessConfigurations", []),
            ("LoggingConfig", {}),
            ("DocumentDBEventSourceConfig", {}),
        )
    ),
    *(
        ("stream", {name: {}}, INVALID, unsupported(name))
        for name in (
            "ScalingConfig",
            "ProvisionedPollerConfig",
            "AmazonManagedKafkaEventSourceConfig",
            "SelfManagedKafkaEventSourceConfig",
        )
    ),
    *(
        (kind, {"FilterCriteria": {"Filters": [{"Pattern": pattern}]}}, INVALID, "Invalid filter ")
        for kind in ("table", "queue")
        for pattern in ("null", "simple string", '{"eventSource":"aws:sqs"}', '{"eventSource":[]}')
    ),
    ("stream", {"KMSKeyArn": "arn:aws:kms:us-east-1:000000000000:key/k"}, INVALID, "KMSKeyArn is"),
    ("stream", {"FunctionName": "unknown"}, INVALID, "Function does not exist"),
    ("queue", {"FunctionName": "other:unknown"}, INVALID, "Function does not exist"),
    ("queue", {"FunctionName": "no name"}, INVALID, "FunctionName: "),
    ("stream", {"BatchSize": "7"}, SERIALIZATION, "STRING_VALUE can not be converted to an Int"),
    ("stream", {"Enabled": 1}, SERIALIZATION, "NUMBER_VALUE can not be converted to a Boolean"),
    ("stream", {"FunctionName": ["orders"]}, SERIALIZATION, "Start of list found where not "),
    ("queue", {"FunctionResponseTypes": "all"}, SERIALIZATION, "Expected list or null"),
    ("queue", {"Batchsize": 7}, INVALID, "Batchsize: unknown key; did you mean BatchSize?"),
]


@pytest.mark.proves(
    "BatchSize",
    "FunctionResponseTypes",
    "KMSKeyArn",
    "MaximumBatchingWindowInSeconds",
    "MaximumRecordAgeInSeconds",
    "MaximumRetryAttempts",
    "ParallelizationFactor",
)
@pytest.mark.parametrize("operation", ["create", "update"])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule[0]}-{next(iter(rule[1]))}")
def test_a_setting_that_breaks_a_rule_is_refused(
    sources: Sources, operation: str, rule: tuple[str, dict[str, Any], str, str]
) -> None:
    kind, settings, error, message = rule
    attempt = sources.create if operation == "create" else sources.update
    reply = attempt(kind, settings)
    assert (reply.status, reply.headers["x-amzn-errortype"]) == (400, error)
    typed = {"Type": "User"} if error == INVALID else {}
    assert reply.json == {**typed, "message": reply.json["message"]}
    if error == VALIDATION:
        assert reply.json["message"] == message
    assert reply.json["message"].startswith(message)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (
            {"FunctionName": None},
            VALIDATION,
            "1 validation error detected: Value null at 'functionName' failed to satisfy "
            "constraint: Member must not be null",
        ),
        ({"StartingPosition": "AT_TIMESTAMP"}, INVALID, "StartingPositionTimestamp: is missing"),
        ({"StartingPositionTimestamp": 1}, INVALID, "StartingPositionTimestamp: has no effect"),
        (
            {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 9e9},
            INVALID,
            "StartingPositionTimestamp: is in the future: 9000000000.0",
        ),
        ({"Topics": ["t"]}, INVALID, unsupported("Topics")),
        ({"Queues": ["q"]}, INVALID, unsupported("Queues")),
        ({"Tags": {"aws:owner": "me"}}, INVALID, 'Tags: "aws:owner": keys that begin with aws:'),
        ({"Tags": {f"key{number}": "" for number in range(51)}}, INVALID, "Tags: has 51 tags"),
        (
            {"EventSourceArn": f"arn:aws:kafka:{REGION}:{ACCOUNT}:cluster/c/1-2"},
            INVALID,
            "Amazon MSK as an event source is not supported yet",
        ),
        (
            {"EventSourceArn": f"arn:aws:mq:{REGION}:{ACCOUNT}:broker:b:b-1"},
            INVALID,
            "Amazon MQ as an event source is not supported yet",
        ),
        (
            {"EventSourceArn": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/t"},
            INVALID,
            "Unrecognized event source.",
        ),
    ],
)
def test_a_request_that_makes_no_mapping_is_refused(
    sources: Sources, settings: dict[str, Any], error: str, message: str
) -> None:
    reply = sources.create("stream", settings)
    assert (reply.status, reply.headers["x-amzn-errortype"]) == (400, error)
    assert reply.json["message"].startswith(message)


@pytest.mark.parametrize("name", ["EventSourceArn", "StartingPosition", "Tags"])
def test_what_is_fixed_for_life_is_not_updated(sources: Sources, name: str) -> None:
    value = {"EventSourceArn": sources.arns["queue"], "Tags": {}}.get(name, "LATEST")
    reply = sources.update("stream", {name: value})
    expected = f"{name} of an event source mapping cannot be changed."
    assert (reply.status, reply.json["message"]) == (400, expected)


@pytest.mark.proves("D18", "FilterCriteria")
@pytest.mark.parametrize(
    "pattern",
    [
        "null",
        "simple string",
        "single-string",
        '[{"eventName": ["INSERT"=123}]',
        '{"eventSource":"aws:sqs"}',
        '{"eventSource":[]}',
    ],
)
def test_what_is_no_pattern_is_refused_as_recorded(sources: Sources, pattern: str) -> None:
    bad = invalid("Invalid filter pattern definition.")
    criteria = {"Filters": [{"Pattern": pattern}]}
    for kind in ("queue", "table"):
        start = {"StartingPosition": "LATEST"} if kind == "table" else {}
        given = {"EventSourceArn": sources.arns[kind], "FunctionName": "other", **start}
        create = sources.api.create_event_source_mapping
        assert refused(create, **given, FilterCriteria=criteria) == bad
        update, uuid = sources.api.update_event_source_mapping, sources.made[kind]["UUID"]
        assert refused(update, UUID=uuid, FilterCriteria=criteria) == bad


# What depends on what is there.


def made_and_deleted(sources: Sources, reply: Any) -> dict[str, Any]:
    """The mapping of a create that succeeded; it is gone when this returns."""
    assert reply.status == 202, reply
    made: dict[str, Any] = reply.json
    told(sources.api.delete_event_source_mapping(UUID=made["UUID"]), 202)
    return made


def destinations(url: str) -> dict[str, tuple[str, str]]:
    """For each kind of destination one that is there and one that is not."""
    queue = new_queue(url).arn
    topic = aws("sns", url).create_topic(Name=queue.rpartition(":")[2])["TopicArn"]
    bucket = f"bucket-{queue.rpartition('-')[2]}"
    aws("s3", url).create_bucket(Bucket=bucket)
    there = {"sqs": queue, "sns": topic, "s3": f"arn:aws:s3:::{bucket}"}
    return {kind: (arn, f"{arn}-missing") for kind, arn in there.items()}


@pytest.mark.proves("DestinationConfig", "S7.2.checked")
@pytest.mark.parametrize("server", ["ministack_url", "moto_url"])
def test_a_failure_destination_must_be_there_at_create_and_at_update(
    sources: Sources, server: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(server)
    endpoints = dict.fromkeys(("sqs", "sns", "s3"), url)
    with function() as stub:
        config = {
            "aws": {"endpoint_url": sources.url, "endpoints": endpoints, "region": REGION},
            "functions": {name: {"url": stub.url} for name in ("orders", "other")},
        }
        with poller(config) as running:
            here = Sources(url, running, sources.arns, {})
            here.made["stream"] = here.create("stream", {"Enabled": False}, "orders").json
            uuid = here.made["stream"]["UUID"]
            for there, missing in destinations(url).values():
                good, bad = (
                    {"DestinationConfig": {"OnFailure": {"Destination": arn}}}
                    for arn in (there, missing)
                )
                await_state(here.api, uuid, "Disabled")
                for reply in (
                    here.create("stream", bad), here.create("table", bad),
                    here.update("stream", bad),
                ):  # fmt: skip
                    assert reply.headers["x-amzn-errortype"] == INVALID
                    message = reply.json["message"]
                    reason = message.removeprefix(f"The destination ARN {missing} is invalid: ")
                    assert reason != message
                    assert not reason.startswith(missing)
                for kind in ("stream", "table"):
                    made = made_and_deleted(here, here.create(kind, good))
                    assert made["DestinationConfig"] == good["DestinationConfig"]
                changed = here.update("stream", good)
                assert (changed.status, changed.json["State"]) == (202, "Updating")
                assert changed.json["DestinationConfig"] == good["DestinationConfig"]
            await_state(here.api, uuid, "Disabled")
            removed = here.update("stream", {"DestinationConfig": {"OnFailure": {}}})
            assert removed.json["DestinationConfig"] == {"OnFailure": {}}
            running.kill()


@pytest.mark.proves("S1.2.visibility")
@pytest.mark.parametrize("fifo", [False, True])
def test_a_queue_must_hide_messages_for_as_long_as_its_function_may_take(
    sources: Sources, fifo: bool
) -> None:
    url, api = sources.url, sources.api
    queue = new_queue(url, fifo=fifo, VisibilityTimeout="30")
    given = {"EventSourceArn": queue.arn, "Enabled": False}
    too_short = invalid(
        "Queue visibility timeout: 30 seconds is less than Function timeout: 60 seconds"
    )
    assert refused(api.create_event_source_mapping, **given, FunctionName="slow") == too_short
    made = told(api.create_event_source_mapping(**given, FunctionName="other"), 202)
    update = api.update_event_source_mapping
    assert refused(update, UUID=made["UUID"], FunctionName="slow") == too_short
    seconds = {"VisibilityTimeout": str(FUNCTION_TIMEOUT)}
    aws("sqs", url).set_queue_attributes(QueueUrl=queue.url, Attributes=seconds)
    assert told(update(UUID=made["UUID"], BatchSize=1), 202)["BatchSize"] == 1
    await_state(api, made["UUID"], "Disabled")
    seconds = {"VisibilityTimeout": str(FUNCTION_TIMEOUT - 1)}
    aws("sqs", url).set_queue_attributes(QueueUrl=queue.url, Attributes=seconds)
    reply = refused(update, UUID=made["UUID"], Enabled=True)
    assert reply == invalid(
        "Queue visibility timeout: 9 seconds is less than Function timeout: 10 seconds"
    )
    told(api.delete_event_source_mapping(UUID=made["UUID"]), 202)


def test_a_mapping_of_a_queue_that_has_gone_can_still_be_changed_and_deleted(
    sources: Sources,
) -> None:
    queue, api = new_queue(sources.url), sources.api
    made = told(
        api.create_event_source_mapping(
            EventSourceArn=queue.arn, FunctionName="other", Enabled=False
        ),
        202,
    )
    aws("sqs", sources.url).delete_queue(QueueUrl=queue.url)
    changed = told(api.update_event_source_mapping(UUID=made["UUID"], BatchSize=2), 202)
    assert changed["BatchSize"] == 2
    await_state(api, made["UUID"], "Disabled")
    deleted = told(api.delete_event_source_mapping(UUID=made["UUID"]), 202)
    assert deleted["State"] == "Deleting"
