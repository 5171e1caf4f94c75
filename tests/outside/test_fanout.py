"""Consumers with enhanced fan-out, seen from outside: pushed, resumed, killed, taken apart."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from tests.aggregates import aggregate
from tests.functions import Answer, Call, function
from tests.outside.poller_process import poller
from tests.outside.scenes import SHARD, config, fail_on, mapping, put, received, text
from tests.servers import Stream, aws, new_consumer, new_queue, new_stream
from tests.waiting import eventually

pytestmark = pytest.mark.proves("Kinesis.EventSourceArn")


def consumer(url: str, name: str = "fast") -> tuple[Stream, Stream]:
    """A new stream, and a new consumer of it as a source."""
    stream = new_stream(url)
    return stream, Stream(name, new_consumer(url, stream, name))


@pytest.mark.proves("S3.3.fan-out", "S3.3.arn")
@pytest.mark.parametrize("server", ["kinesis_local", "newer_ministack"])
def test_what_is_pushed_is_delivered_once_and_a_restart_goes_on(
    server: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = request.getfixturevalue(f"{server}_url")
    stream, fast = consumer(url)
    numbers = [str(number) for number in range(20)]
    put(url, stream, *numbers[:8])

    with function() as stub:
        settings = config(url, {"f": stub}, mapping(fast, "f", BatchSize=3))
        with poller(settings, folder=tmp_path) as running:
            stub.wait(lambda: len(stub.records) >= 8)
            put(url, stream, *numbers[8:12])
            stub.wait(lambda: len(stub.records) >= 12)
            eventually(lambda: running.metrics("poller_records_succeeded_total") == 12)
            assert running.stop() == 0
        put(url, stream, *numbers[12:])
        with poller(settings, folder=tmp_path):
            stub.wait(lambda: len(stub.records) >= 20)

    assert [text(record) for record in stub.records] == numbers
    assert {record["eventSourceARN"] for record in stub.records} == {fast.arn}
    assert max(len(call.records) for call in stub.calls) <= 3


def test_a_kill_repeats_what_was_in_flight_and_skips_nothing(
    newer_ministack_url: str, tmp_path: Path
) -> None:
    stream, fast = consumer(newer_ministack_url)
    numbers = [str(number) for number in range(30)]
    put(newer_ministack_url, stream, *numbers)

    def slowly(call: Call) -> Answer:
        return Answer(delay=0.05)

    with function(slowly) as stub:
        settings = config(newer_ministack_url, {"f": stub}, mapping(fast, "f", BatchSize=2))
        for seen in (6, 14):
            with poller(settings, folder=tmp_path) as running:
                stub.wait(lambda seen=seen: len(stub.records) >= seen)
                running.kill()
        with poller(settings, folder=tmp_path):
            stub.wait(lambda: text(stub.records[-1]) == numbers[-1])

    delivered = [text(record) for record in stub.records]
    assert list(dict.fromkeys(delivered)) == numbers
    assert len(delivered) <= len(numbers) + 2 * 2


def test_latest_brings_what_comes_after_the_start_and_nothing_before(
    newer_ministack_url: str,
) -> None:
    stream, fast = consumer(newer_ministack_url)
    put(newer_ministack_url, stream, "old")

    with function() as stub:
        latest = mapping(fast, "f", StartingPosition="LATEST")
        with poller(config(newer_ministack_url, {"f": stub}, latest)):
            put(newer_ministack_url, stream, "new", "newer")
            stub.wait(lambda: len(stub.records) >= 2)

    assert [text(record) for record in stub.records] == ["new", "newer"]


def test_a_consumer_that_is_not_there_is_waited_for(newer_ministack_url: str) -> None:
    stream = new_stream(newer_ministack_url)
    put(newer_ministack_url, stream, "a")
    arn = f"{stream.arn}/consumer/fast:1700000000"

    with function() as stub:
        settings = config(newer_ministack_url, {"f": stub}, mapping(Stream("fast", arn), "f"))
        with poller(settings, ready=False) as running:
            eventually(lambda: f"Stream not found: {arn}" in running.log())
            assert not running.is_ready()


@pytest.mark.proves("S3.4.fan-out")
def test_the_records_of_an_aggregate_are_records(newer_ministack_url: str, tmp_path: Path) -> None:
    stream, fast = consumer(newer_ministack_url)
    queue = new_queue(newer_ministack_url)
    users: list[tuple[str, int | None, bytes]] = [("k", None, b"%d" % each) for each in range(10)]
    aws("kinesis", newer_ministack_url).put_record(
        StreamName=stream.name, Data=aggregate(users), PartitionKey="k"
    )
    put(newer_ministack_url, stream, "after")

    with function(fail_on("7")) as stub:
        settings = config(
            newer_ministack_url,
            {"f": stub},
            mapping(
                fast,
                "f",
                BatchSize=4,
                BisectBatchOnFunctionError=True,
                MaximumRetryAttempts=0,
                DestinationConfig={"OnFailure": {"Destination": queue.arn}},
            ),
        )
        with poller(settings, folder=tmp_path):
            stub.wait(lambda: "after" in map(text, stub.succeeded))

    [document] = [json.loads(body) for body in received(newer_ministack_url, queue)]
    wanted = [str(each) for each in range(10) if each != 7]
    assert [text(record) for record in stub.succeeded] == [*wanted, "after"]
    inner = [record for record in stub.records if text(record) != "after"]
    assert {record["kinesis"]["partitionKey"] for record in inner} == {"k"}
    [sequence] = {record["kinesis"]["sequenceNumber"] for record in inner}
    assert {record["eventID"] for record in inner} == {f"{SHARD}:{sequence}"}
    assert base64.b64decode(inner[0]["kinesis"]["data"]) == b"0"
    info = document["KinesisBatchInfo"]
    assert (info["startSequenceNumber"], info["endSequenceNumber"]) == (sequence, sequence)
    assert (info["batchSize"], info["streamArn"]) == (1, stream.arn)


@pytest.mark.parametrize("reporting", [False, True])
def test_a_kill_within_an_aggregate_skips_none_of_its_records(
    newer_ministack_url: str, tmp_path: Path, reporting: bool
) -> None:
    stream, fast = consumer(newer_ministack_url)
    users: list[tuple[str, int | None, bytes]] = [("k", None, b"%d" % each) for each in range(12)]
    aws("kinesis", newer_ministack_url).put_record(
        StreamName=stream.name, Data=aggregate(users), PartitionKey="k"
    )

    def slowly(call: Call) -> Answer:
        return Answer(delay=0.1)

    with function(slowly) as stub:
        types = ["ReportBatchItemFailures"] if reporting else []
        one = mapping(fast, "f", BatchSize=2, FunctionResponseTypes=types)
        settings = config(newer_ministack_url, {"f": stub}, one)
        with poller(settings, folder=tmp_path) as running:
            stub.wait(lambda: len(stub.records) >= 6)
            running.kill()
        with poller(settings, folder=tmp_path):
            stub.wait(lambda: text(stub.records[-1]) == "11")

    delivered = [text(record) for record in stub.records]
    assert list(dict.fromkeys(delivered)) == [str(each) for each in range(12)]
    assert len(delivered) <= 12 + 2  # the batch in flight, and not the whole aggregate
