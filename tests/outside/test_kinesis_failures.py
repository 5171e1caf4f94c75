"""What becomes of records that a function fails on, seen from outside (spec 6 and 7)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import chain, pairwise
from typing import Any

import pytest

from tests.functions import Answer, Call, errored, failed_items
from tests.outside.scenes import (
    SHARD,
    Plan,
    Scene,
    compact,
    document,
    fail_on,
    read,
    report,
    sequence,
    staged,
    texts,
    timestamp_of,
)

REPORTING = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}
RETRY_AFTER = 1
UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"

# Batches of two: [a, b] gets the response, [c] succeeds.

SUCCESSES: dict[str, Any] = {
    "no-body": b"",
    "empty-text": b'""',
    "list": b"[]",
    "null": b"null",
    "object": b"{}",
    "empty-list": {"batchItemFailures": []},
    "null-list": {"batchItemFailures": None},
}
FAILURES: dict[str, tuple[Answer, str | None]] = {  # and functionError
    "number": (failed_items(123), None),  # type: ignore[arg-type]
    "empty-identifier": (failed_items(""), None),
    "null-identifier": (failed_items(None), None),  # type: ignore[arg-type]
    "unknown-identifier": (failed_items("99999"), None),
    "wrong-name": (Answer({"batchItemFailures": [{"foo": 123}]}), None),
    "wrong-name-null": (Answer({"batchItemFailures": [{"foo": None}]}), None),
    "function-error": (errored(), "Unhandled"),
    "status": (Answer("no", status=500), "Unhandled"),
}
PLANS = {
    **{
        f"succeeds-{name}": Plan(
            settings={"BatchSize": 2, "MaximumRetryAttempts": 2, **REPORTING},
            answers=lambda call, body=body: Answer(body) if "a" in texts(call) else Answer(),
            records=("a", "b", "c"),
        )
        for name, body in SUCCESSES.items()
    },
    **{
        f"fails-{name}": Plan(
            settings={"BatchSize": 2, "MaximumRetryAttempts": 2, **REPORTING},
            answers=fail_on("a", answer=lambda answer=answer: answer),
            records=("a", "b", "c"),
            failures_to="sqs",
        )
        for name, (answer, _) in FAILURES.items()
    },
    **{
        f"retries-{count}-to-{kind}": Plan(
            settings={"BatchSize": 1, "MaximumRetryAttempts": count},
            answers=fail_on("poison"),
            records=("poison", "good"),
            failures_to=kind,
        )
        for count, kind in ((0, "sqs"), (1, "sqs"), (1, "sns"), (1, "s3"))
    },
    **{
        f"bisect-{poison}-retries-{retries}": Plan(
            settings={
                "BatchSize": 4,
                "MaximumRetryAttempts": retries,
                "BisectBatchOnFunctionError": True,
            },
            answers=fail_on(poison),
            records="abcd",
            failures_to="sqs",
        )
        for poison, retries in (("a", 1), ("c", 0), ("d", 2))
    },
    "bisect-fifty": Plan(
        settings={
            "BatchSize": 100,
            "MaximumRetryAttempts": 0,
            "BisectBatchOnFunctionError": True,
            **REPORTING,  # an error of the whole invocation is bisected all the same
        },
        answers=fail_on("37"),
        records=tuple(map(str, range(50))),
        failures_to="sqs",
    ),
    "bisect-reported": Plan(
        settings={
            "BatchSize": 4,
            "MaximumRetryAttempts": 1,
            "BisectBatchOnFunctionError": True,
            **REPORTING,
        },
        answers=report("c"),
        records="abcd",
        failures_to="sqs",
    ),
    "fails-once": Plan(
        settings={"BatchSize": 3, **REPORTING},
        answers=lambda call: report("c")(call) if call.number == 0 else Answer(),
        records="abc",
    ),
    "lowest-wins": Plan(
        settings={"BatchSize": 5, **REPORTING},
        answers=lambda call: report("d", "b")(call) if call.number == 0 else Answer(),
        records="abcde",
    ),
    "progress": Plan(
        settings={"BatchSize": 3, "MaximumRetryAttempts": 3, **REPORTING},
        answers=report("f"),
        records="abcdef",
        failures_to="sqs",
    ),
    "progress-after-failure": Plan(
        settings={"BatchSize": 3, "MaximumRetryAttempts": 1, **REPORTING},
        answers=lambda call: errored() if call.number == 0 else report("c")(call),
        records="abc",
        failures_to="sqs",
    ),
    "not-reporting": Plan(
        settings={"BatchSize": 2, "MaximumRetryAttempts": 2}, answers=report("a"), records="abc"
    ),
    "dropped": Plan(
        settings={"BatchSize": 2, "MaximumRetryAttempts": 0},
        answers=fail_on("a"),
        records="abc",
    ),
    "times-out": Plan(
        settings={"BatchSize": 1, "MaximumRetryAttempts": 0},
        function={"timeout": 2},
        answers=lambda call: Answer(delay=6.0 if "a" in texts(call) else 0.0),
        records="ab",
        failures_to="sqs",
    ),
    "throttled": Plan(
        settings={"BatchSize": 1, "MaximumRetryAttempts": 0},
        answers=lambda call: throttle() if call.number < 2 else fail_on("a")(call),
        records="ab",
        failures_to="sqs",
    ),
    "two-poisons": Plan(
        settings={"BatchSize": 1, "MaximumRetryAttempts": 0},
        answers=fail_on("a", "b"),
        records="abc",
        failures_to="sqs",
    ),
    "unreachable": Plan(settings={"BatchSize": 1, "MaximumRetryAttempts": 0}),
}


def throttle() -> Answer:
    return Answer(status=429, headers={"Retry-After": str(RETRY_AFTER)})


@pytest.fixture(scope="module")
def scenes(moto_url: str) -> Iterator[dict[str, Scene]]:
    with staged(moto_url, PLANS, by_api=True) as scenes:
        yield scenes


def request_id(call: Call) -> str:
    return call.headers["X-Amzn-RequestId"]


@pytest.mark.proves("D36", "R1.1.empty-payload", "FunctionResponseTypes")
@pytest.mark.parametrize("name", SUCCESSES)
def test_a_response_without_failures_is_a_success(name: str, scenes: dict[str, Scene]) -> None:
    scene = scenes[f"succeeds-{name}"]

    assert scene.after(2) == [["a", "b"], ["c"]]
    scene.until(lambda: scene.metric("poller_records_succeeded_total") == 3)
    assert scene.metric("poller_retries_total") == 0


@pytest.mark.proves("D37", "D38", "FunctionResponseTypes", "MaximumRetryAttempts")
@pytest.mark.parametrize("name", FAILURES)
def test_a_response_that_condemns_the_batch_is_retried_and_recorded(
    name: str, scenes: dict[str, Scene]
) -> None:
    scene = scenes[f"fails-{name}"]

    assert scene.after(4) == [["a", "b"]] * 3 + [["c"]]
    (found,) = scene.documents()
    assert found == document(
        scene,
        timestamp_of(found),
        read(scene.url, scene.stream)[:2],
        request_id=request_id(scene.stub.calls[2]),
        invocations=3,
        function_error=FAILURES[name][1],
    )


@pytest.mark.proves("S6.1.request-id")
def test_every_retry_is_the_same_event_under_a_request_id_of_its_own(
    scenes: dict[str, Scene],
) -> None:
    scene = scenes["fails-function-error"]
    scene.after(4)

    tries = scene.stub.calls[:3]
    assert len({call.body for call in tries}) == 1
    assert len({request_id(call) for call in tries}) == 3


@pytest.mark.proves("D31", "MaximumRetryAttempts", "DestinationConfig")
@pytest.mark.parametrize("retries", [0, 1])
def test_retries_run_out_into_a_queue_and_the_shard_moves_on(
    retries: int, scenes: dict[str, Scene]
) -> None:
    scene = scenes[f"retries-{retries}-to-sqs"]

    assert scene.after(retries + 2) == [["poison"]] * (retries + 1) + [["good"]]
    (found,) = scene.documents()
    assert found == document(
        scene,
        timestamp_of(found),
        read(scene.url, scene.stream)[:1],
        request_id=request_id(scene.stub.calls[retries]),
        invocations=retries + 1,
    )
    scene.until(lambda: scene.metric("poller_records_succeeded_total") == 1)
    assert scene.metric("poller_records_delivered_total") == 1
    assert scene.metric("poller_records_dropped_total") == 0


@pytest.mark.proves("D33", "DestinationConfig")
def test_a_topic_gets_the_same_document(scenes: dict[str, Scene]) -> None:
    scene = scenes["retries-1-to-sns"]

    (notification,) = scene.documents()
    found = json.loads(notification)["Message"]
    assert found == document(
        scene,
        timestamp_of(found),
        read(scene.url, scene.stream)[:1],
        request_id=request_id(scene.stub.calls[1]),
        invocations=2,
    )


@pytest.mark.proves("D34", "R1.4.payload", "DestinationConfig")
def test_a_bucket_gets_the_document_with_the_event_as_text(scenes: dict[str, Scene]) -> None:
    scene = scenes["retries-1-to-s3"]

    scene.documents()
    ((key, found),) = scene.objects()
    at = timestamp_of(found)
    without = document(
        scene,
        at,
        read(scene.url, scene.stream)[:1],
        request_id=request_id(scene.stub.calls[1]),
        invocations=2,
    )
    payload = compact(scene.stub.calls[1].body.decode())
    assert found == f'{without[:-1]},"payload":{payload}}}'
    second = at[:19].replace(":", ".")
    day = at[:10].replace("-", "/")
    assert re.fullmatch(f"aws/lambda/{scene.uuid}/{SHARD}/{day}/{re.escape(second)}-{UUID}", key)


@pytest.mark.proves("D44", "BisectBatchOnFunctionError")
@pytest.mark.parametrize(
    ("name", "batches", "poison", "invocations"),
    [
        ("bisect-a-retries-1", ["abcd", "ab", "a", "a", "b", "cd"], 0, 2),
        ("bisect-c-retries-0", ["abcd", "ab", "cd", "c", "d"], 2, 1),
        ("bisect-d-retries-2", ["abcd", "ab", "cd", "c", "d", "d", "d"], 3, 3),
    ],
)
def test_bisecting_goes_on_in_order_until_the_poison_is_alone(
    name: str, batches: list[str], poison: int, invocations: int, scenes: dict[str, Scene]
) -> None:
    scene = scenes[name]
    last_try = max(index for index, batch in enumerate(batches) if batch == "abcd"[poison])

    assert scene.after(len(batches)) == [list(batch) for batch in batches]
    (found,) = scene.documents()
    assert found == document(
        scene,
        timestamp_of(found),
        read(scene.url, scene.stream)[poison : poison + 1],
        request_id=request_id(scene.stub.calls[last_try]),
        invocations=invocations,
    )


@pytest.mark.proves("S6.3.merged")
def test_each_batch_that_is_given_up_has_a_document_of_its_own(scenes: dict[str, Scene]) -> None:
    scene = scenes["two-poisons"]

    scene.after(3)
    found = sorted(scene.documents(2), key=lambda each: first_of(json.loads(each)))
    assert found == [
        document(scene, timestamp_of(each), [record], request_id=request_id(call), invocations=1)
        for each, record, call in zip(
            found, read(scene.url, scene.stream)[:2], scene.stub.calls[:2], strict=True
        )
    ]


def first_of(document: Any) -> int:
    return int(document["KinesisBatchInfo"]["startSequenceNumber"])


@pytest.mark.proves("S6.4.error", "BisectBatchOnFunctionError")
def test_one_poison_among_many_costs_no_other_record(scenes: dict[str, Scene]) -> None:
    scene = scenes["bisect-fifty"]

    (found,) = scene.documents()
    (last_try,) = (call for call in scene.stub.calls if texts(call) == ["37"])
    assert found == document(
        scene,
        timestamp_of(found),
        read(scene.url, scene.stream)[37:38],
        request_id=request_id(last_try),
        invocations=1,
    )
    scene.until(lambda: scene.metric("poller_records_succeeded_total") == 49)
    done = [texts(call) for call in scene.stub.calls if "37" not in texts(call)]
    assert list(chain.from_iterable(done)) == [str(number) for number in range(50) if number != 37]


@pytest.mark.proves("S6.4.partial", "BisectBatchOnFunctionError")
def test_a_partial_response_is_not_halved(scenes: dict[str, Scene]) -> None:
    scene = scenes["bisect-reported"]

    # [c, d] reports its own first record: no progress, so it is tried again and then given up.
    assert scene.after(3) == [list("abcd"), list("cd"), list("cd")]
    (found,) = scene.documents()
    assert found == document(
        scene,
        timestamp_of(found),
        read(scene.url, scene.stream)[2:],
        request_id=request_id(scene.stub.calls[2]),
        invocations=2,
        function_error=None,
    )


@pytest.mark.proves("D40", "FunctionResponseTypes")
def test_a_partial_response_is_a_checkpoint(scenes: dict[str, Scene]) -> None:
    scene = scenes["fails-once"]

    assert scene.after(2) == [list("abc"), ["c"]]
    scene.until(lambda: scene.metric("poller_records_succeeded_total") == 3)


@pytest.mark.proves("D41", "FunctionResponseTypes")
def test_of_several_reported_records_the_lowest_counts(scenes: dict[str, Scene]) -> None:
    scene = scenes["lowest-wins"]

    assert scene.after(2) == [list("abcde"), list("bcde")]
    first = scene.stub.calls[0]
    assert first.answer == failed_items(sequence(first, "d"), sequence(first, "b"))


@pytest.mark.proves("R1.5.progress", "FunctionResponseTypes", "MaximumRetryAttempts")
@pytest.mark.parametrize(
    ("name", "batches", "invocations"),
    [
        ("progress", ["abc", "def", "f", "f", "f", "f"], 4),
        ("progress-after-failure", ["abc", "abc", "c", "c"], 2),
    ],
)
def test_progress_starts_the_retries_anew(
    name: str, batches: list[str], invocations: int, scenes: dict[str, Scene]
) -> None:
    scene = scenes[name]

    assert scene.after(len(batches)) == [list(batch) for batch in batches]
    (found,) = scene.documents()
    assert found == document(
        scene,
        timestamp_of(found),
        read(scene.url, scene.stream)[-1:],
        request_id=request_id(scene.stub.calls[-1]),
        invocations=invocations,
        function_error=None,
    )


@pytest.mark.proves("D42", "FunctionResponseTypes")
def test_without_the_setting_reported_failures_are_ignored(scenes: dict[str, Scene]) -> None:
    scene = scenes["not-reporting"]

    assert scene.after(2) == [["a", "b"], ["c"]]
    scene.until(lambda: scene.metric("poller_records_succeeded_total") == 3)


@pytest.mark.proves("S7.3.dropped")
def test_without_a_destination_records_are_dropped_and_counted(scenes: dict[str, Scene]) -> None:
    scene = scenes["dropped"]

    assert scene.after(2) == [["a", "b"], ["c"]]
    scene.until(lambda: scene.metric("poller_records_succeeded_total") == 1)
    assert scene.metric("poller_records_dropped_total", shard=SHARD) == 2


@pytest.mark.proves("S6.1.timeout")
def test_a_timeout_is_a_function_error(scenes: dict[str, Scene]) -> None:
    scene = scenes["times-out"]

    (found,) = scene.documents()
    assert found == document(
        scene,
        timestamp_of(found),
        read(scene.url, scene.stream)[:1],
        request_id=request_id(scene.stub.calls[0]),
        invocations=1,
    )
    scene.until(lambda: scene.batches == [["a"], ["b"]])


@pytest.mark.proves("S6.1.not-reached")
def test_throttling_waits_as_told_and_spends_no_retries(scenes: dict[str, Scene]) -> None:
    scene = scenes["throttled"]

    assert scene.after(4) == [["a"]] * 3 + [["b"]]
    starts = [call.started for call in scene.stub.calls[:3]]
    assert all(later - earlier >= RETRY_AFTER for earlier, later in pairwise(starts))
    (found,) = scene.documents()
    assert found == document(
        scene,
        timestamp_of(found),
        read(scene.url, scene.stream)[:1],
        request_id=request_id(scene.stub.calls[2]),
        invocations=1,
    )
    assert scene.metric("poller_invocations_total", outcome="refused") == 2


@pytest.mark.proves("S6.1.not-reached")
def test_a_function_that_is_not_reached_spends_no_retries(scenes: dict[str, Scene]) -> None:
    scene = scenes["unreachable"]
    scene.stub.down()
    scene.put("a", "b")
    scene.until(lambda: scene.metric("poller_invocations_total", outcome="refused") >= 2)
    scene.stub.up()

    assert scene.after(2) == [["a"], ["b"]]
    assert scene.metric("poller_records_dropped_total") == 0
