"""Many stream mappings under one poller, each with a stream, a function and failures of its own.

    PLANS = {"poison": Plan(settings={"BatchSize": 1}, answers=..., records=("a", "b"))}

    with staged(url, PLANS) as scenes:
        assert scenes["poison"].after(2) == [["a"], ["b"]]

A stream is one of Kinesis, where a record's data is its text, or that of a DynamoDB table, where
the text is the item's id.  Starting a poller takes seconds and waiting for retries does too, so
scenes run side by side.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from tests.functions import Answer, Call, Function, errored, failed_items, function
from tests.outside.by_api import created
from tests.outside.poller_process import LOG_TAIL_BYTES, Running, poller
from tests.servers import Queue, Stream, Table, aws, new_queue, new_stream, new_table
from tests.waiting import TIMEOUT, eventually

REGION = "us-east-1"
SHARD = "shardId-000000000000"
ROLE = "arn:aws:iam::000000000000:role/poller"
KEY = "key"  # of records whose key does not matter
CLOCK_SLACK = 120.0
FUNCTION_TIMEOUT = 30  # a busy machine is no reason for a function error
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def succeed(_call: Call) -> Answer:
    return Answer()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a scene is to be; `records` are in its stream before the poller starts."""

    settings: Mapping[str, Any] = field(default_factory=dict)  # of the mapping
    function: Mapping[str, Any] = field(default_factory=dict)  # beside its url
    answers: Callable[[Call], Answer] = succeed
    records: Sequence[str | bytes] = ()
    failures_to: Literal["sqs", "sns", "s3"] | None = None
    view: str | None = None  # of the stream of a table; None: a Kinesis stream


@dataclass(slots=True)
class Scene:
    """One mapping that runs.  Its records have texts, by which they are told apart."""

    name: str
    url: str
    stream: Stream  # of a table: the table's name and its stream's ARN
    stub: Function
    destination: str | None  # an ARN
    queue: Queue | None  # where documents arrive, unless that is a bucket
    running: Running | None = None
    _documents: list[str] = field(default_factory=list)

    @property
    def function_arn(self) -> str:
        return f"arn:aws:lambda:{REGION}:000000000000:function:{self.name}"

    @property
    def uuid(self) -> str:
        """The mapping's, as poller itself says it."""
        assert self.running is not None
        mappings = self.running.lag()["mappings"]
        (uuid,) = (each for each in mappings if mappings[each]["function"] == self.name)
        return str(uuid)

    @property
    def batches(self) -> list[list[str]]:
        """The texts of each invocation so far."""
        return [texts(call) for call in tuple(self.stub.calls)]

    def put(self, *records: str | bytes) -> None:
        put(self.url, self.stream, *records)

    def metric(self, name: str, **labels: str) -> float:
        assert self.running is not None
        return self.running.metrics(name, mapping=self.uuid, **labels)

    def until(self, predicate: Callable[[], bool], timeout: float = TIMEOUT) -> None:
        """Return once `predicate` is true; an AssertionError with poller's log after `timeout`."""
        try:
            eventually(predicate, timeout)
        except AssertionError as error:
            assert self.running is not None
            error.add_note(f"invocations: {self.batches}")
            error.add_note(f"the log of poller:\n{self.running.log()[-LOG_TAIL_BYTES:]}")
            raise

    def after(self, count: int) -> list[list[str]]:
        """The texts of all invocations, once there were `count` and the last was answered."""

        def enough() -> bool:
            calls = tuple(self.stub.calls)
            return len(calls) >= count and calls[-1].ended is not None

        self.until(enough)
        return self.batches

    def documents(self, count: int = 1, timeout: float = TIMEOUT) -> list[str]:
        """The failure documents, as text, once there are so many."""

        def arrived() -> bool:
            if self.queue is None:
                self._documents = [body for _, body in self.objects()]
            else:
                self._documents += received(self.url, self.queue)
            return len(self._documents) >= count

        self.until(arrived, timeout)
        return self._documents

    def objects(self) -> list[tuple[str, str]]:
        """Key and body of each object in the bucket."""
        assert self.destination is not None
        s3, bucket = aws("s3", self.url), self.destination.rpartition(":")[2]
        keys = [each["Key"] for each in s3.list_objects_v2(Bucket=bucket).get("Contents", ())]
        return [
            (key, s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode()) for key in keys
        ]


