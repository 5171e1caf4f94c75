"""ARNs: every form that is taken, and the words for those that are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.wire.arns import (
    ArnError,
    DestinationKind,
    FailureDestination,
    Source,
    SourceKind,
    is_role,
    mapping_uuid,
    parse_destination,
    parse_function,
    parse_source,
)

ACCOUNT = "123456789012"
STREAM = f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/orders"
TABLE = f"arn:aws:dynamodb:eu-west-1:{ACCOUNT}:table/users/stream/2026-01-31T12:00:00.000"
QUEUE = f"arn:aws:sqs:us-east-1:{ACCOUNT}:jobs"


@pytest.mark.proves("EventSourceArn")
@pytest.mark.parametrize(
    ("arn", "kind", "region", "name", "fifo"),
    [
        (STREAM, SourceKind.KINESIS, "us-east-1", "orders", False),
        (STREAM.replace("aws", "aws-cn"), SourceKind.KINESIS, "us-east-1", "orders", False),
        (TABLE, SourceKind.DYNAMODB, "eu-west-1", "users", False),
        (TABLE.replace("eu-west-1", "ddblocal"), SourceKind.DYNAMODB, "ddblocal", "users", False),
        (QUEUE, SourceKind.SQS, "us-east-1", "jobs", False),
        (QUEUE + ".fifo", SourceKind.SQS, "us-east-1", "jobs.fifo", True),
    ],
)
def test_streams_and_queues_are_sources(
    arn: str, kind: SourceKind, region: str, name: str, fifo: bool
) -> None:
    source = parse_source(arn)
    assert source == Source(kind, arn, region, ACCOUNT, name)
    assert source.fifo is fifo


@pytest.mark.proves("S1.1.other-sources")
@pytest.mark.parametrize(
    ("arn", "message"),
    [
        ("", "Unrecognized event source."),
        ("orders", "Unrecognized event source."),
        ("https://sqs.us-east-1.amazonaws.com/123456789012/jobs", "Unrecognized event source."),
        (TABLE.partition("/stream")[0], "Unrecognized event source."),
        (QUEUE + "\n", "Unrecognized event source."),
        (QUEUE.replace(ACCOUNT, "1234"), "Unrecognized event source."),
        (QUEUE.replace("sqs", "sns"), "Unrecognized event source."),
        (STREAM + "/consumer/fast", "Unrecognized event source."),
        (STREAM + "/consumer/fast:now", "Unrecognized event source."),
        (TABLE + "/consumer/fast:1700000000", "Unrecognized event source."),
        (
            f"arn:aws:kafka:us-east-1:{ACCOUNT}:cluster/c/1-2",
            "Amazon MSK as an event source is not supported yet",
        ),
        (
            f"arn:aws:kafka:us-east-1:{ACCOUNT}:vpc-connection/{ACCOUNT}/c/1-2",
            "Amazon MSK as an event source is not supported yet",
        ),
        (
            f"arn:aws:mq:us-east-1:{ACCOUNT}:broker:b:b-1",
            "Amazon MQ as an event source is not supported yet",
        ),
        (
            f"arn:aws:rds:us-east-1:{ACCOUNT}:cluster:docs",
            "Amazon DocumentDB as an event source is not supported yet",
        ),
    ],
)
def test_what_is_no_source_is_refused_in_words_of_its_own(arn: str, message: str) -> None:
    with pytest.raises(ArnError) as error:
        parse_source(arn)
    assert error.value.message == message


@pytest.mark.parametrize(
    ("arn", "stream"),
    [
        (STREAM + "/consumer/fast:1700000000", STREAM),
        (STREAM, STREAM),
        (STREAM + "-consumer", STREAM + "-consumer"),
        (TABLE, TABLE),
        (QUEUE, QUEUE),
    ],
)
def test_a_consumer_is_a_source_of_its_own_that_reads_a_stream(arn: str, stream: str) -> None:
    source = parse_source(arn)
    assert (source.arn, source.stream_arn) == (arn, stream)
    assert source.is_consumer is ("/consumer/" in arn)
    if source.is_consumer:
        assert (source.kind, source.name) == (SourceKind.KINESIS, "orders")


@pytest.mark.parametrize(
    ("arn", "destination"),
    [
        (QUEUE, FailureDestination(DestinationKind.SQS, QUEUE, "jobs", "us-east-1", ACCOUNT)),
        (
            f"arn:aws:sns:eu-west-1:{ACCOUNT}:alarms",
            FailureDestination(
                DestinationKind.SNS,
                f"arn:aws:sns:eu-west-1:{ACCOUNT}:alarms",
                "alarms",
                "eu-west-1",
                ACCOUNT,
            ),
        ),
        (
            "arn:aws:s3:::failed-orders",
            FailureDestination(
                DestinationKind.S3, "arn:aws:s3:::failed-orders", "failed-orders", None, None
            ),
        ),
    ],
)
def test_queues_topics_and_buckets_are_failure_destinations(
    arn: str, destination: FailureDestination
) -> None:
    assert parse_destination(arn) == destination


@pytest.mark.proves("S7.2.fifo")
@pytest.mark.parametrize(
    ("arn", "message"),
    [
        (QUEUE + ".fifo", "a FIFO queue cannot be"),
        (f"arn:aws:sns:us-east-1:{ACCOUNT}:alarms.fifo", "a FIFO topic cannot be"),
        ("kafka://failed", "a Kafka topic is a failure destination for Kafka sources only"),
        ("failed-orders", '"failed-orders" is not the ARN of a failure destination'),
        (STREAM, "is not the ARN of a failure destination"),
        ("arn:aws:s3:::failed-orders/prefix", "is not the ARN of a failure destination"),
    ],
)
def test_other_failure_destinations_are_refused(arn: str, message: str) -> None:
    with pytest.raises(ArnError) as error:
        parse_destination(arn)
    assert message in error.value.message


@pytest.mark.proves("FunctionName")
@pytest.mark.parametrize(
    ("text", "key", "arn_end"),
    [
        ("orders", "orders", "orders"),
        ("orders:$LATEST", "orders", "orders:$LATEST"),
        ("orders:1", "orders:1", "orders:1"),
        ("orders:live", "orders:live", "orders:live"),
        (f"{ACCOUNT}:function:orders", "orders", "orders"),
        (f"{ACCOUNT}:function:orders:$LATEST", "orders", "orders:$LATEST"),
        (f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:orders", "orders", "orders"),
        (f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:orders:1", "orders:1", "orders:1"),
        (f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:orders:live", "orders:live", "orders:live"),
        ("f" * 64, "f" * 64, "f" * 64),
    ],
)
def test_the_arn_of_a_function_keeps_the_qualifier_as_given(
    text: str, key: str, arn_end: str
) -> None:
    function = parse_function(text)
    assert function.key == key
    arn = function.arn(region="us-east-1", account=ACCOUNT)
    assert arn == f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{arn_end}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "f" * 65,
        "or ders",
        "orders:",
        "orders:live:1",
        "arn:aws:lambda:us-east-1:1:function:orders",
        f"arn:aws:sqs:us-east-1:{ACCOUNT}:orders",
        "orders:" + "q" * 250,
    ],
)
def test_other_names_of_functions_are_refused(text: str) -> None:
    with pytest.raises(ArnError, match="names no function"):
        parse_function(text)


def test_functions_of_other_partitions_have_arns_of_these() -> None:
    function = parse_function("orders")
    arn = function.arn(region="cn-north-1", account=ACCOUNT)
    assert arn == f"arn:aws-cn:lambda:cn-north-1:{ACCOUNT}:function:orders"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("orders", True),
        ("orders:$LATEST", True),
        (f"{ACCOUNT}:function:orders", True),
        (f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:orders:$LATEST", True),
        ("order", False),
        ("orders:1", False),
        ("000000000001:function:orders", False),
        (f"arn:aws:lambda:us-east-2:{ACCOUNT}:function:orders", False),
    ],
)
def test_a_reference_names_one_function_and_its_latest_version(text: str, expected: bool) -> None:
    arn = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:orders"
    function = parse_function(text)
    assert [function.names(arn), function.names(f"{arn}:$LATEST")] == [expected, expected]
    assert not function.names(f"{arn}:live")


def test_a_mapping_is_known_by_its_source_and_function_for_ever() -> None:
    function = parse_function("orders").arn(region="us-east-1", account=ACCOUNT)
    uuid = mapping_uuid(STREAM, function)
    assert uuid == "7c5f2815-a7be-5aa0-bce6-403ffedb91b0"
    assert mapping_uuid(STREAM, function + ":$LATEST") == uuid
    assert mapping_uuid(STREAM, function + ":live") != uuid
    assert mapping_uuid(QUEUE, function) != uuid


@pytest.mark.parametrize(
    ("arn", "expected"),
    [
        (f"arn:aws:iam::{ACCOUNT}:role/poller", True),
        (f"arn:aws-us-gov:iam::{ACCOUNT}:role/service/poller", True),
        (f"arn:aws:iam::{ACCOUNT}:user/poller", False),
        ("poller", False),
    ],
)
def test_a_role_is_an_iam_role(arn: str, expected: bool) -> None:
    assert is_role(arn) is expected


@given(st.text() | st.from_regex(r"arn:aws:(kinesis|sqs|dynamodb|lambda|s3):.*", fullmatch=True))
def test_any_text_is_taken_or_refused_in_one_line(text: str) -> None:
    refusals = []
    for parse in (parse_source, parse_destination, parse_function):
        try:
            parse(text)
        except ArnError as error:
            refusals.append(error.message + error.remedy)
    assert not any("\n" in refusal for refusal in refusals)
