"""Mappings that come and go in numbers, and an API that is used while every source throttles."""

from __future__ import annotations

import random
import sqlite3
import threading
from typing import Any

from botocore.exceptions import ClientError

from poller.service.sessions import REGIONS_MAX
from tests.faults import Call, Fault, faulty, refused, throttled
from tests.functions import Answer, function
from tests.outside.by_api import api, created, deleted, settled
from tests.outside.flows import Deliveries, produced, to_queue, to_stream
from tests.outside.lambda_api import await_gone, uuids
from tests.outside.lambda_api import refused as refusal
from tests.outside.poller_process import Running, poller
from tests.outside.scenes import mapping, put
from tests.servers import new_queue, new_stream
from tests.waiting import eventually

ROUNDS = 8
STREAMS_A_ROUND = 5
QUEUES = 10  # deleted together: each waits for its last receive
FUNCTIONS = [f"f{number}" for number in range(max(STREAMS_A_ROUND, QUEUES))]
SPARE_FILES = 3  # connections that may be there more than before, to a server that was not asked
STATE_TABLES = ("mappings", "positions", "failures")


def settings(url: str, stub_url: str, kinesis: str, sqs: str) -> dict[str, Any]:
    return {
        "aws": {"region": "us-east-1", "endpoints": {"kinesis": kinesis, "sqs": sqs}},
        "functions": {name: {"url": stub_url + name, "timeout": 5} for name in FUNCTIONS},
    }


def test_fifty_mappings_that_came_and_went_leave_nothing_behind(
    moto_url: str, ministack_url: str
) -> None:
    stream, queue = new_stream(moto_url), new_queue(ministack_url)
    put(moto_url, stream, "a", "b")
    with (
        function() as stub,
        poller(settings(moto_url, stub.url, moto_url, ministack_url)) as running,
    ):
        deleted(running, created(running, **mapping(stream, "f0")))
        before = running.metrics("poller_process_open_fds")

        gone = []
        for _ in range(ROUNDS):
            made = [
                created(running, **mapping(stream, name)) for name in FUNCTIONS[:STREAMS_A_ROUND]
            ]
            count = len(stub.calls)
            eventually(lambda count=count: len(stub.calls) > count)
            for uuid in made:
                api(running).delete_event_source_mapping(UUID=uuid)
            gone += made
        gone += [
            created(running, EventSourceArn=queue.arn, FunctionName=FUNCTIONS[number])
            for number in range(QUEUES)
        ]
        for uuid in gone[-QUEUES:]:
            api(running).delete_event_source_mapping(UUID=uuid)
        for uuid in gone:
            await_gone(api(running), uuid)

        assert len(set(gone)) == ROUNDS * STREAMS_A_ROUND + QUEUES == 50
        assert running.lag()["mappings"] == {}
        assert uuids(api(running)) == []
        assert state_rows(running) == dict.fromkeys(STATE_TABLES, 0)
        eventually(lambda: running.metrics("poller_process_open_fds") <= before + SPARE_FILES)
        calls = len(stub.calls)
        put(moto_url, stream, "c")
        created(running, **mapping(stream, "f0"))
        eventually(lambda: len(stub.calls) > calls)
        assert len(stub.calls) == calls + 1, "nothing else reads the stream any more"
        running.kill()  # nothing is to be learnt from a slow stop


def state_rows(running: Running) -> dict[str, int]:
    """How many rows each table of the state file has."""
    file = sqlite3.connect(f"file:{running.folder / 'poller.db'}?mode=ro", uri=True)
    try:
        return {
            table: file.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in STATE_TABLES
        }
    finally:
        file.close()


def test_regions_are_bounded_and_one_too_many_is_refused(ministack_url: str) -> None:
    stream = new_stream(ministack_url)
    with (
        function() as stub,
        poller(settings(ministack_url, stub.url, ministack_url, ministack_url)) as running,
    ):
        replies = [
            refusal(
                api(running).create_event_source_mapping,
                EventSourceArn=f"arn:aws:kinesis:nowhere-{number}:000000000000:stream/none",
                FunctionName="f0",
                StartingPosition="LATEST",
            )
            for number in range(REGIONS_MAX + 1)
        ]
        created(running, **mapping(stream, "f0"))
        running.kill()

    assert {reply["Error"]["Code"] for reply in replies} == {"InvalidParameterValueException"}
    assert "regions in use already" in replies[-1]["Error"]["Message"]


# Throttled sources.

THROTTLES = {
    "GetRecords": throttled(),
    "GetShardIterator": throttled(),
    "ListShards": throttled("LimitExceededException"),
    "ReceiveMessage": refused("RequestThrottled", status=403),
    "DeleteMessageBatch": refused("RequestThrottled", status=403),
    "GetQueueUrl": refused("RequestThrottled", status=403),
    "GetQueueAttributes": refused("RequestThrottled", status=403),
}
THROTTLED = 0.4  # of all calls


class Throttles:
    """The script of a proxy that refuses some calls, now these and now those."""

    def __init__(self, seed: int) -> None:
        self._moments = random.Random(seed)
        self._lock = threading.Lock()
        self.count = 0

    def __call__(self, call: Call) -> Fault | None:
        with self._lock:
            fault = THROTTLES.get(call.operation)
            if fault is None or self._moments.random() >= THROTTLED:
                return None
            self.count += 1
            return fault


def test_the_api_answers_in_its_own_form_while_every_source_throttles_and_nothing_is_lost(
    kinesalite_url: str, ministack_url: str
) -> None:
    deliveries = Deliveries(lambda _delivery: Answer())
    stream, queue = new_stream(kinesalite_url, 1), new_queue(ministack_url, VisibilityTimeout="30")
    puts = {"f0": to_stream(kinesalite_url, stream), "f1": to_queue(ministack_url, queue)}
    requests = {
        "f0": mapping(stream, "f0", BatchSize=5),
        "f1": {"EventSourceArn": queue.arn, "FunctionName": "f1"},
    }
    with (
        faulty(kinesalite_url) as kinesis,
        faulty(ministack_url) as sqs,
        function(deliveries) as stub,
        poller(settings(ministack_url, stub.url, kinesis.url, sqs.url)) as running,
        produced(puts, keys=4, pause=0.2) as producers,
    ):
        scripts = [Throttles(1), Throttles(2)]
        kinesis.script(scripts[0])
        sqs.script(scripts[1])
        made = {name: persisted(running, request) for name, request in requests.items()}
        for number in range(6):
            for uuid in made.values():
                if not answers(running, uuid, BatchSize=2 + number):
                    continue
                assert settled(running, uuid)["BatchSize"] == 2 + number
        assert all(script.count for script in scripts)
        for name, producer in producers.items():
            producer.stop()
            deliveries.await_all(name, producer.items())
        assert deliveries.disorder("f0") == []
        running.kill()  # nothing is to be learnt from a slow stop


def persisted(running: Running, request: dict[str, Any]) -> str:
    """The UUID of a mapping that is asked for until it is made."""

    def made() -> str | None:
        try:
            return created(running, **request)
        except ClientError as error:
            assert_told(error)
            return None

    return eventually(made)


def answers(running: Running, uuid: str, **change: Any) -> bool:
    """Whether the change was taken."""
    try:
        api(running).update_event_source_mapping(UUID=uuid, **change)
    except ClientError as error:
        assert_told(error)
        return False
    return True


def assert_told(error: ClientError) -> None:
    """What AWS's clients understand, and no fault of poller's own."""
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] < 500, error.response
    assert error.response["Error"]["Message"]
