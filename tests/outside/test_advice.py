"""A function whose response looks like a mistake is told so, once for each kind."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.functions import Answer, Call, errored, failed_items, function
from tests.outside.poller_process import poller
from tests.outside.scenes import Plan, Scene, config, sequence, staged, texts
from tests.servers import aws, new_queue

REPORTING = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}
ADVICE = re.compile(r"WARNING the function's response looks like a mistake: (?P<text>.*)")
FIELDS = re.compile(r"function=(?P<function>\S+) kind=(?P<kind>\S+)")


def items(*identifiers: str) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": each} for each in identifiers]}


def in_turn(*bodies: Any) -> Any:
    """Each of these once, then nothing."""
    return lambda call: Answer(bodies[call.number]) if call.number < len(bodies) else Answer()


def always(body: Any) -> Any:
    return lambda call: Answer(body)


def plan(answers: Any, *, reporting: bool = True, records: str = "abc") -> Plan:
    settings = {"BatchSize": 1, "MaximumRetryAttempts": 1, **(REPORTING if reporting else {})}
    return Plan(settings=settings, answers=answers, records=records)


PLANS = {
    "wrong-key": plan(always({"BatchItemFailures": [{"itemIdentifier": "1"}]})),
    "api-gateway": plan(always({"statusCode": 200, "body": json.dumps(items("1"))})),
    "error-as-success": plan(always({"errorType": "E", "errorMessage": "no"})),
    "state-without-window": plan(always({"state": {"sum": 1}})),
    "reporting-off": plan(
        lambda call: failed_items(sequence(call, texts(call)[0])), reporting=False
    ),
    "other-identifier": plan(lambda call: failed_items(call.records[0]["eventID"]), records="ab"),
    "many": plan(
        in_turn(b"done", {"batchItemFailures": ["1"]}, "done", items("1"), b"done", items("2"))
    ),
    "good": plan(
        lambda call: failed_items(sequence(call, "a")) if call.number == 0 else Answer(items())
    ),
    "broken": plan(lambda call: errored()),
}
KINDS = {name: {name: 1} for name in PLANS}
KINDS["many"] = {
    "not-json": 1,
    "item-is-no-object": 1,
    "not-an-object": 1,
    "unknown-identifier": 1,
}
KINDS["good"] = KINDS["broken"] = {}


@pytest.fixture(scope="module")
def scenes(moto_url: str) -> Iterator[dict[str, Scene]]:
    with staged(moto_url, PLANS) as scenes:
        yield scenes


def advice(log: str, name: str) -> dict[str, int]:
    """How often each kind was said of a function."""
    found = (FIELDS.search(line) for line in log.splitlines() if ADVICE.search(line))
    return dict(Counter(each["kind"] for each in found if each and each["function"] == name))


@pytest.mark.parametrize("name", PLANS)
def test_each_kind_of_mistake_is_one_warning(name: str, scenes: dict[str, Scene]) -> None:
    scene = scenes[name]
    assert scene.running is not None
    log = scene.running.log
    records = len(PLANS[name].records)
    done = ("poller_records_succeeded_total", "poller_records_dropped_total")
    scene.until(lambda: sum(map(scene.metric, done)) == records)
    assert advice(log(), name) == KINDS[name]


def test_a_fifo_order_that_a_response_breaks_is_one_warning(ministack_url: str) -> None:
    queue = new_queue(ministack_url, fifo=True, VisibilityTimeout="30")
    sqs = aws("sqs", ministack_url)
    for body in "abcd":
        sqs.send_message(
            QueueUrl=queue.url, MessageBody=body, MessageGroupId="g", MessageDeduplicationId=body
        )

    def first_fails(call: Call) -> Answer:
        return failed_items(call.records[0]["messageId"])

    with function(first_fails) as stub:
        mapping = {"EventSourceArn": queue.arn, "FunctionName": "f", "BatchSize": 4, **REPORTING}
        with poller(config(ministack_url, {"f": stub}, mapping)) as running:
            stub.wait(lambda: bool(stub.calls) and stub.calls[0].ended is not None)
            assert [record["body"] for record in stub.calls[0].records] == list("abcd")
            assert running.stop() == 0
            assert advice(running.log(), "f") == {"fifo-order": 1}
