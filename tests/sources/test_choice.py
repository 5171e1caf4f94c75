"""Which source reads which mapping, and that the others say that they are not there yet."""

from __future__ import annotations

import time
from typing import Any

import pytest

from poller.aws.sessions import AwsSession, AwsSettings
from poller.sources.choice import Sources
from poller.sources.dynamodb_streams import DynamoDBStreamsSource
from poller.sources.kinesis import KinesisSource
from poller.sources.kinesis_fanout import KinesisFanoutSource
from poller.sources.sqs import SqsSource
from poller.wire.arns import SourceKind
from poller.wire.mappings import MappingConfig, Rejected, parse_mapping
from tests.sources.kinesis_streams import ROLE

PLACE = "us-east-1:123456789012"
STREAM = f"arn:aws:kinesis:{PLACE}:stream/orders"
TABLE = f"arn:aws:dynamodb:{PLACE}:table/users/stream/2026-01-31T12:00:00.000"
QUEUE = f"arn:aws:sqs:{PLACE}:jobs"


def parsed(**request: Any) -> MappingConfig | Rejected:
    return parse_mapping({"FunctionName": "f", **request}, now=time.time())


@pytest.mark.parametrize(
    ("arn", "source"),
    [
        (STREAM, KinesisSource),
        (STREAM + "/consumer/fast:1700000000", KinesisFanoutSource),
        (TABLE, DynamoDBStreamsSource),
        (QUEUE, SqsSource),
    ],
)
@pytest.mark.proves("EventSourceArn")
async def test_every_kind_of_source_has_its_reader(arn: str, source: type) -> None:
    start = {} if arn == QUEUE else {"StartingPosition": "TRIM_HORIZON"}
    config = parsed(EventSourceArn=arn, **start)
    assert isinstance(config, MappingConfig)
    sources = Sources(now=time.time)

    async with AwsSession(AwsSettings(region="us-east-1")) as session:
        if config.source.kind is SourceKind.SQS:
            made: object = sources.queue(config, session, function_timeout=3.0)
        else:
            made = sources.stream(config, session, role_arn=ROLE)

    assert type(made) is source


@pytest.mark.parametrize(
    ("request_of", "name"),
    [
        ({"EventSourceArn": f"arn:aws:kafka:{PLACE}:cluster/c/1-2"}, "Amazon MSK"),
        ({"EventSourceArn": f"arn:aws:kafka:{PLACE}:vpc-connection/1/c/1-2"}, "Amazon MSK"),
        ({"EventSourceArn": f"arn:aws:mq:{PLACE}:broker:b:b-1"}, "Amazon MQ"),
        ({"EventSourceArn": f"arn:aws:rds:{PLACE}:cluster:docs"}, "Amazon DocumentDB"),
        (
            {"SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["a:9092"]}}},
            "self-managed Kafka",
        ),
    ],
)
@pytest.mark.proves("S1.1.other-sources", "SelfManagedEventSource")
def test_a_source_that_is_not_there_yet_is_refused_by_its_name(
    request_of: dict[str, Any], name: str
) -> None:
    refused = parsed(StartingPosition="LATEST", **request_of)

    assert isinstance(refused, Rejected)
    assert [
        problem
        for problem in refused.problems
        if f"{name} as an event source is not" in str(problem)
    ]
