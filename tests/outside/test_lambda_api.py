"""Lambda's API as boto3 sees it: what each operation replies, field by field as recorded on AWS."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.functions import function
from tests.outside.flows import Deliveries, Item, to_queue, to_stream, to_table
from tests.outside.lambda_api import (
    ACCOUNT,
    MAPPINGS,
    NOBODY,
    NOT_FOUND,
    REGION,
    TAGS,
    await_gone,
    await_state,
    function_arn,
    invalid,
    mapping_arn,
    queue_mapping,
    raw,
    refused,
    stream_mapping,
    told,
    user_error,
    uuids,
    violation,
)
from tests.outside.poller_process import Running, poller
from tests.servers import aws, new_queue, new_stream, new_table
from tests.waiting import eventually

FUNCTIONS = ("orders", "other", "orders:1", "orders:2", "orders:myalias")
START_AND_NULL = (
    "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: "
    "Member must not be null."
)
START_AND_INVALID = (
    "1 validation error detected: Value 'invalid' at 'startingPosition' failed to satisfy "
    "constraint: Member must satisfy enum value set: [LATEST, AT_TIMESTAMP, TRIM_HORIZON]"
)
WINDOW_WANTED = (
    "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than "
    "10"
)
NO_QUEUE = (
    "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. "
    "SQS Error Message: The specified queue does not exist."
)


@dataclass(frozen=True, slots=True)
class World:
    """A poller with functions and no mappings; `flows` has what each function got."""

    url: str
    running: Running
    flows: Deliveries

    @property
    def api(self) -> Any:
        return aws("lambda", self.running.address)

    def create(self, source: str, name: str = "orders", **settings: Any) -> dict[str, Any]:
        """The mapping that the API says it has made."""
        if ":sqs:" not in source:
            settings = {"StartingPosition": "TRIM_HORIZON", **settings}
        reply = self.api.create_event_source_mapping(
            EventSourceArn=source, FunctionName=name, **settings
        )
        return told(reply, 202)

    def update(self, made: dict[str, Any], **settings: Any) -> dict[str, Any]:
        return told(self.api.update_event_source_mapping(UUID=made["UUID"], **settings), 202)

    def delete(self, made: dict[str, Any]) -> dict[str, Any]:
        return told(self.api.delete_event_source_mapping(UUID=made["UUID"]), 202)

    def get(self, made: dict[str, Any]) -> dict[str, Any]:
        return told(self.api.get_event_source_mapping(UUID=made["UUID"]), 200)


@pytest.fixture(scope="module")
def world(ministack_url: str) -> Iterator[World]:
    flows = Deliveries()
    with function(flows) as stub:
        config = {
            "aws": {"endpoint_url": ministack_url, "region": REGION},
            "functions": {name: {"url": stub.url + name.replace(":", "-")} for name in FUNCTIONS},
        }
        with poller(config) as running:
            yield World(ministack_url, running, flows)
            running.kill()  # nothing is to be learnt from long polls that end
            assert "Traceback" not in running.log()


def items(*numbers: int) -> list[Item]:
    return [Item("key", number) for number in numbers]


# Creating, and what becomes of it.


@pytest.mark.proves("D01", "D04", "StartingPosition")
def test_a_minimal_mapping_of_a_kinesis_stream_has_18_fields(world: World) -> None:
    stream = new_stream(world.url)
    made = world.create(stream.arn, StartingPosition="LATEST")
    expected = stream_mapping(made, stream.arn, "orders", StartingPosition="LATEST")
    assert made == {**expected, "State": "Creating"}
    assert len(made) == 18
    assert await_state(world.api, made["UUID"], "Enabled") == {**made, "State": "Enabled"}


@pytest.mark.proves("D02", "D04")
def test_a_minimal_mapping_of_a_table_has_the_same_18_fields(world: World) -> None:
    table = new_table(world.url)
    made = world.create(table.stream_arn)
    assert made == stream_mapping(made, table.stream_arn, "orders", State="Creating")
    assert len(made) == 18
    assert await_state(world.api, made["UUID"], "Enabled") == {**made, "State": "Enabled"}


@pytest.mark.proves("D03", "D04")
@pytest.mark.parametrize("fifo", [False, True])
def test_a_minimal_mapping_of_a_queue_has_10_fields(world: World, fifo: bool) -> None:
    queue = new_queue(world.url, fifo=fifo)
    made = world.create(queue.arn)
    assert made == queue_mapping(made, queue.arn, "orders", State="Creating")
    assert len(made) == 10
    assert await_state(world.api, made["UUID"], "Enabled") == {**made, "State": "Enabled"}


ALL_OF_A_STREAM = {
    "BatchSize": 7,
    "BisectBatchOnFunctionError": True,
    "FunctionResponseTypes": ["ReportBatchItemFailures"],
    "MaximumBatchingWindowInSeconds": 3,
    "MaximumRecordAgeInSeconds": 60,
    "MaximumRetryAttempts": 2,
    "MetricsConfig": {"Metrics": ["EventCount"]},
    "ParallelizationFactor": 5,
}


@pytest.mark.proves("R1.1.created-tags", *(f"Kinesis.{name}" for name in ALL_OF_A_STREAM))
def test_every_setting_of_a_stream_is_echoed_and_tags_are_listed_apart(world: World) -> None:
    stream, failures = new_stream(world.url), new_queue(world.url)
    settings = {
        **ALL_OF_A_STREAM,
        "DestinationConfig": {"OnFailure": {"Destination": failures.arn}},
    }
    made = world.create(stream.arn, **settings, Tags={"team": "orders"}, Enabled=True)
    assert made == stream_mapping(made, stream.arn, "orders", State="Creating", **settings)
    tags = world.api.list_tags(Resource=mapping_arn(made["UUID"]))
    assert told(tags, 200) == {"Tags": {"team": "orders"}}


@pytest.mark.proves("S1.3.slash", "Kinesis.StartingPositionTimestamp")
def test_a_timestamp_is_echoed_as_the_number_that_was_given(world: World) -> None:
    stream = new_stream(world.url)
    start = {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 1700000000.25}
    body = json.dumps({"EventSourceArn": stream.arn, "FunctionName": "orders", **start})
    reply = raw(world.running.address, "POST", f"{MAPPINGS}/", body.encode())
    assert reply.status == 202
    assert reply.json["StartingPositionTimestamp"] == 1700000000.25
    assert isinstance(reply.json["LastModified"], float)


@pytest.mark.proves("D05", "Enabled")
def test_a_fifo_queue_that_is_enabled_later_delivers_what_came_meanwhile(world: World) -> None:
    queue = new_queue(world.url, fifo=True)
    made = world.create(queue.arn, "other", Enabled=False, BatchSize=1)
    expected = queue_mapping(made, queue.arn, "other", State="Disabled", BatchSize=1)
    assert made == expected
    fifo = [Item("fifo", number) for number in range(3)]
    to_queue(world.url, queue)(fifo)
    reply = world.update(made, Enabled=True)
    assert reply == {**expected, "LastModified": reply["LastModified"], "State": "Enabling"}
    assert await_state(world.api, made["UUID"], "Enabled") == {**reply, "State": "Enabled"}
    world.flows.await_all("other", fifo)


@pytest.mark.proves("D06", "D59", "Enabled")
def test_a_disabled_stream_is_not_read_and_goes_on_where_it_stopped(world: World) -> None:
    stream, probe = new_stream(world.url), new_stream(world.url)
    made = world.create(stream.arn, "orders:2", BatchSize=1)
    probed = world.create(probe.arn, "orders:1")
    assert world.get(made)["LastProcessingResult"] == "No records processed"
    to_stream(world.url, stream)(items(0))
    world.flows.await_all("orders-2", items(0))
    expected = stream_mapping(
        made, stream.arn, "orders:2", BatchSize=1, LastProcessingResult="OK", State="Enabled"
    )
    done = await_state(world.api, made["UUID"], "Enabled")
    assert done == expected

    reply = world.update(made, Enabled=False)
    assert reply["LastModified"] > made["LastModified"]
    stopped = {**expected, "LastModified": reply["LastModified"]}
    assert reply == {**stopped, "State": "Disabling"}
    assert await_state(world.api, made["UUID"], "Disabled") == {**stopped, "State": "Disabled"}
    to_stream(world.url, stream)(items(1, 2))
    to_stream(world.url, probe)(items(9))
    world.flows.await_all("orders-1", items(9))
    assert world.flows.missing("orders-2", items(0, 1, 2)) == set(items(1, 2))

    world.update(made, Enabled=True)
    world.flows.await_all("orders-2", items(0, 1, 2))
    assert world.flows.repeats("orders-2") == {}
    world.delete(made)
    world.delete(probed)


@pytest.mark.proves("D07")
def test_deleting_replies_with_the_whole_mapping_that_is_soon_gone(world: World) -> None:
    table = new_table(world.url)
    made = world.create(table.stream_arn)
    await_state(world.api, made["UUID"], "Enabled")
    assert world.delete(made) == {**made, "State": "Deleting"}
    await_gone(world.api, made["UUID"])
    gone = user_error(404, "ResourceNotFoundException", NOT_FOUND)
    assert refused(world.api.delete_event_source_mapping, UUID=made["UUID"]) == gone
    assert made["UUID"] not in uuids(world.api)


@pytest.mark.proves("D08")
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_an_unknown_uuid_is_a_404_with_the_members_type_and_message(
    world: World, method: str
) -> None:
    call = {
        "GET": world.api.get_event_source_mapping,
        "PUT": world.api.update_event_source_mapping,
        "DELETE": world.api.delete_event_source_mapping,
    }[method]
    error = user_error(404, "ResourceNotFoundException", NOT_FOUND)
    assert refused(call, UUID=NOBODY) == error
    reply = raw(world.running.address, method, f"{MAPPINGS}/{NOBODY}")
    assert reply.json == {"Type": "User", "Message": NOT_FOUND}
    assert reply.headers["x-amzn-errortype"] == "ResourceNotFoundException"
    uuid.UUID(reply.headers["x-amzn-requestid"])


# What is refused.


@pytest.mark.proves("D09")
def test_without_a_source_it_is_unrecognized(world: World) -> None:
    create = world.api.create_event_source_mapping
    for name in ("orders", "unknown"):
        assert refused(create, FunctionName=name) == invalid("Unrecognized event source.")


@pytest.mark.proves("D10")
def test_the_function_is_looked_at_before_the_source(world: World) -> None:
    create = world.api.create_event_source_mapping
    for service, name in (("sqs", "missing"), ("kinesis", "stream/missing")):
        arn = f"arn:aws:{service}:{REGION}:{ACCOUNT}:{name}"
        start = {} if service == "sqs" else {"StartingPosition": "LATEST"}
        reply = refused(create, EventSourceArn=arn, FunctionName="unknown", **start)
        assert reply == invalid("Function does not exist")


@pytest.mark.proves("D10", "R1.2.queue-destination")
def test_the_request_is_looked_at_before_the_function(world: World) -> None:
    reply = refused(
        world.api.create_event_source_mapping,
        EventSourceArn=f"arn:aws:sqs:{REGION}:{ACCOUNT}:missing",
        FunctionName="unknown",
        DestinationConfig={
            "OnSuccess": {"Destination": f"arn:aws:sqs:{REGION}:{ACCOUNT}:elsewhere"}
        },
    )
    unsupported = "Unsupported DestinationConfig parameter for given event source mapping type."
    assert reply == invalid(unsupported)


@pytest.mark.proves("D11")
@pytest.mark.parametrize(
    "source", ["kinesis:{}:stream/missing", "dynamodb:{}:table/missing/stream/2025-02-22T03:03:25"]
)
@pytest.mark.parametrize("start", ["LATEST", "TRIM_HORIZON"])
def test_a_stream_that_is_missing_is_refused(world: World, source: str, start: str) -> None:
    arn = f"arn:aws:{source.format(f'{REGION}:{ACCOUNT}')}"
    reply = refused(
        world.api.create_event_source_mapping,
        EventSourceArn=arn,
        FunctionName="orders",
        StartingPosition=start,
    )
    assert reply == invalid(f"Stream not found: {arn}")
    assert uuids(world.api, EventSourceArn=arn) == []


@pytest.mark.proves("D12")
def test_a_queue_that_is_missing_is_refused_in_the_words_of_sqs(world: World) -> None:
    reply = refused(
        world.api.create_event_source_mapping,
        EventSourceArn=f"arn:aws:sqs:{REGION}:{ACCOUNT}:missing",
        FunctionName="orders",
    )
    assert reply == invalid(NO_QUEUE)


@pytest.mark.proves("D13", "D14", "StartingPosition", "R1.2.dynamodb-timestamp")
@pytest.mark.parametrize("kind", ["kinesis", "dynamodb"])
def test_a_stream_needs_a_starting_position_that_there_is(world: World, kind: str) -> None:
    create = world.api.create_event_source_mapping
    arn = new_stream(world.url).arn if kind == "kinesis" else new_table(world.url).stream_arn
    given = {"EventSourceArn": arn, "FunctionName": "orders"}
    assert refused(create, **given) == invalid(START_AND_NULL)
    assert refused(create, **given, StartingPosition="invalid") == violation(START_AND_INVALID)
    if kind == "dynamodb":
        timed = {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 1.0}
        unsupported = f"Unsupported starting position for arn type: {arn}"
        assert refused(create, **given, **timed) == invalid(unsupported)


@pytest.mark.proves("D15")
@pytest.mark.parametrize("kind", ["kinesis", "dynamodb"])
def test_a_second_mapping_of_a_stream_and_a_function_is_a_conflict(world: World, kind: str) -> None:
    arn = new_stream(world.url).arn if kind == "kinesis" else new_table(world.url).stream_arn
    made = world.create(arn)
    message = (
        f'The event source arn (" {arn} ") and function (" orders ") provided mapping already '
        f"exists. Please update or delete the existing mapping with UUID {made['UUID']}"
    )
    for name in ("orders", "orders:$LATEST", function_arn("orders")):
        reply = refused(
            world.api.create_event_source_mapping,
            EventSourceArn=arn,
            FunctionName=name,
            StartingPosition="LATEST",
        )
        assert reply == user_error(409, "ResourceConflictException", message)
    other = world.create(arn, "other")
    assert uuids(world.api, EventSourceArn=arn) == [made["UUID"], other["UUID"]]


@pytest.mark.proves("D16")
def test_a_second_mapping_of_a_queue_and_a_function_is_a_conflict(world: World) -> None:
    arn = new_queue(world.url).arn
    made = world.create(arn)
    message = (
        f'An event source mapping with SQS arn (" {arn} ") and function (" orders ") already '
        f"exists. Please update or delete the existing mapping with UUID {made['UUID']}"
    )
    conflict = user_error(409, "ResourceConflictException", message)
    create = world.api.create_event_source_mapping
    assert refused(create, EventSourceArn=arn, FunctionName="orders") == conflict
    other = world.create(arn, "other")
    await_state(world.api, other["UUID"], "Enabled")
    update = world.api.update_event_source_mapping
    assert refused(update, UUID=other["UUID"], FunctionName="orders") == conflict
    assert world.get(other)["FunctionArn"] == function_arn("other")


@pytest.mark.proves("D17", "BatchSize", "MaximumBatchingWindowInSeconds")
def test_a_large_batch_of_a_queue_needs_a_window(world: World) -> None:
    api, queue = world.api, new_queue(world.url)
    given = {"EventSourceArn": queue.arn, "FunctionName": "orders"}
    wanted = invalid(WINDOW_WANTED)
    assert refused(api.create_event_source_mapping, **given, BatchSize=11) == wanted
    made = world.create(queue.arn, Enabled=False)
    update = api.update_event_source_mapping
    assert refused(update, UUID=made["UUID"], BatchSize=11) == wanted
    assert world.get(made) == made
    settings = {"BatchSize": 11, "MaximumBatchingWindowInSeconds": 1}
    reply = world.update(made, **settings)
    changed = {**made, **settings, "LastModified": reply["LastModified"]}
    assert reply == {**changed, "State": "Updating"}
    assert await_state(api, made["UUID"], "Disabled") == changed
    assert refused(update, UUID=made["UUID"], MaximumBatchingWindowInSeconds=0) == wanted
    large = world.create(new_queue(world.url).arn, **{**settings, "BatchSize": 10_000})
    assert large["BatchSize"] == 10_000


@pytest.mark.proves("D19", "FilterCriteria")
def test_an_empty_list_of_filters_is_no_criteria(world: World) -> None:
    table = new_table(world.url)
    made = world.create(table.stream_arn, FilterCriteria={"Filters": []}, StartingPosition="LATEST")
    expected = stream_mapping(made, table.stream_arn, "orders", StartingPosition="LATEST")
    assert made == {**expected, "State": "Creating"}


# Functions and lists.

FORMS = {
    "orders": "orders",
    f"{ACCOUNT}:function:orders:$LATEST": "orders:$LATEST",
    f"{ACCOUNT}:function:orders:1": "orders:1",
    f"{ACCOUNT}:function:orders:myalias": "orders:myalias",
    function_arn("orders"): "orders",
    function_arn("orders:1"): "orders:1",
    function_arn("orders:myalias"): "orders:myalias",
    "orders:$LATEST": "orders:$LATEST",
    "orders:1": "orders:1",
}


@pytest.mark.proves("D20", "FunctionName")
def test_the_function_is_shown_with_the_qualifier_that_was_given(world: World) -> None:
    for form, name in FORMS.items():
        queue = new_queue(world.url)
        made = world.create(queue.arn, form)
        assert made == queue_mapping(made, queue.arn, name, State="Creating")
        same = world.api.list_event_source_mappings(FunctionName=form, EventSourceArn=queue.arn)
        assert [each["UUID"] for each in same["EventSourceMappings"]] == [made["UUID"]]
        assert world.delete(made)["FunctionArn"] == function_arn(name)


@pytest.mark.proves("D20")
@pytest.mark.parametrize(
    "name",
    [
        "orders:3",
        "order",
        "123456789012:function:orders",
        f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:orders",
    ],
)
def test_what_is_not_declared_does_not_exist(world: World, name: str) -> None:
    reply = refused(
        world.api.create_event_source_mapping,
        EventSourceArn=new_queue(world.url).arn,
        FunctionName=name,
    )
    assert reply == invalid("Function does not exist")


@pytest.mark.proves("D21")
def test_lists_are_of_a_function_a_source_or_both(world: World) -> None:
    queue, stream = new_queue(world.url).arn, new_stream(world.url).arn
    made = [
        world.create(queue, "orders:myalias", Enabled=False),
        world.create(stream, "orders:myalias", Enabled=False),
        world.create(queue, "other", Enabled=False),
    ]
    first, second, third = (each["UUID"] for each in made)
    api = world.api
    assert set(uuids(api)) >= {first, second, third}
    assert uuids(api, EventSourceArn=queue) == [first, third]
    assert uuids(api, EventSourceArn=stream) == [second]
    assert uuids(api, EventSourceArn=queue, FunctionName="orders:myalias") == [first]
    assert uuids(api, EventSourceArn=queue, FunctionName="orders") == []
    of_alias = uuids(api, FunctionName=function_arn("orders:myalias"))
    assert of_alias[-2:] == [first, second]
    assert third not in of_alias
    await_state(api, second, "Disabled")
    whole = told(api.list_event_source_mappings(EventSourceArn=stream), 200)
    assert whole == {"EventSourceMappings": [world.get(made[1])]}
    for unknown in (
        {"FunctionName": "unknown"},
        {"EventSourceArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:unknown"},
        {"EventSourceArn": queue, "FunctionName": "unknown"},
    ):
        reply = told(api.list_event_source_mappings(**unknown), 200)
        assert reply == {"EventSourceMappings": []}


@pytest.mark.proves("D58", "FunctionName")
def test_an_update_of_the_function_sends_later_messages_to_it_only(world: World) -> None:
    queue = new_queue(world.url)
    made = world.create(queue.arn, "orders:1")
    await_state(world.api, made["UUID"], "Enabled")
    to_queue(world.url, queue)([Item("before", 0)])
    world.flows.await_all("orders-1", [Item("before", 0)])
    reply = world.update(made, FunctionName="orders:2")
    expected = queue_mapping(reply, queue.arn, "orders:2")
    assert reply == {**expected, "State": "Updating"}
    assert await_state(world.api, made["UUID"], "Enabled") == {**expected, "State": "Enabled"}
    later = [Item("later", number) for number in range(20)]
    to_queue(world.url, queue)(later)
    world.flows.await_all("orders-2", later)
    assert world.flows.missing("orders-1", later) == set(later)


@pytest.mark.proves("D59")
def test_the_last_result_of_a_table_is_shown_once_a_batch_has_run(world: World) -> None:
    table = new_table(world.url)
    made = world.create(table.stream_arn, "other")
    enabled = await_state(world.api, made["UUID"], "Enabled")
    assert enabled["LastProcessingResult"] == "No records processed"
    to_table(world.url, table)([Item("table", 0)])
    world.flows.await_all("other", [Item("table", 0)])
    eventually(lambda: world.get(made)["LastProcessingResult"] == "OK")


# Tags.


@pytest.mark.proves("Tags", "R1.1.tags")
def test_tags_come_and_go_as_recorded(world: World) -> None:
    api, made = world.api, world.create(new_queue(world.url).arn)
    arn = mapping_arn(made["UUID"])

    def tags() -> dict[str, str]:
        found: dict[str, str] = told(api.list_tags(Resource=arn), 200)["Tags"]
        return found

    assert tags() == {}
    assert told(api.tag_resource(Resource=arn, Tags={"A": "tag-a"}), 204) == {}
    assert tags() == {"A": "tag-a"}
    api.tag_resource(Resource=arn, Tags={"B": "tag-b", "C": "tag-c"})
    api.tag_resource(Resource=arn, Tags={"C": "tag-c-newsuffix", "D": "tag-d"})
    assert tags() == {"A": "tag-a", "B": "tag-b", "C": "tag-c-newsuffix", "D": "tag-d"}
    assert told(api.untag_resource(Resource=arn, TagKeys=["A"]), 204) == {}
    api.untag_resource(Resource=arn, TagKeys=["B", "C"])
    assert tags() == {"D": "tag-d"}
    assert told(api.untag_resource(Resource=arn, TagKeys=["unknown"]), 204) == {}
    api.untag_resource(Resource=arn, TagKeys=["unknown", "D"])
    assert tags() == {}
    assert world.get(made)["LastModified"] == made["LastModified"]


@pytest.mark.proves("Tags", "R1.2.unknown-tags", "R1.2.bad-tags")
def test_tags_of_what_is_not_there_are_refused_as_recorded(world: World) -> None:
    api, arn = world.api, mapping_arn(NOBODY)
    calls: list[tuple[Any, dict[str, Any]]] = [
        (api.list_tags, {}),
        (api.tag_resource, {"Tags": {"A": "a"}}),
        (api.untag_resource, {"TagKeys": ["A"]}),
    ]
    missing = user_error(404, "ResourceNotFoundException", f"Event source mapping not found: {arn}")
    for call, parameters in calls:
        assert refused(call, Resource=arn, **parameters) == missing
        for wrong in (f"{arn}:alias", arn.replace("event-source-mapping", "foobar")):
            reply = refused(call, Resource=wrong, **parameters)
            message = reply["Error"]["Message"]
            assert message.startswith(
                f"1 validation error detected: Value '{wrong}' at 'resource' failed to satisfy "
                "constraint: Member must satisfy regular expression pattern: arn:(aws[a-zA-Z-]*):"
            )
            assert reply == violation(message)


def test_tags_have_a_path_with_the_arn_as_it_is_and_in_percent_escapes(world: World) -> None:
    made = world.create(new_queue(world.url).arn, Tags={"a b": "ä"}, Enabled=False)
    arn = mapping_arn(made["UUID"])
    for path in (arn, arn.replace(":", "%3A"), f"{arn}/"):
        assert raw(world.running.address, "GET", f"{TAGS}/{path}").json == {"Tags": {"a b": "ä"}}
