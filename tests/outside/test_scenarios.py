"""Scenarios whose point is when something happens, or what was read before: mappings made through
the API, between sources and functions that are watched from both sides."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.faults import Rewrite, faulty, refused
from tests.functions import Answer, errored, function
from tests.outside.by_api import api, changed, created, deleted
from tests.outside.lambda_api import listed
from tests.outside.poller_process import poller
from tests.outside.scenes import (
    Plan,
    Scene,
    config,
    document,
    fail_on,
    mapping,
    put,
    read,
    staged,
    stream_of,
    texts,
    timestamp_of,
)
from tests.servers import aws, new_queue, new_stream, new_table

WINDOW = 5
RECORD_AGE_MAX = 60  # the least that AWS takes
AGE = timedelta(seconds=80)


@pytest.mark.proves("D35")
def test_the_shard_moves_on_after_the_document_of_its_poison(moto_url: str) -> None:
    stream, documents = new_stream(moto_url), new_queue(moto_url)
    put(moto_url, stream, "poison", "good")
    with faulty(moto_url) as proxy, function(fail_on("poison")) as stub:
        settings = config(moto_url, {"f": stub})
        settings["aws"]["endpoints"] = {"sqs": proxy.url}
        with poller(settings) as running:
            created(
                running,
                **mapping(stream, "f", BatchSize=1, MaximumRetryAttempts=0),
                DestinationConfig={"OnFailure": {"Destination": documents.arn}},
            )
            stub.wait(lambda: len(stub.succeeded) == 1)
            running.kill()

        (sent_at,) = (call.at for call in proxy.calls if call.operation == "SendMessage")
    poison, good = stub.calls
    assert [texts(poison), texts(good)] == [["poison"], ["good"]]
    assert poison.ended is not None
    assert poison.ended < sent_at < good.started


@pytest.mark.proves("S3.2.reread")
def test_what_is_retried_does_not_need_the_stream_any_more(moto_url: str) -> None:
    stream = new_stream(moto_url)
    put(moto_url, stream, "a", "b")
    with (
        faulty(moto_url) as proxy,
        function(lambda call: errored() if call.number < 2 else Answer()) as stub,
        poller(config(proxy.url, {"f": stub})) as running,
    ):
        created(running, **mapping(stream, "f", BatchSize=2))
        stub.wait(lambda: len(stub.calls) > 0)
        for operation in ("GetRecords", "GetShardIterator"):
            gone = refused("ResourceNotFoundException", "trimmed")
            proxy.inject(gone, on=operation, times=None)
        stub.wait(lambda: len(stub.succeeded) == 2)
        running.kill()

    assert [texts(call) for call in stub.calls] == [["a", "b"]] * 3


@pytest.mark.proves("S1.2.qualifiers")
def test_a_source_may_have_a_mapping_for_each_alias_of_a_function(moto_url: str) -> None:
    stream, settings = new_stream(moto_url), config(moto_url, {})
    put(moto_url, stream, "a")
    names = ("f", "f:blue", "f:2")
    with function() as stub:
        settings["functions"] = {name: {"url": stub.url + name.replace(":", "-")} for name in names}
        with poller(settings) as running:
            for name in names:
                created(running, **mapping(stream, name))
            stub.wait(lambda: len(stub.succeeded) == len(names))
            running.kill()

    assert {call.path for call in stub.calls} == {"/f", "/f-blue", "/f-2"}


@pytest.mark.proves("R1.1.scaling-shown")
def test_how_a_queue_is_scaled_is_shown_while_it_is_set(ministack_url: str) -> None:
    scaled: dict[str, Any] = {"ScalingConfig": {"MaximumConcurrency": 2}}
    polled: dict[str, Any] = {"ProvisionedPollerConfig": {"MinimumPollers": 2, "MaximumPollers": 3}}
    with function() as stub, poller(config(ministack_url, {"f": stub})) as running:
        request = {"EventSourceArn": new_queue(ministack_url).arn, "FunctionName": "f"}
        uuid = created(running, **request, Enabled=False, **scaled)
        for update, shown in (
            ({}, scaled),
            ({"ScalingConfig": {}}, {}),
            (polled, polled),
            ({"ProvisionedPollerConfig": {}}, {}),
        ):
            described = changed(running, uuid, **update)
            assert {name: described[name] for name in described if "Config" in name} == shown


@pytest.mark.proves("R1.1.table-gone")
def test_a_mapping_outlives_its_table(ministack_url: str) -> None:
    table = new_table(ministack_url)
    with function() as stub, poller(config(ministack_url, {"f": stub})) as running:
        uuid = created(running, **mapping(stream_of(table), "f"))
        aws("dynamodb", ministack_url).delete_table(TableName=table.name)

        assert [each["State"] for each in listed(api(running))] == ["Enabled"]
        deleted(running, uuid)


# DynamoDB, beside what is shown for Kinesis.


def aged(reply: Any) -> Any:
    """The reply, with the records of the item "old" older than they are."""
    for record in reply.get("Records", ()):
        if record["dynamodb"]["Keys"]["id"]["S"] == "old":
            record["dynamodb"]["ApproximateCreationDateTime"] -= AGE.total_seconds()
    return reply


PLANS = {
    "window": Plan(
        settings={"BatchSize": 100, "MaximumBatchingWindowInSeconds": WINDOW}, view="KEYS_ONLY"
    ),
    "aged": Plan(
        settings={"MaximumRecordAgeInSeconds": RECORD_AGE_MAX, "MaximumRetryAttempts": 0},
        records=("old", "b", "c"),
        failures_to="sqs",
        view="KEYS_ONLY",
    ),
}


@pytest.fixture(scope="module")
def tables(ministack_url: str) -> Iterator[dict[str, Scene]]:
    with faulty(ministack_url) as proxy:
        proxy.inject(Rewrite(aged), on="GetRecords", times=None)
        endpoints = {"dynamodbstreams": proxy.url}
        with staged(ministack_url, PLANS, by_api=True, endpoints=endpoints) as scenes:
            yield scenes


@pytest.mark.proves("DynamoDB.MaximumBatchingWindowInSeconds")
def test_a_window_collects_changes_of_a_table_until_it_is_over(tables: dict[str, Scene]) -> None:
    scene = tables["window"]
    for changes in (["a"], ["b", "c"]):
        before = scene.metric("poller_records_polled_total")
        scene.put(*changes)
        wanted = before + len(changes)
        scene.until(lambda wanted=wanted: scene.metric("poller_records_polled_total") == wanted)

    assert scene.after(1) == [["a", "b", "c"]]
    assert scene.metric("poller_batches_closed_total", reason="window") == 1


@pytest.mark.proves("DynamoDB.MaximumRecordAgeInSeconds")
def test_a_change_that_is_too_old_is_recorded_alone_and_never_sent(
    tables: dict[str, Scene],
) -> None:
    scene = tables["aged"]

    assert scene.after(1) == [["b", "c"]]
    (found,) = scene.documents()
    old = read(scene.url, scene.stream)[0]
    old["dynamodb"]["ApproximateCreationDateTime"] -= AGE
    assert found == document(
        scene,
        timestamp_of(found),
        [old],
        request_id=str(uuid.UUID(json.loads(found)["requestContext"]["requestId"])),
        invocations=1,
        condition="RecordAgeExceeded",
    )
