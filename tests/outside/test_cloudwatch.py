"""Mappings with MetricsConfig publish to CloudWatch, and nothing depends on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.functions import Answer, errored, function
from tests.outside.poller_process import poller
from tests.outside.scenes import config, mapping, put
from tests.outside.sqs_lanes import send
from tests.programs import free_port
from tests.servers import aws, new_queue, new_stream
from tests.waiting import eventually

pytestmark = pytest.mark.proves("MetricsConfig")

NAMESPACE = "Poller/Lambda"
PUBLISHED = {"MetricsConfig": {"Metrics": ["EventCount"]}}
DAY = timedelta(days=1)


def statistics(url: str, uuid: str, metric: str) -> dict[str, float]:
    """Of all that CloudWatch was told of this metric of a mapping."""
    now = datetime.now(UTC)
    (point,) = aws("cloudwatch", url).get_metric_statistics(
        Namespace=NAMESPACE,
        MetricName=metric,
        Dimensions=[{"Name": "EventSourceMappingUUID", "Value": uuid}],
        StartTime=now - DAY,
        EndTime=now + DAY,
        Period=int((2 * DAY).total_seconds()),
        Statistics=["Sum", "Minimum", "Maximum"],
    )["Datapoints"]
    return {name: point[name] for name in ("Sum", "Minimum", "Maximum")}


def sums(url: str, uuid: str) -> dict[str, float]:
    """The sums of everything that CloudWatch was told of a mapping, but for the iterator age."""
    found = aws("cloudwatch", url).list_metrics(
        Namespace=NAMESPACE, Dimensions=[{"Name": "EventSourceMappingUUID", "Value": uuid}]
    )["Metrics"]
    names = {each["MetricName"] for each in found} - {"IteratorAge"}
    return {name: statistics(url, uuid, name)["Sum"] for name in names}


def uuids(running: Any) -> Mapping[str, str]:
    """The mappings by function."""
    return {each["function"]: uuid for uuid, each in running.lag()["mappings"].items()}


@pytest.mark.proves("S11.1.cloudwatch")
def test_cloudwatch_is_told_of_mappings_that_ask_for_it_and_of_no_others(moto_url: str) -> None:
    stream, queue = new_stream(moto_url), new_queue(moto_url)
    put(moto_url, stream, "a", "b", "c")
    send(moto_url, queue, "m", "n")
    with (
        function(lambda call: errored() if call.number == 0 else Answer()) as failing,
        function() as silent,
        function() as jobs,
    ):
        settings = config(
            moto_url,
            {"failing": failing, "silent": silent, "jobs": jobs},
            mapping(stream, "failing", BatchSize=2, MaximumRetryAttempts=0, **PUBLISHED),
            mapping(stream, "silent"),
            {"EventSourceArn": queue.arn, "FunctionName": "jobs", **PUBLISHED},
        )
        with poller(settings) as running:
            failing.wait(lambda: len(failing.succeeded) == 1)
            silent.wait(lambda: len(silent.succeeded) == 3)
            jobs.wait(lambda: len(jobs.succeeded) == 2)
            names = uuids(running)
            assert running.stop() == 0
    assert sums(moto_url, names["failing"]) == {
        "PolledEventCount": 3,
        "FilteredOutEventCount": 0,
        "InvokedEventCount": 3,
        "FailedInvokeEventCount": 2,
        "DroppedEventCount": 2,
    }
    age = statistics(moto_url, names["failing"], "IteratorAge")
    assert 0 <= age["Minimum"] <= age["Maximum"] <= age["Sum"]
    assert sums(moto_url, names["jobs"]) == {
        "PolledEventCount": 2,
        "FilteredOutEventCount": 0,
        "InvokedEventCount": 2,
        "FailedInvokeEventCount": 0,
        "DeletedEventCount": 2,
    }
    assert sums(moto_url, names["silent"]) == {}


def test_a_cloudwatch_that_is_not_there_is_one_warning_and_holds_nothing_up(moto_url: str) -> None:
    stream = new_stream(moto_url)
    put(moto_url, stream, "a", "b")
    with function() as stub:
        settings = config(moto_url, {"f": stub}, mapping(stream, "f", **PUBLISHED))
        settings["aws"]["endpoints"] = {"cloudwatch": f"http://127.0.0.1:{free_port()}"}
        with poller(settings, "--log-format", "json") as running:
            stub.wait(lambda: len(stub.succeeded) == 2)
            assert running.stop() == 0
            lines = [json.loads(line) for line in running.log().splitlines() if line[:1] == "{"]
    warnings = [line for line in lines if line["level"] == "warning"]
    assert [line["message"] for line in warnings] == [
        "the last metrics did not reach CloudWatch and are lost"
    ]
    assert "Could not connect" in warnings[0]["error"]


def test_the_api_takes_the_setting_shows_it_and_follows_its_changes(moto_url: str) -> None:
    stream = new_stream(moto_url)
    with function() as stub, poller(config(moto_url, {"f": stub})) as running:
        api = aws("lambda", running.address)
        with pytest.raises(api.exceptions.InvalidParameterValueException) as refused:
            api.create_event_source_mapping(
                **mapping(stream, "f", MetricsConfig={"Metrics": ["ErrorCount"]})
            )
        assert refused.value.response["Error"]["Message"] == (
            "Unsupported metric ErrorCount for given event source mapping type."
        )
        created = api.create_event_source_mapping(**mapping(stream, "f", **PUBLISHED))
        uuid = created["UUID"]

        def state() -> dict[str, Any]:
            return dict(api.get_event_source_mapping(UUID=uuid))

        assert created["MetricsConfig"] == PUBLISHED["MetricsConfig"]
        put(moto_url, stream, "published")
        stub.wait(lambda: len(stub.succeeded) == 1)
        api.update_event_source_mapping(UUID=uuid, MetricsConfig={"Metrics": []})
        eventually(lambda: state()["State"] == "Enabled" or None)
        assert "MetricsConfig" not in state()
        put(moto_url, stream, "not published")
        stub.wait(lambda: len(stub.succeeded) == 2)
        api.update_event_source_mapping(UUID=uuid, **PUBLISHED)
        eventually(lambda: state()["State"] == "Enabled" or None)
        put(moto_url, stream, "published again")
        stub.wait(lambda: len(stub.succeeded) == 3)
        assert running.stop() == 0
    assert sums(moto_url, uuid)["InvokedEventCount"] == 2
