"""Events, order, positions and batches of Kinesis streams, seen from outside (spec 3, 4, 5, 10)."""

from __future__ import annotations

import base64
import hashlib
import json
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.faults import Rewrite, faulty
from tests.functions import Answer, Call, Function, function
from tests.outside.poller_process import poller
from tests.outside.scenes import (
    REGION,
    ROLE,
    SHARD,
    Plan,
    Scene,
    compact,
    config,
    document,
    fail_on,
    mapping,
    put,
    read,
    staged,
    text,
    timestamp_of,
)
from tests.servers import Stream, aws, new_queue, new_stream
from tests.waiting import eventually

EVENT_BYTES_MAX = 6 * 1024 * 1024
MEGABYTE = 1_000_000
WINDOW = 5
RECORD_AGE_MAX = 60  # the least that AWS takes
TEXTS = [str(number) for number in range(25)]

# Events.

# Of the KPL: its magic number, one record {"a": 1} under the key "inner", and their MD5.
_INNER = b"\x0a\x05inner\x1a\x0c\x08\x00\x1a\x08" + b'{"a": 1}'
AGGREGATED = b"\xf3\x89\x9a\xc2" + _INNER + hashlib.md5(_INNER).digest()
ODD_RECORDS = [
    (b"hello", "key"),
    (b"", "empty"),
    (bytes(range(256)), "all bytes"),
    (b'{"a": 1.0, "b": "\\u00e9"}', 'quote " backslash \\ slash /'),
    ("é€😀".encode(), "é€😀"),
    (b"x" * 1000, "k" * 256),
    (b"\xff\xfe", "<&>"),
    (b"9" * 17, "7"),
    (b"\n", "tab\tnewline\n"),
    (AGGREGATED, "kpl"),
    (b"last", "key"),
]


def expected_event(stream: Stream, records: Sequence[Mapping[str, Any]]) -> str:
    """AWS's text for what boto3 read."""
    return compact(
        {
            "Records": [
                {
                    "kinesis": {
                        "kinesisSchemaVersion": "1.0",
                        "partitionKey": record["PartitionKey"],
                        "sequenceNumber": record["SequenceNumber"],
                        "data": base64.b64encode(record["Data"]).decode(),
                        "approximateArrivalTimestamp": record[
                            "ApproximateArrivalTimestamp"
                        ].timestamp(),
                    },
                    "eventSource": "aws:kinesis",
                    "eventVersion": "1.0",
                    "eventID": f"{SHARD}:{record['SequenceNumber']}",
                    "eventName": "aws:kinesis:record",
                    "invokeIdentityArn": ROLE,
                    "awsRegion": REGION,
                    "eventSourceARN": stream.arn,
                }
                for record in records
            ]
        }
    )