@contextlib.contextmanager
def staged(
    url: str, plans: Mapping[str, Plan], *, by_api: bool = False, **aws_config: Any
) -> Iterator[dict[str, Scene]]:
    """A poller that runs all `plans` at the server `url`; names are those of functions too.

    Mappings are in its config file, or are made through its API.
    """
    with contextlib.ExitStack() as stack:
        scenes = {name: _scene(stack, url, name, plan) for name, plan in plans.items()}
        mappings = [_mapping(scenes[name], plan) for name, plan in plans.items()]
        config = {
            "aws": {"endpoint_url": url, "region": REGION, **aws_config},
            "functions": {
                name: {"url": scenes[name].stub.url, "timeout": FUNCTION_TIMEOUT, **plan.function}
                for name, plan in plans.items()
            },
            "mappings": [] if by_api else mappings,
        }
        running = stack.enter_context(poller(config))
        if by_api:
            for each in mappings:
                created(running, **each)
        for scene in scenes.values():
            scene.running = running
        yield scenes


def _scene(stack: contextlib.ExitStack, url: str, name: str, plan: Plan) -> Scene:
    stream = new_stream(url) if plan.view is None else stream_of(new_table(url, plan.view))
    put(url, stream, *plan.records)
    stub = stack.enter_context(function(plan.answers))
    match plan.failures_to:
        case "sqs":
            queue = new_queue(url)
            return Scene(name, url, stream, stub, queue.arn, queue)
        case "sns":
            queue, sns = new_queue(url), aws("sns", url)
            topic = sns.create_topic(Name=queue.name.replace("queue", "topic"))["TopicArn"]
            sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn)
            return Scene(name, url, stream, stub, topic, queue)
        case "s3":
            bucket = f"bucket-{stream.name}"
            aws("s3", url).create_bucket(Bucket=bucket)
            return Scene(name, url, stream, stub, f"arn:aws:s3:::{bucket}", None)
        case None:
            return Scene(name, url, stream, stub, None, None)


def _mapping(scene: Scene, plan: Plan) -> dict[str, Any]:
    failures = {"DestinationConfig": {"OnFailure": {"Destination": scene.destination}}}
    settings = {**(failures if scene.destination else {}), **plan.settings}
    return mapping(scene.stream, scene.name, **settings)


# Configs, where scenes are not enough.


def mapping(stream: Stream, function: str, **settings: Any) -> dict[str, Any]:
    return {
        "EventSourceArn": stream.arn,
        "FunctionName": function,
        "StartingPosition": "TRIM_HORIZON",
        **settings,
    }


def config(
    url: str, functions: Mapping[str, Function], *mappings: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "aws": {"endpoint_url": url, "region": REGION},
        "functions": {
            name: {"url": stub.url, "timeout": FUNCTION_TIMEOUT} for name, stub in functions.items()
        },
        "mappings": list(mappings),
    }


# Records.


def stream_of(table: Table) -> Stream:
    return Stream(table.name, table.stream_arn)


def is_dynamodb(stream: Stream) -> bool:
    return stream.arn.startswith("arn:aws:dynamodb:")


def put(url: str, stream: Stream, *records: str | bytes) -> None:
    """Put `records`, in order, in as few calls as a call of 5 MB allows."""
    if is_dynamodb(stream):
        for record in records:
            assert isinstance(record, str)
            aws("dynamodb", url).put_item(TableName=stream.name, Item={"id": {"S": record}})
        return
    kinesis = aws("kinesis", url)
    rest = [record.encode() if isinstance(record, str) else record for record in records]
    while rest:
        size = 4 if max(map(len, rest)) > 10_000 else 500
        entries = [{"Data": data, "PartitionKey": KEY} for data in rest[:size]]
        assert not kinesis.put_records(StreamName=stream.name, Records=entries)["FailedRecordCount"]
        rest = rest[size:]


def shard_of(url: str, stream: Stream) -> str:
    """The id of its one shard."""
    if not is_dynamodb(stream):
        return SHARD
    described = aws("dynamodbstreams", url).describe_stream(StreamArn=stream.arn)
    (shard,) = described["StreamDescription"]["Shards"]
    return str(shard["ShardId"])


