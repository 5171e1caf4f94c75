"""DynamoDB Streams from outside: events, retries, failure documents, order, positions."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.functions import Answer, Call, errored, failed_items, function
from tests.outside.poller_process import poller
from tests.outside.scenes import (
    REGION,
    Plan,
    Scene,
    compact,
    config,
    document,
    fail_on,
    mapping,
    put,
    read,
    report,
    shard_of,
    staged,
    stream_of,
    text,
    texts,
    timestamp_of,
)
from tests.servers import Stream, aws, new_table

REPORTING = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}
UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
VIEWS = ("KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES")

IMAGES = {"NewImage", "OldImage"}

# Events.

FIRST = {
    "id": {"S": "a"},
    "binary_key": {"B": b"foobar"},
    "all bytes": {"B": bytes(range(256))},
    "n": {"N": "1.5"},
    "large": {"N": "12345678901234567890123456789012345678"},
    "m": {"M": {"x": {"L": [{"BOOL": True}, {"NULL": True}, {"S": ""}]}}},
    "bs": {"BS": [b"1", b"2"]},
    "ns": {"NS": ["1", "2"]},
}
SECOND = {"id": {"S": "a"}, "binary_key": {"B": b"foobaz"}, "text": {"S": 'é€😀"\\</>\n'}}


class Images:
    """What boto3 reads from a stream, and the text of each image as the server wrote it."""

    def __init__(self, url: str, stream: Stream) -> None:
        self._texts: list[str] = []
        client = aws("dynamodbstreams", url)
        event = "before-parse.dynamodbstreams.GetRecords"
        client.meta.events.register(event, self._note)
        try:
            self.records = read(url, stream)
        finally:
            client.meta.events.unregister(event, self._note)
        sent = [each for text in self._texts for each in json.loads(text)["Records"]]
        self._sent = {each["dynamodb"]["SequenceNumber"]: each["dynamodb"] for each in sent}

    def _note(self, response_dict: Mapping[str, Any], **_: Any) -> None:
        self._texts.append(response_dict["body"].decode())

    def text(self, record: Mapping[str, Any], name: str) -> str:
        """The image `name` of a record."""
        value = self._sent[record["dynamodb"]["SequenceNumber"]][name]
        spellings = (
            compact(value),
            json.dumps(value),
            json.dumps(value, ensure_ascii=False),
        )
        return next(each for each in spellings if any(each in text for text in self._texts))


def expected_event(stream: Stream, images: Images) -> str:
    """AWS's text: members in AWS's order, whole seconds as a float, images as they were sent."""
    records = []
    for record in images.records:
        change = record["dynamodb"]
        created = int(change["ApproximateCreationDateTime"].timestamp())
        parts = [f'"ApproximateCreationDateTime":{created}.0']
        for name in ("Keys", "NewImage", "OldImage"):
            if name in change:
                parts.append(f'"{name}":{images.text(record, name)}')
        parts += [
            f'"SequenceNumber":"{change["SequenceNumber"]}"',
            f'"SizeBytes":{change["SizeBytes"]}',
            f'"StreamViewType":"{change["StreamViewType"]}"',
        ]
        records.append(
            f'{{"eventID":"{record["eventID"]}","eventName":"{record["eventName"]}",'
            f'"eventVersion":"1.1","eventSource":"aws:dynamodb","awsRegion":"{REGION}",'
            f'"dynamodb":{{{",".join(parts)}}},"eventSourceARN":"{stream.arn}"}}'
        )
    return f'{{"Records":[{",".join(records)}]}}'


@pytest.mark.proves("D23", "D24", "EventSourceArn", "FunctionName")
@pytest.mark.parametrize("server", ["ministack", "moto"])
def test_an_event_is_that_of_aws_to_the_byte_in_every_view(
    server: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(f"{server}_url")
    streams = {view: stream_of(new_table(url, view)) for view in VIEWS}
    for stream in streams.values():
        dynamodb = aws("dynamodb", url)
        dynamodb.put_item(TableName=stream.name, Item=FIRST)
        dynamodb.put_item(TableName=stream.name, Item=SECOND)
        dynamodb.delete_item(TableName=stream.name, Key={"id": {"S": "a"}})

    with ExitStack() as stack:
        stubs = {view: stack.enter_context(function()) for view in VIEWS}
        mappings = [mapping(streams[view], view) for view in VIEWS]
        stack.enter_context(poller(config(url, stubs, *mappings)))
        for stub in stubs.values():
            stub.wait(lambda stub=stub: len(stub.records) == 3)

    for view, stub in stubs.items():
        (call,) = stub.calls
        assert call.body.decode() == expected_event(streams[view], Images(url, streams[view]))
        assert [each["eventName"] for each in call.records] == ["INSERT", "MODIFY", "REMOVE"]
        assert [set(each["dynamodb"]) & IMAGES for each in call.records] == images_in(view)
    inserted, modified, _ = (each["dynamodb"] for each in stubs[VIEWS[-1]].records)
    assert inserted["NewImage"]["binary_key"] == {"B": "Zm9vYmFy"}
    assert modified["OldImage"] == inserted["NewImage"]
    assert modified["NewImage"]["binary_key"] == {"B": "Zm9vYmF6"}


def images_in(view: str) -> list[set[str]]:
    """The images of a record that inserts, one that modifies and one that removes."""
    shown = {"KEYS_ONLY": set(), "NEW_AND_OLD_IMAGES": IMAGES}.get(view)
    if shown is None:
        shown = {"NewImage" if view == "NEW_IMAGE" else "OldImage"}
    return [shown & each for each in ({"NewImage"}, IMAGES, {"OldImage"})]


# Failures.  Batches of two: [a, b] gets the response, [c] succeeds.

SUCCESSES: dict[str, Any] = {
    "no-body": b"",
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
    "wrong-name": (Answer({"batchItemFailures": [{"foo": 123}]}), None),
    "wrong-name-null": (Answer({"batchItemFailures": [{"foo": None}]}), None),
    "function-error": (errored(), "Unhandled"),
}
RETRIED = {"BatchSize": 2, "MaximumRetryAttempts": 3, **REPORTING}
PLANS = {
    **{
        f"succeeds-{name}": Plan(
            settings=RETRIED,
            answers=fail_on("a", answer=lambda body=body: Answer(body)),
            records="abc",
            view="KEYS_ONLY",
        )
        for name, body in SUCCESSES.items()
    },
    **{
        f"fails-{name}": Plan(
            settings=RETRIED,
            answers=fail_on("a", answer=lambda answer=answer: answer),
            records="abc",
            failures_to="sqs",
            view="KEYS_ONLY",
        )
        for name, (answer, _) in FAILURES.items()
    },
    **{
        f"retries-to-{kind}": Plan(
            settings={"BatchSize": 1, "MaximumRetryAttempts": 1},
            answers=fail_on("poison"),
            records=("poison", "good"),
            failures_to=kind,
            view="NEW_AND_OLD_IMAGES",
        )
        for kind in ("sqs", "sns", "s3")
    },
    "progress": Plan(
        settings={"BatchSize": 3, "MaximumRetryAttempts": 3, **REPORTING},
        answers=report("f"),
        records="abcdef",
        failures_to="sqs",
        view="NEW_IMAGE",
    ),
    "bisect": Plan(
        settings={
            "BatchSize": 4,
            "MaximumRetryAttempts": 1,
            "BisectBatchOnFunctionError": True,
        },
        answers=fail_on("c"),
        records="abcd",
        failures_to="sqs",
        view="NEW_IMAGE",
    ),
}


@pytest.fixture(scope="module")
def scenes(ministack_url: str) -> Iterator[dict[str, Scene]]:
    with staged(ministack_url, PLANS) as scenes:
        yield scenes


@pytest.mark.proves("FunctionResponseTypes")
@pytest.mark.parametrize("name", SUCCESSES)
def test_a_response_without_failures_is_a_success(name: str, scenes: dict[str, Scene]) -> None:
    scene = scenes[f"succeeds-{name}"]

    assert scene.after(2) == [["a", "b"], ["c"]]
    scene.until(lambda: scene.metric("poller_records_succeeded_total") == 3)


@pytest.mark.proves("D39", "FunctionResponseTypes", "MaximumRetryAttempts")
@pytest.mark.parametrize("name", FAILURES)
def test_a_response_that_condemns_the_batch_is_retried_and_recorded(
    name: str, scenes: dict[str, Scene]
) -> None:
    assert_given_up(
        scenes[f"fails-{name}"], "ab", ["ab", "ab", "ab", "ab", "c"], 4, FAILURES[name][1]
    )


def assert_given_up(
    scene: Scene,
    poison: str,
    batches: list[str],
    invocations: int,
    function_error: str | None = "Unhandled",
) -> None:
    """These were the invocations, and one document tells of `poison` alone."""
    assert scene.after(len(batches)) == [list(batch) for batch in batches]
    (found,) = scene.documents()
    tries = [call for call in scene.stub.calls if texts(call) == list(poison)]
    items = [each["dynamodb"]["Keys"]["id"]["S"] for each in read(scene.url, scene.stream)]
    start = items.index(poison[0])
    assert found == document(
        scene,
        timestamp_of(found),
        read(scene.url, scene.stream)[start : start + len(poison)],
        request_id=tries[-1].headers["X-Amzn-RequestId"],
        invocations=invocations,
        function_error=function_error,
    )


@pytest.mark.proves("R1.5.progress", "FunctionResponseTypes", "MaximumRetryAttempts")
def test_progress_starts_the_retries_anew(scenes: dict[str, Scene]) -> None:
    assert_given_up(scenes["progress"], "f", ["abc", "def", *"ffff"], 4, None)


@pytest.mark.proves("BisectBatchOnFunctionError")
def test_bisecting_goes_on_in_order_until_the_poison_is_alone(scenes: dict[str, Scene]) -> None:
    assert_given_up(scenes["bisect"], "c", ["abcd", "ab", "cd", "c", "c", "d"], 2)


@pytest.mark.proves("D32", "R1.4.payload", "DestinationConfig")
@pytest.mark.parametrize("kind", ["sqs", "sns", "s3"])
def test_every_destination_gets_the_document(kind: str, scenes: dict[str, Scene]) -> None:
    scene = scenes[f"retries-to-{kind}"]

    assert scene.after(3) == [["poison"], ["poison"], ["good"]]
    (found,) = scene.documents()
    if kind == "sns":
        found = json.loads(found)["Message"]
    last_try = scene.stub.calls[1]
    expected = document(
        scene,
        timestamp_of(found),
        read(scene.url, scene.stream)[:1],
        request_id=last_try.headers["X-Amzn-RequestId"],
        invocations=2,
    )
    if kind == "s3":
        expected = f'{expected[:-1]},"payload":{compact(last_try.body.decode())}}}'
        ((key, _),) = scene.objects()
        shard = re.escape(shard_of(scene.url, scene.stream))
        date = r"\d{4}/\d\d/\d\d/\d{4}-\d\d-\d\dT\d\d\.\d\d\.\d\d"
        assert re.fullmatch(f"aws/lambda/{scene.uuid}/{shard}/{date}-{UUID}", key)
    assert found == expected


# Order and positions.

ITEMS = 10
CHANGES = 200


def briefly(_call: Call) -> Answer:
    return Answer(delay=0.01)


@pytest.mark.proves("S5.order", "BatchSize", "ParallelizationFactor", "StartingPosition")
def test_ten_lanes_bring_every_change_once_and_in_order_per_item(ministack_url: str) -> None:
    stream = stream_of(new_table(ministack_url, "NEW_IMAGE"))
    dynamodb = aws("dynamodb", ministack_url)
    for number in range(CHANGES):
        item = {"id": {"S": f"item-{number % ITEMS}"}, "number": {"N": str(number)}}
        dynamodb.put_item(TableName=stream.name, Item=item)
    with function(briefly) as stub:
        lanes = mapping(stream, "f", BatchSize=5, ParallelizationFactor=10)
        with poller(config(ministack_url, {"f": stub}, lanes)):
            stub.wait(lambda: len(stub.succeeded) >= CHANGES)

    by_item: dict[str, list[int]] = defaultdict(list)
    runs: dict[str, list[Call]] = defaultdict(list)
    for call in stub.calls:
        for record in call.records:
            by_item[text(record)].append(int(record["dynamodb"]["NewImage"]["number"]["N"]))
        for item_id in set(texts(call)):
            runs[item_id].append(call)
    assert by_item == {f"item-{item}": list(range(item, CHANGES, ITEMS)) for item in range(ITEMS)}
    assert max(len(call.records) for call in stub.calls) <= 5
    for earlier, later in chain.from_iterable(map(pairwise, runs.values())):
        assert earlier.ended is not None
        assert earlier.ended <= later.started


@pytest.mark.proves("StartingPosition")
def test_latest_brings_what_comes_after_enabled_also_over_restarts(
    ministack_url: str, tmp_path: Path
) -> None:
    stream = stream_of(new_table(ministack_url))
    put(ministack_url, stream, "old")
    with function() as stub:
        latest = mapping(stream, "f", StartingPosition="LATEST")
        settings = config(ministack_url, {"f": stub}, latest)
        with poller(settings, folder=tmp_path) as running:
            put(ministack_url, stream, "at once")
            stub.wait(lambda: len(stub.succeeded) >= 1)
            assert running.stop() == 0
        put(ministack_url, stream, "while down")
        with poller(settings, folder=tmp_path) as running:
            stub.wait(lambda: len(stub.succeeded) >= 2)
            running.kill()
        put(ministack_url, stream, "after a kill")
        with poller(settings, folder=tmp_path):
            stub.wait(lambda: "after a kill" in map(text, stub.succeeded))

    # The kill may have come before the position was stored.
    came = [text(record) for record in stub.records]
    assert list(dict.fromkeys(came)) == ["at once", "while down", "after a kill"]
    assert came.count("at once") == came.count("after a kill") == 1