@pytest.mark.proves("D22", "S3.4.standard", "EventSourceArn", "FunctionName")
@pytest.mark.parametrize("server", ["moto", "ministack", "kinesalite"])
def test_an_event_is_that_of_aws_to_the_byte(server: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(f"{server}_url")
    stream = new_stream(url)
    entries = [{"Data": data, "PartitionKey": key} for data, key in ODD_RECORDS]
    aws("kinesis", url).put_records(StreamName=stream.name, Records=entries)
    records = read(url, stream)
    assert [record["Data"] for record in records] == [data for data, _ in ODD_RECORDS]

    with function() as stub, poller(config(url, {"f": stub}, mapping(stream, "f"))):
        stub.wait(lambda: len(stub.calls) > 0)

    (call,) = stub.calls
    assert call.body.decode() == expected_event(stream, records)
    assert call.headers["X-Amz-Invoked-Function-Arn"].endswith(":000000000000:function:f")


# Order.

KEYS = 40
SHARDS = 4
RECORDS = 2000


def briefly(_call: Call) -> Answer:
    return Answer(delay=0.01)


@pytest.mark.proves("D27", "S5.order", "BatchSize", "ParallelizationFactor")
@pytest.mark.parametrize("server", ["ministack", "kinesalite"])
def test_every_record_of_every_shard_comes_once_and_in_order_per_key(
    server: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(f"{server}_url")
    stream, kinesis = new_stream(url, SHARDS), aws("kinesis", url)
    for start in range(0, RECORDS, 500):
        entries = [
            {"Data": f"{number}".encode(), "PartitionKey": f"key-{number % KEYS}"}
            for number in range(start, start + 500)
        ]
        kinesis.put_records(StreamName=stream.name, Records=entries)
    with function(briefly) as one, function(briefly) as ten:
        settings = config(
            url,
            {"one": one, "ten": ten},
            mapping(stream, "one", BatchSize=100),
            mapping(stream, "ten", BatchSize=100, ParallelizationFactor=10),
        )
        with poller(settings) as running:
            for name, stub in (("one", one), ("ten", ten)):
                stub.wait(lambda stub=stub: len(stub.succeeded) >= RECORDS)
                eventually(
                    lambda name=name: (
                        running.metrics("poller_records_succeeded_total", function=name) == RECORDS
                    )
                )

    for stub in (one, ten):
        by_key: dict[str, list[int]] = defaultdict(list)
        for record in stub.records:
            by_key[record["kinesis"]["partitionKey"]].append(int(text(record)))
        assert by_key == {f"key-{key}": list(range(key, RECORDS, KEYS)) for key in range(KEYS)}
        assert all(len(call.records) <= 100 for call in stub.calls)
        assert_no_key_runs_twice_at_once(stub)
    assert one.running_max <= SHARDS
    assert {each["eventID"] for each in one.records} == {each["eventID"] for each in ten.records}


def assert_no_key_runs_twice_at_once(stub: Function) -> None:
    runs: dict[str, list[Call]] = defaultdict(list)
    for call in stub.calls:
        for key in {record["kinesis"]["partitionKey"] for record in call.records}:
            runs[key].append(call)
    for calls in runs.values():
        for earlier, later in pairwise(calls):
            assert earlier.ended is not None
            assert earlier.ended <= later.started


# Batches and lanes, side by side.

BIG = [b"%d" % number + b"x" * (MEGABYTE - 1) for number in range(8)]
PLANS = {
    "horizon": Plan(settings={"BatchSize": 10}, records=TEXTS),
    "serial": Plan(
        settings={"BatchSize": 2}, answers=lambda _call: Answer(delay=0.3), records="abcdefgh"
    ),
    "window": Plan(settings={"BatchSize": 100, "MaximumBatchingWindowInSeconds": WINDOW}),
    "full-window": Plan(
        settings={"BatchSize": 3, "MaximumBatchingWindowInSeconds": 300}, records="ab"
    ),
    "big": Plan(settings={"BatchSize": 100}, records=BIG),
}


@pytest.fixture(scope="module")
def scenes(moto_url: str) -> Iterator[dict[str, Scene]]:
    with staged(moto_url, PLANS, by_api=True) as scenes:
        yield scenes


@pytest.mark.proves("S4.1.window", "MaximumBatchingWindowInSeconds")
def test_a_window_collects_until_it_is_over(scenes: dict[str, Scene]) -> None:
    scene = scenes["window"]
    scene.put("a")
    scene.until(lambda: scene.metric("poller_records_polled_total") == 1)
    scene.put("b", "c")  # with a later poll
    scene.until(lambda: scene.metric("poller_records_polled_total") == 3)

    assert scene.after(1) == [["a", "b", "c"]]
    assert scene.metric("poller_batches_closed_total", reason="window") == 1


@pytest.mark.proves("S4.1.full", "BatchSize")
def test_a_full_batch_does_not_wait_for_its_window(scenes: dict[str, Scene]) -> None:
    scene = scenes["full-window"]
    scene.until(lambda: scene.metric("poller_records_polled_total") == 2)
    assert scene.batches == []
    scene.put("c", "d")

    assert scene.after(1) == [["a", "b", "c"]]
    assert scene.metric("poller_batches_closed_total", reason="count") == 1


@pytest.mark.proves("D28", "BatchSize", "StartingPosition")
def test_the_horizon_is_where_reading_begins_and_what_comes_later_follows(
    scenes: dict[str, Scene],
) -> None:
    scene = scenes["horizon"]
    scene.put("25", "26")

    scene.until(lambda: len(scene.stub.succeeded) >= 27)
    assert list(chain.from_iterable(scene.batches)) == [*TEXTS, "25", "26"]
    assert scene.batches[:2] == [TEXTS[:10], TEXTS[10:20]]
    assert max(map(len, scene.batches)) <= 10


@pytest.mark.proves("D30", "BatchSize", "ParallelizationFactor")
def test_a_shard_runs_one_batch_at_a_time(scenes: dict[str, Scene]) -> None:
    scene = scenes["serial"]

    assert scene.after(4) == [list("ab"), list("cd"), list("ef"), list("gh")]
    assert scene.stub.running_max == 1


@pytest.mark.proves("S4.1.bytes")
def test_an_event_is_never_larger_than_six_megabytes(scenes: dict[str, Scene]) -> None:
    scene = scenes["big"]

    scene.until(lambda: len(scene.stub.succeeded) >= len(BIG))
    calls = scene.stub.calls
    assert [text(record)[0] for record in scene.stub.records] == list("01234567")
    assert max(len(call.body) for call in calls) <= EVENT_BYTES_MAX
    assert len(calls) > 1
    for call, following in pairwise(calls):  # and never smaller than it need be
        assert len(call.body) + len(compact(following.records[0])) > EVENT_BYTES_MAX


# Positions.


@pytest.mark.proves("D29", "StartingPosition", "StartingPositionTimestamp")
def test_latest_brings_what_comes_after_enabled_also_over_restarts(
    moto_url: str, tmp_path: Path
) -> None:
    stream, timed, fresh = (new_stream(moto_url) for _ in range(3))
    for each in (stream, timed, fresh):
        put(moto_url, each, "old")
    time.sleep(1.0)  # what stands for LATEST over a restart is a whole second of the server's
    instant = time.time()
    put(moto_url, timed, "new")
    with function() as latest, function() as since, function() as new:
        settings = config(
            moto_url,
            {"latest": latest, "since": since, "new": new},
            mapping(stream, "latest", StartingPosition="LATEST"),
            mapping(fresh, "new", StartingPosition="LATEST"),
            mapping(
                timed,
                "since",
                StartingPosition="AT_TIMESTAMP",
                StartingPositionTimestamp=instant,
            ),
        )
        # Killed before it has read a record: the place is known all the same.
        with poller(settings, folder=tmp_path) as running:
            put(moto_url, fresh, "at once")
            new.wait(lambda: len(new.succeeded) >= 1)
            assert [text(record) for record in new.records] == ["at once"]
            since.wait(lambda: len(since.succeeded) >= 1)
            running.kill()
        put(moto_url, stream, "while down")
        with poller(settings, folder=tmp_path) as running:
            latest.wait(lambda: len(latest.succeeded) >= 1)
            put(moto_url, stream, "while up")
            latest.wait(lambda: len(latest.succeeded) >= 2)
            assert running.stop() == 0
        put(moto_url, stream, "after a stop")
        put(moto_url, timed, "after a stop")
        with poller(settings, folder=tmp_path):
            latest.wait(lambda: len(latest.succeeded) >= 3)
            since.wait(lambda: "after a stop" in map(text, since.succeeded))

        assert [text(record) for record in latest.records] == [
            "while down",
            "while up",
            "after a stop",
        ]
        # The kill may have come before the position was stored.
        assert [text(record) for record in since.records] in (
            ["new", "after a stop"],
            ["new", "new", "after a stop"],
        )


# Python handlers.

HANDLER = """
import base64, json, os

def handle(event, context):
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(json.dumps([context.aws_request_id, event]) + "\\n")
    if any(base64.b64decode(each["kinesis"]["data"]) == b"poison" for each in event["Records"]):
        raise ValueError("poison")
"""


def test_a_python_handler_gets_the_same_events(moto_url: str, tmp_path: Path) -> None:
    stream, bucket = new_stream(moto_url), f"bucket-{time.time_ns()}"
    aws("s3", moto_url).create_bucket(Bucket=bucket)
    put(moto_url, stream, "poison", "good")
    (tmp_path / "orders.py").write_text(HANDLER)
    notes = tmp_path / "notes.txt"
    settings = {
        **config(
            moto_url,
            {},
            mapping(
                stream,
                "orders",
                BatchSize=1,
                MaximumRetryAttempts=1,
                DestinationConfig={"OnFailure": {"Destination": f"arn:aws:s3:::{bucket}"}},
            ),
        ),
        "functions": {
            "orders": {
                "handler": "orders.handle",
                "path": str(tmp_path),
                "environment": {"NOTES": str(notes)},
            }
        },
    }
    with poller(settings) as running:
        eventually(lambda: running.metrics("poller_records_succeeded_total") == 1)
        mapping_uuid = next(iter(running.lag()["mappings"]))

    records = read(moto_url, stream)
    lines = notes.read_text().splitlines()
    poison, good = (expected_event(stream, [record]) for record in records)
    noted = [json.loads(line) for line in lines]
    assert [compact(event) for _, event in noted] == [poison, poison, good]
    s3 = aws("s3", moto_url)
    (found,) = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert found["Key"].startswith(f"aws/lambda/{mapping_uuid}/{SHARD}/")
    failure = json.loads(s3.get_object(Bucket=bucket, Key=found["Key"])["Body"].read())
    assert failure["requestContext"]["requestId"] == noted[1][0]
    assert failure["requestContext"]["approximateInvokeCount"] == 2
    assert failure["responseContext"]["functionError"] == "Unhandled"
    assert failure["payload"] == poison


# Records that are not sent.


def altered(reply: Any) -> Any:
    """The reply, with records of the text "old" 80 seconds older, and "huge" of 5 MB."""
    for record in reply["Records"]:
        match base64.b64decode(record["Data"]):
            case b"old":
                record["ApproximateArrivalTimestamp"] -= 80
            case b"huge":
                record["Data"] = base64.b64encode(bytes(5 * MEGABYTE)).decode()
    return reply


def request_id_of(document: str) -> str:
    """Of an invocation that was never made: any UUID will do."""
    return str(uuid.UUID(json.loads(document)["requestContext"]["requestId"]))


@pytest.mark.proves("D43", "S4.1.too-large", "MaximumRecordAgeInSeconds", "DestinationConfig")
def test_records_too_old_or_too_large_are_recorded_alone_and_never_sent(moto_url: str) -> None:
    conditions = {"old": "RecordAgeExceeded", "huge": "RecordTooLarge"}
    plans = {
        name: Plan(
            settings={"MaximumRecordAgeInSeconds": RECORD_AGE_MAX, "MaximumRetryAttempts": 0},
            records=(name, "b", "c"),
            failures_to="sqs",
        )
        for name in conditions
    }
    with faulty(moto_url) as proxy:
        proxy.inject(Rewrite(altered), on="GetRecords", times=None)
        with staged(moto_url, plans, endpoints={"kinesis": proxy.url}) as scenes:
            for name, condition in conditions.items():
                scene = scenes[name]
                assert scene.after(1) == [["b", "c"]]
                (found,) = scene.documents()
                assert found == document(
                    scene,
                    timestamp_of(found),
                    read(proxy.url, scene.stream)[:1],
                    request_id=request_id_of(found),
                    invocations=1,
                    condition=condition,
                )


@pytest.mark.proves("R1.4.while-retrying", "MaximumRecordAgeInSeconds")
@pytest.mark.slow
def test_records_expire_before_they_are_read_and_while_they_are_retried(moto_url: str) -> None:
    stream, queue = new_stream(moto_url), new_queue(moto_url)
    put(moto_url, stream, "old")
    retried = Plan(
        settings={"MaximumRecordAgeInSeconds": RECORD_AGE_MAX},
        answers=fail_on("a"),
        records="a",
        failures_to="sqs",
    )
    with staged(moto_url, {"retried": retried}) as scenes:
        scene = scenes["retried"]
        (found,) = scene.documents(timeout=2 * RECORD_AGE_MAX)
        assert found == document(
            scene,
            timestamp_of(found),
            read(moto_url, scene.stream),
            request_id=scene.stub.calls[-1].headers["X-Amzn-RequestId"],
            invocations=len(scene.stub.calls),
            condition="RecordAgeExceeded",
        )
        assert 5 <= len(scene.stub.calls) <= 12  # AWS: 8

    put(moto_url, stream, "b", "c")
    with function() as stub:
        aged = mapping(
            stream,
            "before",
            MaximumRecordAgeInSeconds=RECORD_AGE_MAX,
            DestinationConfig={"OnFailure": {"Destination": queue.arn}},
        )
        with poller(config(moto_url, {"before": stub}, aged)) as running:
            scene = Scene("before", moto_url, stream, stub, queue.arn, queue, running)
            assert scene.after(1) == [["b", "c"]]
            (found,) = scene.documents()
    assert found == document(
        scene,
        timestamp_of(found),
        read(moto_url, stream)[:1],
        request_id=request_id_of(found),
        invocations=1,
        condition="RecordAgeExceeded",
    )
