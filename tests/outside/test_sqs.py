"""SQS in front of a function, as users and AWS's recordings see it, on real SQS servers."""

from __future__ import annotations

import base64
import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.functions import Answer, Call, errored, failed_items, function
from tests.outside.sqs_lanes import Lanes, Wanted, drained, lanes, left_in, send
from tests.outside.watched import Mapped, await_line, config, lines, watched
from tests.servers import aws, new_queue
from tests.waiting import eventually

REPORTING = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}
VISIBILITY = 5
REFUSED_FOR = 4.5  # longer than the visibility timeout of its queue
BODY = '{"a": "ü\\n\u2028 \\" \U0001f389", "b": 1.0}'
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=1:a"
BINARY = b"\x00\x01\xff"

GOOD_REPLIES = ("", "null", "{}", '{"batchItemFailures": []}', '{"batchItemFailures": null}')
BAD_REPLIES = (
    "no JSON",
    '{"batchItemFailures": [{"foo": "notvalid"}]}',
    '{"batchItemFailures": [{"itemIdentifier": ""}]}',
    '{"batchItemFailures": [{"itemIdentifier": null}]}',
    '{"batchItemFailures": [{"itemIdentifier": "of no message"}]}',
)


def is_first(record: Any) -> bool:
    return bool(record["attributes"]["ApproximateReceiveCount"] == "1")


def failing_first(call: Call) -> Answer:
    """A function error for each call with a message that comes for the first time."""
    return errored() if any(map(is_first, call.records)) else Answer()


def failing_b_first(call: Call) -> Answer:
    bad = [each for each in call.records if each["body"] == "b" and is_first(each)]
    return failed_items(*(record["messageId"] for record in bad))


def replying_with_the_body(call: Call) -> Answer:
    (record,) = call.records
    return Answer(record["body"].encode() if is_first(record) else b"")


def too_slow_at_first(call: Call) -> Answer:
    return Answer(delay=1.5 if is_first(call.records[0]) else 0.0)


def always_failing(_call: Call) -> Answer:
    return errored()


def reporting_all(call: Call) -> Answer:
    return failed_items(*(record["messageId"] for record in call.records))


def throttling_ten_times(call: Call) -> Answer:
    return Answer(status=429, headers={"Retry-After": "1"}) if call.number < 10 else Answer()


class ThrottlingForLong:
    """429 until REFUSED_FOR seconds after the first call."""

    began: float | None = None

    def __call__(self, call: Call) -> Answer:
        self.began = self.began or call.started
        return Answer(status=429 if call.started < self.began + REFUSED_FOR else 200)


def string(value: str, kind: str = "String") -> dict[str, str]:
    return {"DataType": kind, "StringValue": value}


# Of AWS's own documentation, so that its hash is known.
ATTRIBUTES = {
    "Title": string("The Whistler"),
    "Author": string("John Grisham"),
    "WeeksOn": string("6", "Number"),
}


def wanted() -> dict[str, Wanted]:
    return {
        "plain": Wanted([BODY]),
        "traced": Wanted([]),
        "windowed": Wanted([BODY], settings={"MaximumBatchingWindowInSeconds": 1}),
        "attributes": Wanted(
            [
                {"MessageBody": "documented", "MessageAttributes": ATTRIBUTES},
                {
                    "MessageBody": "binary",
                    "MessageAttributes": {
                        "Picture": {"DataType": "Binary.png", "BinaryValue": BINARY}
                    },
                },
            ]
        ),
        "failing once": Wanted(["m"], failing_first, visibility=VISIBILITY),
        "redriven": Wanted(["m"], always_failing, visibility=1, receives_max=2),
        "partial": Wanted(["a", "b", "c"], failing_b_first, REPORTING, visibility=2),
        "failing while reporting": Wanted(["a", "b"], failing_first, REPORTING, visibility=2),
        "good replies": Wanted(
            GOOD_REPLIES[1:], replying_with_the_body, {"BatchSize": 1, **REPORTING}
        ),
        "empty reply": Wanted(["m"], settings=REPORTING),
        "bad replies": Wanted(
            BAD_REPLIES, replying_with_the_body, {"BatchSize": 1, **REPORTING}, visibility=2
        ),
        "not reporting": Wanted(["a", "b"], reporting_all),
        "gathered": Wanted(
            [f"m{number}" for number in range(15)],
            settings={"BatchSize": 100, "MaximumBatchingWindowInSeconds": 2},
        ),
        "full": Wanted(
            [f"m{number}" for number in range(24)],
            settings={"BatchSize": 12, "MaximumBatchingWindowInSeconds": 300},
        ),
        "throttled": Wanted(
            [f"m{number}" for number in range(8)], throttling_ten_times, {"BatchSize": 1}
        ),
        "throttled for long": Wanted(["m"], ThrottlingForLong(), visibility=4),
        "too slow": Wanted(["m"], too_slow_at_first, visibility=2),
    }