def read(url: str, stream: Stream) -> list[dict[str, Any]]:
    """All records of its one shard as boto3 gives them."""
    if is_dynamodb(stream):
        client, place = aws("dynamodbstreams", url), {"StreamArn": stream.arn}
    else:
        client, place = aws("kinesis", url), {"StreamName": stream.name}
    place |= {"ShardId": shard_of(url, stream), "ShardIteratorType": "TRIM_HORIZON"}
    iterator = client.get_shard_iterator(**place)["ShardIterator"]
    found: list[dict[str, Any]] = []
    while (page := client.get_records(ShardIterator=iterator))["Records"]:
        found += page["Records"]
        iterator = page["NextShardIterator"]
    return found


def text(record: Any) -> str:
    """What was put, of an event's record."""
    if "dynamodb" in record:
        return str(record["dynamodb"]["Keys"]["id"]["S"])
    return base64.b64decode(record["kinesis"]["data"]).decode()


def texts(call: Call) -> list[str]:
    return [text(record) for record in call.records]


def sequence(call: Call, wanted: str) -> str:
    """The sequence number of the record with this text."""
    (found,) = (each for each in call.records if text(each) == wanted)
    if "dynamodb" in found:
        return str(found["dynamodb"]["SequenceNumber"])
    return str(found["kinesis"]["sequenceNumber"])


# Answers.


def fail_on(*poison: str, answer: Callable[[], Answer] = errored) -> Callable[[Call], Answer]:
    """Fail every invocation that has one of these texts in it."""
    return lambda call: answer() if set(poison) & set(texts(call)) else Answer()


def report(*poison: str) -> Callable[[Call], Answer]:
    """Report those of these texts that are in the invocation, in the order given."""

    def answers(call: Call) -> Answer:
        return failed_items(*(sequence(call, each) for each in poison if each in texts(call)))

    return answers


# Failure documents.


def received(url: str, queue: Queue) -> list[str]:
    """The bodies that wait in a queue, which then has them no more."""
    sqs = aws("sqs", url)
    messages = sqs.receive_message(QueueUrl=queue.url, MaxNumberOfMessages=10).get("Messages", ())
    for message in messages:
        sqs.delete_message(QueueUrl=queue.url, ReceiptHandle=message["ReceiptHandle"])
    return [message["Body"] for message in messages]


def document(
    scene: Scene,
    timestamp: str,
    records: Sequence[Mapping[str, Any]],
    *,
    request_id: str,
    invocations: int,
    condition: str = "RetryAttemptsExhausted",
    function_error: str | None = "Unhandled",
) -> str:
    """The text of AWS's document about `records`, as boto3 read them."""
    body: dict[str, Any] = {
        "requestContext": {
            "requestId": request_id,
            "functionArn": scene.function_arn,
            "condition": condition,
            "approximateInvokeCount": invocations,
        }
    }
    if condition == "RetryAttemptsExhausted":
        body["responseContext"] = {
            "statusCode": 200,
            "executedVersion": "$LATEST",
            "functionError": function_error,
        }
    of_table = is_dynamodb(scene.stream)
    changes = [record["dynamodb"] if of_table else record for record in records]
    body |= {
        "version": "1.0",
        "timestamp": timestamp,
        "DDBStreamBatchInfo" if of_table else "KinesisBatchInfo": {
            "shardId": shard_of(scene.url, scene.stream),
            "startSequenceNumber": changes[0]["SequenceNumber"],
            "endSequenceNumber": changes[-1]["SequenceNumber"],
            "approximateArrivalOfFirstRecord": arrival(changes[0]),
            "approximateArrivalOfLastRecord": arrival(changes[-1]),
            "batchSize": len(records),
            "streamArn": scene.stream.arn,
        },
    }
    return compact(body)


def timestamp_of(document: str) -> str:
    """The document's own time, which is now and in AWS's form."""
    found = str(json.loads(document)["timestamp"])
    assert TIMESTAMP.fullmatch(found)
    assert abs(datetime.fromisoformat(found).timestamp() - time.time()) < CLOCK_SLACK
    return found


def arrival(record: Mapping[str, Any]) -> str:
    """In UTC; Kinesis with milliseconds, DynamoDB without a fraction."""
    created = record.get("ApproximateCreationDateTime")
    if created is not None:
        return f"{created.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    at = record["ApproximateArrivalTimestamp"].astimezone(UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def compact(value: Any) -> str:
    """JSON as AWS writes it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
