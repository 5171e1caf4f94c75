"""`poller run` with a pool of Lambda's Runtime Interface Emulators, as Lambda's images have one."""

from __future__ import annotations

import json

from tests.emulators import emulator
from tests.outside.watched import watched
from tests.servers import aws, new_queue, new_stream
from tests.waiting import eventually

CODE = """
import base64, os, time

def handler(event, context):
    [record] = event["Records"]
    text = base64.b64decode(record["kinesis"]["data"]).decode()
    print("record", text, "end")
    if text == "raises":
        raise KeyError(text)
    if text == "exits":
        os._exit(3)
    if text == "sleeps":
        time.sleep(30)
"""
FAILING = {"raises", "exits", "sleeps"}


def test_a_pool_of_emulators_is_fed_by_a_stream_and_its_errors_are_the_functions(
    ministack_url: str,
) -> None:
    stream, failures = new_stream(ministack_url, shards=2), new_queue(ministack_url)
    texts = [*(f"fine-{number}" for number in range(12)), *FAILING]
    aws("kinesis", ministack_url).put_records(
        StreamName=stream.name,
        Records=[{"Data": text.encode(), "PartitionKey": text} for text in texts],
    )
    mapping = {
        "EventSourceArn": stream.arn,
        "FunctionName": "orders",
        "StartingPosition": "TRIM_HORIZON",
        "BatchSize": 1,
        "ParallelizationFactor": 3,
        "MaximumRetryAttempts": 0,
        "DestinationConfig": {"OnFailure": {"Destination": failures.arn}},
    }
    with emulator(CODE, timeout=1) as one, emulator(CODE, timeout=1) as other:
        config = {
            "aws": {"region": "us-east-1", "endpoint_url": ministack_url},
            "functions": {"orders": {"url": [one.url, other.url], "timeout": 10}},
            "mappings": [mapping],
        }
        with watched(config) as running:
            eventually(lambda: running.metrics("poller_records_succeeded_total") == 12)
            documents = read(ministack_url, failures.url, 3)
            assert running.stop() == 0
        printed = one.output() + other.output()

    assert {text for text in texts if f"record {text} end" in printed} == set(texts)
    for document in documents:
        assert document["requestContext"]["condition"] == "RetryAttemptsExhausted"
        assert document["responseContext"]["functionError"] == "Unhandled"


def read(url: str, queue_url: str, count: int) -> list[dict[str, dict[str, str]]]:
    """The failure documents in a queue, once there are so many."""
    found: dict[str, str] = {}

    def enough() -> bool:
        answer = aws("sqs", url).receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10)
        found.update((each["MessageId"], each["Body"]) for each in answer.get("Messages", []))
        return len(found) == count

    eventually(enough)
    return [json.loads(body) for body in found.values()]
