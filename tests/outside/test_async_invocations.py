"""Asynchronous invocation of functions at `poller run`, as boto3 and the AWS CLI see it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.functions import Answer, Call, Function, errored, function
from tests.outside.lambda_api import REGION, function_arn
from tests.outside.poller_process import Running, poller
from tests.servers import Queue, aws, new_queue
from tests.waiting import eventually

QUEUED = "poller_async_events_queued"
KILLS = 3
EACH_LIFE = 60  # events accepted in it


@pytest.fixture
def stub() -> Iterator[Function]:
    with function() as running:
        yield running


def config(url: str, moto_url: str, **asynchronous: Any) -> dict[str, Any]:
    work = {"url": url, "timeout": 10, "async": asynchronous}
    return {
        "aws": {"region": REGION, "endpoint_url": moto_url},
        "functions": {"work": work, "next": {"url": f"{url}next"}},
    }


def invoke(running: Running, event: Any) -> str:
    """The id of the request, once it is accepted."""
    reply = aws("lambda", running.address).invoke(
        FunctionName="work", InvocationType="Event", Payload=json.dumps(event)
    )
    assert (reply["StatusCode"], reply["Payload"].read()) == (202, b"")
    return str(reply["ResponseMetadata"]["RequestId"])


def message(url: str, queue: Queue) -> dict[str, Any]:
    """The one that comes, with everything that it says."""

    def received() -> dict[str, Any] | None:
        found = aws("sqs", url).receive_message(
            QueueUrl=queue.url, MessageAttributeNames=["All"], AttributeNames=["All"]
        )
        return next(iter(found.get("Messages", [])), None)

    return eventually(received)


def test_a_success_goes_to_its_destination_and_leaves_the_queue(
    stub: Function, moto_url: str
) -> None:
    stub.answers = lambda call: Answer({"done": True})
    queue = new_queue(moto_url)

    with poller(config(stub.url, moto_url, OnSuccess=queue.arn)) as running:
        request_id = invoke(running, {"a": 1})
        record = json.loads(message(moto_url, queue)["Body"])
        eventually(lambda: running.metrics(QUEUED, function="work") == 0)
        assert running.stop() == 0

    (call,) = stub.calls
    assert (call.event, call.headers["X-Amzn-RequestId"]) == ({"a": 1}, request_id)
    assert record.pop("timestamp")
    assert record == {
        "version": "1.0",
        "requestContext": {
            "requestId": request_id,
            "functionArn": f"{function_arn('work')}:$LATEST",
            "condition": "Success",
            "approximateInvokeCount": 1,
        },
        "requestPayload": {"a": 1},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
        "responsePayload": {"done": True},
    }


@pytest.mark.proves("S12.4.records", "S12.4.dead-letter")
def test_a_failure_goes_to_its_destination_and_to_the_dead_letter_queue(
    stub: Function, moto_url: str
) -> None:
    stub.answers = lambda call: errored("ValueError", "intentional")
    dead, name = new_queue(moto_url), new_queue(moto_url).name
    s3 = aws("s3", moto_url)
    s3.create_bucket(Bucket=name)
    places = {"OnFailure": f"arn:aws:s3:::{name}", "DeadLetter": dead.arn}

    with poller(config(stub.url, moto_url, MaximumRetryAttempts=0, **places)) as running:
        request_id = invoke(running, {"a": 1})
        letter = message(moto_url, dead)
        (listed,) = eventually(lambda: s3.list_objects_v2(Bucket=name).get("Contents"))
        dropped = running.metrics("poller_async_events_dropped_total", reason="RetriesExhausted")
        assert running.stop() == 0
        log = running.log()

    record = json.loads(s3.get_object(Bucket=name, Key=listed["Key"])["Body"].read())
    assert listed["Key"].startswith("aws/lambda/async/work/2")
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["responsePayload"] == {"errorType": "ValueError", "errorMessage": "intentional"}
    assert letter["Body"] == '{"a": 1}'
    attributes = letter["MessageAttributes"].items()
    assert {name: each["StringValue"] for name, each in attributes} == {
        "RequestID": request_id,
        "ErrorCode": "200",
        "ErrorMessage": "intentional",
    }
    assert (len(stub.calls), dropped) == (1, 1)
    assert "a queued event is given up; it is sent on" in log


def test_a_function_here_gets_what_another_came_to(stub: Function, moto_url: str) -> None:
    stub.answers = lambda call: Answer({"done": call.path})
    following = function_arn("next")

    with poller(config(stub.url, moto_url, OnSuccess=following)) as running:
        invoke(running, {"a": 1})
        stub.wait(lambda: len(stub.calls) == 2)

    assert stub.calls[1].path == "/next"
    assert stub.calls[1].event["responsePayload"] == {"done": "/"}


@pytest.mark.proves("S12.4.throttles")
def test_a_throttled_event_comes_again_after_a_second_and_then_after_two(
    stub: Function, moto_url: str
) -> None:
    stub.answers = lambda call: Answer(status=429) if call.number < 2 else Answer()

    with poller(config(stub.url, moto_url, MaximumRetryAttempts=0)) as running:
        invoke(running, 1)
        stub.wait(lambda: len(stub.calls) == 3)
        eventually(lambda: running.metrics(QUEUED, function="work") == 0)

    first, second, third = (call.started for call in stub.calls)
    assert (second - first >= 1.0, third - second >= 2.0) == (True, True)


@pytest.mark.proves("S12.4.durable")
def test_what_was_accepted_outlives_every_kill(
    stub: Function, moto_url: str, tmp_path: Path
) -> None:
    accepted: set[str] = set()
    stub.answers = lambda call: Answer(delay=0.02)
    settings = config(stub.url, moto_url)

    for life in range(KILLS):
        with poller(settings, folder=tmp_path) as running:
            for number in range(EACH_LIFE):
                invoke(running, name := f"{life}-{number}")
                accepted.add(name)
            running.kill()
    with poller(settings, folder=tmp_path) as running:
        eventually(lambda: running.metrics(QUEUED, function="work") == 0)
        assert running.stop() == 0

    assert {call.event for call in stub.calls} == accepted


def test_a_stop_lets_an_event_end_and_the_next_start_runs_the_rest(
    stub: Function, moto_url: str, tmp_path: Path
) -> None:
    stub.answers = lambda call: Answer(delay=0.5)
    settings = config(stub.url, moto_url)
    settings["functions"]["work"]["concurrency"] = 1

    with poller(settings, folder=tmp_path) as running:
        for number in range(3):
            invoke(running, number)
        stub.wait(lambda: len(stub.calls) == 1)
        assert running.stop() == 0
    assert [call.ended is None for call in stub.calls] == [False]
    with poller(settings, folder=tmp_path) as running:
        stub.wait(lambda: len(stub.calls) == 3)
        eventually(lambda: running.metrics(QUEUED, function="work") == 0)

    assert sorted(call.event for call in stub.calls) == [0, 1, 2]


def test_events_wait_for_a_function_that_leaves_the_config(
    stub: Function, moto_url: str, tmp_path: Path
) -> None:
    def answers(call: Call) -> Answer:
        return Answer(status=429) if call.number == 0 else Answer()

    stub.answers = answers
    settings = config(stub.url, moto_url)
    with poller(settings, folder=tmp_path) as running:
        invoke(running, 1)
        stub.wait(lambda: len(stub.calls) == 1)
        running.rewrite({**settings, "functions": {}})
        running.hup()
        eventually(lambda: "work is not declared, so 1 queued events of it wait" in running.log())
        running.rewrite(settings)
        running.hup()
        stub.wait(lambda: len(stub.calls) == 2)


def test_the_aws_cli_invokes_asynchronously(stub: Function, moto_url: str, tmp_path: Path) -> None:
    with poller(config(stub.url, moto_url)) as running:
        done = subprocess.run(
            [
                *(str(Path(sys.executable).with_name("aws")), "lambda", "invoke"),
                *("--function-name", "work", "--invocation-type", "Event"),
                *("--payload", '{"a": 1}', "--endpoint-url", running.address, "out.json"),
            ],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        stub.wait(lambda: len(stub.calls) == 1)

    assert json.loads(done.stdout) == {"StatusCode": 202}
    assert stub.calls[0].event == {"a": 1}


@pytest.mark.slow
@pytest.mark.proves("S12.4.retries")
def test_what_failed_comes_again_after_one_minute_and_after_two(
    stub: Function, moto_url: str, tmp_path: Path
) -> None:
    """Over a kill between the attempts, which shifts none of them."""
    stub.answers = lambda call: errored()
    queue = new_queue(moto_url)
    settings = config(stub.url, moto_url, OnFailure=queue.arn)

    with poller(settings, folder=tmp_path) as running:
        invoke(running, 1)
        stub.wait(lambda: len(stub.calls) == 2, 90)
        eventually(lambda: "attempt=1" in running.log())
        time.sleep(2)
        running.kill()
    with poller(settings, folder=tmp_path):
        stub.wait(lambda: len(stub.calls) == 3, 150)
        record = json.loads(message(moto_url, queue)["Body"])

    first, second, third = (call.started for call in stub.calls)
    assert (60 <= second - first < 65, 120 <= third - second < 125) == (True, True)
    assert record["requestContext"]["approximateInvokeCount"] == 3
