"""`poller run` with functions behind an Invoke API: a real one, and one that refuses."""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Mapping
from typing import Any

import pytest

from tests.functions import Answer, Call, function
from tests.lambda_functions import new_function
from tests.outside.watched import watched
from tests.servers import Stream, aws, new_queue, new_stream
from tests.waiting import eventually

# What it was given goes to a queue, which the test reads.
REPORTER = """
import json, os, urllib.parse, urllib.request

def handler(event, context):
    texts = [record["kinesis"]["data"] for record in event["Records"]]
    if len(texts) > 1 and "{poison}" in texts:
        raise ValueError("a poison record")
    body = urllib.parse.urlencode({{"Action": "SendMessage", "MessageBody": json.dumps(texts)}})
    urllib.request.urlopen("{queue}", body.encode()).read()
"""


def put(url: str, stream: Stream, *texts: str) -> None:
    records = [{"Data": text.encode(), "PartitionKey": "k"} for text in texts]
    aws("kinesis", url).put_records(StreamName=stream.name, Records=records)


def decoded(data: str) -> str:
    return base64.b64decode(data).decode()


def config(url: str, lambda_: str, stream: Stream, **more: Any) -> Mapping[str, Any]:
    """A mapping of a stream to a `lambda` function."""
    return {
        "aws": {"region": "us-east-1", "endpoint_url": url, **more.pop("aws", {})},
        "listen": "127.0.0.1:0",
        "functions": {"orders": {"lambda": lambda_}},
        "mappings": [
            {
                "EventSourceArn": stream.arn,
                "FunctionName": "orders",
                "StartingPosition": "TRIM_HORIZON",
                "BatchSize": 10,
                **more,
            }
        ],
    }


def received(url: str, queue_url: str, *, until: int) -> list[list[str]]:
    """The batches that the function told of, once they have so many records."""
    batches: list[list[str]] = []

    def enough() -> bool:
        found = aws("sqs", url).receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10)
        for message in found.get("Messages", []):
            batches.append([decoded(data) for data in json.loads(message["Body"])])
        return sum(map(len, batches)) >= until

    eventually(enough)
    return batches


def test_a_function_in_lambda_gets_a_streams_records_and_its_errors_bisect(
    ministack_url: str,
) -> None:
    stream, queue = new_stream(ministack_url), new_queue(ministack_url)
    poison = base64.b64encode(b"bad").decode()
    name = new_function(ministack_url, REPORTER.format(queue=queue.url, poison=poison))
    put(ministack_url, stream, "a", "b", "bad", "c")
    whole = config(ministack_url, f"{name}:$LATEST", stream, BisectBatchOnFunctionError=True)

    with watched(whole) as running:
        batches = received(ministack_url, queue.url, until=4)
        assert "a poison record" in running.log()
        assert running.stop() == 0

    assert sorted(batches) == [["a", "b"], ["bad"], ["c"]]


@pytest.mark.proves("S12.1.too-large")
def test_a_batch_that_invoke_refuses_as_too_large_is_split_until_it_fits(
    ministack_url: str,
) -> None:
    def answers(call: Call) -> Answer:
        if len(call.records) > 2 or (len(call.records) == 1 and call.body.count(b"aHVnZQ==")):
            body = {"Type": "User", "message": "Request must be smaller than it is"}
            return Answer(body, 413, headers={"x-amzn-ErrorType": "RequestTooLargeException"})
        return Answer(b"null")

    stream, failures = new_stream(ministack_url), new_queue(ministack_url)
    put(ministack_url, stream, "a", "b", "huge", "c", "d")
    with function(answers) as stub:
        url = stub.url.rstrip("/")
        endpoints = {"lambda": url}
        whole = config(
            ministack_url,
            "orders:live",
            stream,
            aws={"endpoints": endpoints},
            MaximumRetryAttempts=0,
            DestinationConfig={"OnFailure": {"Destination": failures.arn}},
        )
        with watched(whole) as running:
            found = eventually(
                lambda: (
                    aws("sqs", ministack_url).receive_message(QueueUrl=failures.url).get("Messages")
                )
            )
            stub.wait(lambda: len(stub.succeeded) == 4)
            log = running.log()
            assert running.stop() == 0

    texts = [[decoded(r["kinesis"]["data"]) for r in call.records] for call in stub.calls]
    assert texts[:4] == [["a", "b", "huge", "c", "d"], ["a", "b"], ["huge", "c", "d"], ["huge"]]
    assert texts[4:] == [["c", "d"]]
    assert {call.path for call in stub.calls} == {"/2015-03-31/functions/orders/invocations"}
    document = json.loads(found[0]["Body"])
    assert document["requestContext"]["condition"] == "RecordTooLarge"
    assert document["KinesisBatchInfo"]["batchSize"] == 1
    assert "a batch is too large for the function and is split" in log
    assert "Request must be smaller than it is" in log


@pytest.mark.proves("S12.1.errors")
def test_what_keeps_poller_from_invoking_is_said_with_what_to_do_and_spends_no_retry(
    ministack_url: str,
) -> None:
    def answers(call: Call) -> Answer:
        if call.number < 2:
            body = {"Message": "User: arn:aws:iam::1:user/u is not authorized"}
            return Answer(body, 403, headers={"x-amzn-ErrorType": "AccessDeniedException"})
        return Answer(b"null")

    stream = new_stream(ministack_url)
    put(ministack_url, stream, "a")
    with function(answers) as stub:
        arn = "arn:aws:lambda:eu-west-1:123456789012:function:orders:7"
        whole = config(
            ministack_url,
            arn,
            stream,
            aws={"endpoints": {"lambda": stub.url.rstrip("/")}},
            MaximumRetryAttempts=0,
        )
        with watched(whole) as running:
            stub.wait(lambda: len(stub.succeeded) == 1)
            eventually(lambda: running.metrics("poller_records_succeeded_total") == 1)
            log = running.log()
            assert running.stop() == 0

    [line] = [line for line in log.splitlines() if "is not reached" in line]
    assert "AccessDeniedException" in line
    assert "allow lambda:InvokeFunction to the identity that poller runs as" in line
    named = urllib.parse.quote(arn.removesuffix(":7"), safe="")
    for call in stub.calls:
        assert call.path == urllib.parse.unquote(f"/2015-03-31/functions/{named}/invocations")
        assert "/eu-west-1/lambda/aws4_request" in call.headers["Authorization"]