@pytest.fixture(
    scope="module",
    params=["ministack_url", "fauxqs_url", pytest.param("moto_url", marks=pytest.mark.slow)],
)
def at_work(request: pytest.FixtureRequest) -> Iterator[Lanes]:
    by_api = request.param == "ministack_url"
    url = request.getfixturevalue(request.param)
    with lanes(url, wanted(), by_api=by_api) as running:
        aws("sqs", url).send_message(
            QueueUrl=running["traced"].queue.url,
            MessageBody="traced",
            MessageSystemAttributes={
                "AWSTraceHeader": {"DataType": "String", "StringValue": TRACE}
            },
        )
        yield running


# The event.


@pytest.mark.proves("D25", "EventSourceArn")
def test_a_message_has_the_fields_and_values_of_lambda(at_work: Lanes) -> None:
    lane = at_work["plain"]
    lane.empties()
    ((record,),) = [call.records for call in lane.function.calls]
    (sent,) = lane.sent
    assert list(lane.function.calls[0].event) == ["Records"]
    assert record.pop("receiptHandle")
    attributes = record.pop("attributes")
    assert record == {
        "messageId": sent["MessageId"],
        "body": BODY,
        "messageAttributes": {},
        "md5OfBody": sent["MD5OfMessageBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": lane.queue.arn,
        "awsRegion": "us-east-1",
    }
    assert attributes.keys() >= {"SentTimestamp", "ApproximateFirstReceiveTimestamp", "SenderId"}
    assert attributes["ApproximateReceiveCount"] == "1"
    assert all(isinstance(value, str) for value in attributes.values())


@pytest.mark.proves("R1.3.md5")
def test_the_hash_of_absent_attributes_is_null_with_a_window_only(at_work: Lanes) -> None:
    at_work["windowed"].empties()
    (record,) = at_work["windowed"].records
    assert record["md5OfMessageAttributes"] is None
    assert record["messageAttributes"] == {}


@pytest.mark.proves("D26")
def test_message_attributes_are_in_the_form_of_lambda(at_work: Lanes) -> None:
    lane = at_work["attributes"]
    lane.empties()
    found = {record["body"]: record for record in lane.records}
    lists: dict[str, list[str]] = {"stringListValues": [], "binaryListValues": []}
    assert found["documented"]["messageAttributes"] == {
        "Title": {"stringValue": "The Whistler", **lists, "dataType": "String"},
        "Author": {"stringValue": "John Grisham", **lists, "dataType": "String"},
        "WeeksOn": {"stringValue": "6", **lists, "dataType": "Number"},
    }
    assert found["documented"]["md5OfMessageAttributes"] == "d25a6aea97eb8f585bfa92d314504a92"
    assert found["binary"]["messageAttributes"] == {
        "Picture": {
            "binaryValue": base64.b64encode(BINARY).decode(),
            **lists,
            "dataType": "Binary.png",
        }
    }
    hashes = [sent["MD5OfMessageAttributes"] for sent in lane.sent]
    assert [found[body]["md5OfMessageAttributes"] for body in ("documented", "binary")] == hashes


@pytest.mark.proves("FunctionName")
def test_an_invocation_says_which_function_and_until_when(at_work: Lanes) -> None:
    lane = at_work["plain"]
    lane.function.wait(lambda: len(lane.function.calls) == 1)
    headers = lane.function.calls[0].headers
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Amz-Invoked-Function-Arn"].startswith("arn:aws:lambda:us-east-1:000000000000")
    assert 0 < int(headers["Lambda-Runtime-Deadline-Ms"]) / 1000 - time.time() + 60 < 120
    assert headers["X-Amzn-RequestId"]
    assert headers["X-Amzn-Trace-Id"].startswith("Root=1-")
    assert headers["Authorization"].startswith("Basic ")


def test_the_xray_header_of_a_message_is_that_of_its_invocation(at_work: Lanes) -> None:
    lane = at_work["traced"]
    lane.function.wait(lambda: len(lane.function.calls) == 1)
    ((record,), headers) = lane.function.calls[0].records, lane.function.calls[0].headers
    if "AWSTraceHeader" not in record["attributes"]:
        pytest.skip("this server forgets the header")
    assert (record["attributes"]["AWSTraceHeader"], headers["X-Amzn-Trace-Id"]) == (TRACE, TRACE)
    assert "traceparent" not in headers


# What becomes of a message.


@pytest.mark.proves("D50")
def test_success_deletes(at_work: Lanes) -> None:
    at_work["plain"].empties()
    assert at_work["plain"].counts == {BODY: ["1"]}
    assert at_work.metric("plain", "poller_records_deleted_total") == 1


@pytest.mark.proves("D51", "R1.3.again")
def test_a_failed_message_comes_again_after_its_visibility_timeout(at_work: Lanes) -> None:
    lane = at_work["failing once"]
    lane.empties()
    first, second = lane.function.calls
    assert lane.counts == {"m": ["1", "2"]}
    received_at = int(first.records[0]["attributes"]["ApproximateFirstReceiveTimestamp"]) / 1000
    again_at = second.started + time.time() - time.monotonic()
    assert again_at - received_at >= VISIBILITY - 0.01  # the server's time may be cut off
    assert second.records[0]["messageId"] == first.records[0]["messageId"]
    assert at_work.metric("failing once", "poller_invocations_total", outcome="failed") == 1


@pytest.mark.proves("D52")
def test_the_queues_own_policy_moves_what_always_fails(at_work: Lanes) -> None:
    lane = at_work["redriven"]
    lane.function.wait(lambda: len(lane.function.calls) == 2)
    dead = lane.dead
    assert dead is not None
    eventually(lambda: left_in(lane.url, dead)[0] == 1)
    assert lane.counts == {"m": ["1", "2"]}
    (message,) = drained(lane.url, dead)
    assert message["MessageId"] == lane.sent[0]["MessageId"]


def test_a_function_that_times_out_has_failed(at_work: Lanes) -> None:
    lane = at_work["too slow"]
    lane.empties()
    assert lane.counts == {"m": ["1", "2"]}
    assert lines(at_work.running, "the function failed", "Task timed out after 1.00 seconds")


@pytest.mark.proves("D53", "FunctionResponseTypes")
def test_of_a_batch_only_the_reported_messages_come_again(at_work: Lanes) -> None:
    at_work["partial"].empties()
    assert at_work["partial"].counts == {"a": ["1"], "b": ["1", "2"], "c": ["1"]}


@pytest.mark.proves("R1.6.error", "FunctionResponseTypes")
def test_an_error_fails_the_whole_batch_also_where_failures_are_reported(at_work: Lanes) -> None:
    at_work["failing while reporting"].empties()
    assert at_work["failing while reporting"].counts == {"a": ["1", "2"], "b": ["1", "2"]}


@pytest.mark.proves("D55", "FunctionResponseTypes")
def test_an_empty_report_is_a_success(at_work: Lanes) -> None:
    at_work["good replies"].empties()
    at_work["empty reply"].empties()
    assert at_work["good replies"].counts == {body: ["1"] for body in GOOD_REPLIES[1:]}
    assert at_work["empty reply"].counts == {"m": ["1"]}


@pytest.mark.proves("D54", "FunctionResponseTypes")
def test_a_malformed_report_fails_the_whole_batch(at_work: Lanes) -> None:
    at_work["bad replies"].empties()
    assert at_work["bad replies"].counts == {body: ["1", "2"] for body in BAD_REPLIES}


@pytest.mark.proves("FunctionResponseTypes")
def test_a_report_that_nobody_asked_for_is_ignored(at_work: Lanes) -> None:
    at_work["not reporting"].empties()
    assert at_work["not reporting"].counts == {"a": ["1"], "b": ["1"]}


# Batches.


@pytest.mark.proves("D56", "MaximumBatchingWindowInSeconds")
def test_a_window_gathers_a_batch_from_several_receives(at_work: Lanes) -> None:
    lane = at_work["gathered"]
    lane.empties()
    assert sorted(lane.counts) == sorted(f"m{number}" for number in range(15))
    assert set(map(tuple, lane.counts.values())) == {("1",)}
    assert max(map(len, lane.batches())) > 10


@pytest.mark.proves("S4.1.full", "BatchSize", "MaximumBatchingWindowInSeconds")
def test_a_full_batch_does_not_wait_for_its_window(at_work: Lanes) -> None:
    lane = at_work["full"]
    lane.empties()
    assert list(map(len, lane.batches())) == [12, 12]
    assert set(map(tuple, lane.counts.values())) == {("1",)}


# Throttling.


@pytest.mark.proves("S8.3.throttled")
def test_waiting_for_a_throttled_function_spends_no_receives(at_work: Lanes) -> None:
    lane = at_work["throttled"]
    lane.empties()
    assert lane.counts.keys() == {f"m{number}" for number in range(8)}
    calls_of_each = [
        [call.started for call in lane.function.calls if call.records[0]["body"] == body]
        for body in lane.counts
    ]
    assert {count for counts in lane.counts.values() for count in counts} == {"1"}
    refused_at = {call.started for call in lane.function.calls[:10]}
    for calls in calls_of_each:
        waits = [b - a for a, b in itertools.pairwise(calls) if a in refused_at]
        assert all(wait > 0.95 for wait in waits), "Retry-After says 1 s"
    assert at_work.metric("throttled", "poller_invocations_total", outcome="refused") == 10
    assert lines(at_work.running, "the function is not reached", "status 429")


@pytest.mark.proves("S8.3.given-up")
def test_a_throttled_batch_is_given_up_before_its_messages_are_visible_again(
    at_work: Lanes,
) -> None:
    lane = at_work["throttled for long"]
    lane.empties()
    succeeded = [
        record["attributes"]["ApproximateReceiveCount"] for record in lane.function.succeeded
    ]
    assert succeeded == ["2"]
    assert set(lane.counts["m"]) == {"1", "2"}


# Stopping.


def test_stopping_finishes_what_runs_and_hides_nothing_that_comes_meanwhile(
    ministack_url: str,
) -> None:
    queue, finish = new_queue(ministack_url, VisibilityTimeout="30"), threading.Event()
    with (
        function(lambda call: Answer(after=finish) if call.number == 0 else Answer()) as stub,
        watched(config(ministack_url, Mapped(queue.arn, stub, timeout=5))) as running,
    ):
        sent = [send(ministack_url, queue, "running")[0]["MessageId"]]
        stub.wait(lambda: len(stub.calls) == 1)
        running.process.terminate()
        await_line(running, "stopping")
        assert running.process.poll() is None
        finish.set()
        while running.process.poll() is None:  # each ends one of the open receives
            sent += [send(ministack_url, queue, "late")[0]["MessageId"]]
            time.sleep(0.2)
        assert running.process.returncode == 0
        delivered = [record["messageId"] for record in stub.succeeded]
    waiting, in_flight = left_in(ministack_url, queue)
    assert in_flight == 0
    left = [message["MessageId"] for message in drained(ministack_url, queue)]
    assert len(left) == waiting
    assert sorted(delivered + left) == sorted(sent)


def test_an_idle_queue_is_left_with_nothing_hidden(ministack_url: str) -> None:
    """What a receive brings that was open when the process was told to stop is not stranded."""
    queue = new_queue(ministack_url, VisibilityTimeout="30")
    with (
        function() as stub,
        watched(config(ministack_url, Mapped(queue.arn, stub))) as running,
    ):
        running.process.terminate()
        await_line(running, "stopping")
        time.sleep(1.2)  # longer than the function's timeout: no invocation may begin now
        (sent,) = send(ministack_url, queue, "late")
        assert running.wait() == 0
        assert not stub.calls
    received = aws("sqs", ministack_url).receive_message(QueueUrl=queue.url)["Messages"]
    assert [message["MessageId"] for message in received] == [sent["MessageId"]]


def test_stopping_gives_back_what_waits_for_a_throttled_function(ministack_url: str) -> None:
    queue = new_queue(ministack_url, VisibilityTimeout="60")
    with (
        function(lambda _call: Answer(status=429, headers={"Retry-After": "30"})) as stub,
        watched(config(ministack_url, Mapped(queue.arn, stub))) as running,
    ):
        sent = send(ministack_url, queue, "a", "b")
        stub.wait(lambda: len(stub.records) == 2)
        assert running.stop() == 0
    left = [message["MessageId"] for message in drained(ministack_url, queue)]
    assert sorted(left) == sorted(each["MessageId"] for each in sent)
