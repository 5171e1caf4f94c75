"""FilterCriteria in front of real servers, and through Lambda's API (spec 9; recorded 1.7)."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.functions import Function, function
from tests.outside.poller_process import write_config
from tests.outside.sqs_lanes import Lanes, Wanted, lanes
from tests.outside.watched import Mapped, command, config, watched
from tests.servers import aws, new_queue, new_stream, new_table

FROM_THE_START = {"StartingPosition": "TRIM_HORIZON"}
IDLE = ("--until-idle", "2")
INVALID = "Invalid filter pattern definition."


def criteria(*patterns: Any) -> dict[str, Any]:
    """`patterns`: texts, or what they are in JSON."""
    texts = [each if isinstance(each, str) else json.dumps(each) for each in patterns]
    return {"FilterCriteria": {"Filters": [{"Pattern": text} for text in texts]}}


def delivered(settings: dict[str, Any], folder: Path) -> None:
    """Run poller until it is idle; a second time in the same folder continues."""
    with watched(settings, *IDLE, folder=folder, ready=False) as running:
        assert running.wait() == 0


# Streams.


def data_of(stub: Function) -> list[bytes]:
    return [base64.b64decode(record["kinesis"]["data"]) for record in stub.records]


@pytest.mark.proves("D45", "FilterCriteria", "S9.5.settled")
@pytest.mark.parametrize("server", ["ministack", "kinesalite"])
def test_only_matching_records_of_a_stream_are_delivered_and_the_others_are_passed(
    server: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = request.getfixturevalue(f"{server}_url")
    stream = new_stream(url)
    wanted = b'{ "event_type": "function_1", "n": 1.0 }'
    sent = [wanted, b'{"event_type": "function_2"}', b"event_type", b"\xff\xfe", b'"function_1"']
    for data in sent:
        aws("kinesis", url).put_record(StreamName=stream.name, Data=data, PartitionKey="k")
    with function() as stub:
        filtered = FROM_THE_START | criteria({"data": {"event_type": ["function_1"]}})
        delivered(config(url, Mapped(stream.arn, stub, filtered)), tmp_path)
        assert data_of(stub) == [wanted]
        # The position is behind what was filtered: without filters nothing comes again.
        delivered(config(url, Mapped(stream.arn, stub, FROM_THE_START)), tmp_path)
        assert data_of(stub) == [wanted]


@pytest.mark.proves("FilterCriteria")
def test_a_stream_is_filtered_by_its_metadata(ministack_url: str, tmp_path: Path) -> None:
    stream = new_stream(ministack_url)
    for key in ("a", "b", "c"):
        aws("kinesis", ministack_url).put_record(
            StreamName=stream.name, Data=b"\xff" + key.encode(), PartitionKey=key
        )
    with function() as stub:
        wanted = {"partitionKey": [{"anything-but": "b"}], "eventSource": ["aws:kinesis"]}
        settings = FROM_THE_START | criteria(wanted)
        delivered(config(ministack_url, Mapped(stream.arn, stub, settings)), tmp_path)
        assert data_of(stub) == [b"\xffa", b"\xffc"]


@pytest.mark.proves(
    "D46", "FilterCriteria", "R1.7.exists", "R1.7.numbers", "R1.7.time", "R1.7.event-source"
)
@pytest.mark.parametrize("server", ["ministack", "moto"])
def test_items_of_a_table_are_filtered_by_their_typed_values(
    server: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = request.getfixturevalue(f"{server}_url")
    table = new_table(url)
    items: list[dict[str, Any]] = [
        {"id": {"S": "1"}, "presentKey": {"S": "v"}},
        {"id": {"S": "2"}, "presentKey": {"S": "w"}},
        {"id": {"S": "3"}, "n": {"N": "101"}},
        {"id": {"S": "4"}, "n": {"N": "42"}},
    ]
    for item in items:
        aws("dynamodb", url).put_item(TableName=table.name, Item=item)
    aws("dynamodb", url).delete_item(TableName=table.name, Key={"id": {"S": "1"}})
    of_new = {
        "typed": {"presentKey": {"S": ["v"]}},
        "untyped": {"presentKey": ["v"]},
        "absent": {"presentKey": [{"exists": False}]},
        "number": {"n": {"N": [{"numeric": [">", 100]}, {"anything-but": "101"}]}},
    }
    patterns: dict[str, Any] = {
        name: {"eventName": ["INSERT"], "dynamodb": {"NewImage": new}}
        for name, new in of_new.items()
    }
    patterns["removed"] = {"eventName": [{"prefix": "REM"}], "eventSource": ["aws:dynamodb"]}
    patterns["created"] = {"dynamodb": {"ApproximateCreationDateTime": [{"numeric": [">", 0]}]}}
    with function() as stub:
        mapped = [
            Mapped(table.stream_arn, at(stub, name), FROM_THE_START | criteria(each), name=name)
            for name, each in patterns.items()
        ]
        delivered(config(url, *mapped), tmp_path)
        found = {
            name: [
                (record["eventName"], record["dynamodb"]["Keys"]["id"]["S"])
                for call in stub.calls
                if call.path == f"/{name}"
                for record in call.records
            ]
            for name in patterns
        }
    inserted = [("INSERT", item["id"]["S"]) for item in items]
    assert (
        found
        == {
            "typed": inserted[:1],
            "untyped": [],
            "absent": inserted,  # exists looks at leaves alone
            "number": inserted[3:],
            "removed": [("REMOVE", "1")],
            "created": [*inserted, ("REMOVE", "1")],
        }
    )


class at:
    """A path of a stub."""

    def __init__(self, stub: Function, name: str) -> None:
        self.url = f"{stub.url.removesuffix('/')}/{name}"


# Queues.

NUMBERS = [json.dumps({"n": number}) for number in (99, 100, 101, 199, 200)]
ORDERS = [
    '{"type": "order", "city": "Seattle"}',
    '{"type": "order", "city": "Paris"}',
    '{"type": "refund", "city": "Seattle"}',
    '{"type": "payment"}',
    "order",
]
QUEUES: dict[str, tuple[list[str], list[Any], list[str]]] = {
    # what is sent, the patterns, what is delivered
    "equals": (ORDERS, [{"body": {"type": ["order"]}}], ORDERS[:2]),
    "or": (ORDERS, [{"body": {"type": ["refund", "payment"]}}], ORDERS[2:4]),
    "and": (ORDERS, [{"body": {"type": ["order"], "city": ["Seattle"]}}], ORDERS[:1]),
    "exists": (ORDERS, [{"body": {"city": [{"exists": True}]}}], ORDERS[:3]),
    "absent": (ORDERS, [{"body": {"city": [{"exists": False}]}}], ORDERS[3:4]),
    "prefix": (ORDERS, [{"body": {"city": [{"prefix": "Sea"}]}}], [ORDERS[0], ORDERS[2]]),
    "above": (NUMBERS, [{"body": {"n": [{"numeric": [">", 100]}]}}], NUMBERS[2:]),
    "below": (NUMBERS, [{"body": {"n": [{"numeric": ["<", 100]}]}}], NUMBERS[:1]),
    "range": (NUMBERS, [{"body": {"n": [{"numeric": [">=", 100, "<", 200]}]}}], NUMBERS[1:4]),
    "either": (
        ORDERS,
        [{"body": {"type": ["payment"]}}, {"body": {"city": ["Paris"]}}, {"body": ["order"]}],
        [ORDERS[1], ORDERS[3], ORDERS[4]],
    ),
    "or of fields": (
        ORDERS,
        [{"body": {"$or": [{"type": ["payment"]}, {"city": ["Paris"]}]}}],
        [ORDERS[1], ORDERS[3]],
    ),
    "text": (ORDERS, [{"body": [{"prefix": "ord"}, "{"]}], ORDERS[4:]),
    "metadata": (ORDERS, [{"attributes": {"ApproximateReceiveCount": ["1"]}}], ORDERS),
    "nothing": (ORDERS, [{"body": {"type": ["none"]}}], []),
}


@pytest.fixture(scope="module", params=["ministack_url", "fauxqs_url"])
def filtering(request: pytest.FixtureRequest) -> Iterator[Lanes]:
    wanted = {
        name: Wanted(sent, settings=criteria(*patterns))
        for name, (sent, patterns, _) in QUEUES.items()
    }
    with lanes(request.getfixturevalue(request.param), wanted) as running:
        yield running


@pytest.mark.proves("D47", "D48", "D49", "FilterCriteria", "S9.4.formats")
@pytest.mark.parametrize("name", QUEUES)
def test_matching_messages_are_delivered_and_the_others_deleted(
    name: str, filtering: Lanes
) -> None:
    sent, _, wanted = QUEUES[name]
    lane = filtering[name]
    lane.empties()
    assert sorted(record["body"] for record in lane.records) == sorted(wanted)
    assert filtering.metric(name, "poller_records_polled_total") == len(sent)
    assert filtering.metric(name, "poller_records_filtered_total") == len(sent) - len(wanted)


# Refusals, and Lambda's API.

BAD = ["null", "simple string", '{"eventSource":"aws:sqs"}', '{"eventSource":[]}']


@pytest.mark.proves("D18", "FilterCriteria")
@pytest.mark.parametrize("pattern", BAD)
def test_an_invalid_pattern_is_a_line_of_check(pattern: str, tmp_path: Path) -> None:
    mapping = {"EventSourceArn": "arn:aws:sqs:us-east-1:123456789012:jobs", "FunctionName": "f"}
    mappings = [mapping | criteria(pattern)]
    write_config(tmp_path, {"functions": {"f": {"url": "http://h"}}, "mappings": mappings})
    ended = command("check", "poller.yaml", folder=tmp_path)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    where = "mappings[0].FilterCriteria.Filters[0].Pattern"
    assert f": {where}: {INVALID.rstrip('.')}; " in line


@pytest.mark.proves("D18", "D19", "FilterCriteria", "R1.1.filters-shown")
def test_filters_through_the_api_are_validated_kept_replaced_and_taken_away(
    ministack_url: str,
) -> None:
    queue = new_queue(ministack_url)
    functions = {"f": {"url": "http://127.0.0.1:9"}}
    aws_block = {"region": "us-east-1", "endpoint_url": ministack_url}
    with watched({"aws": aws_block, "functions": functions, "mappings": []}) as running:
        client = aws("lambda", running.address)
        request = {"EventSourceArn": queue.arn, "FunctionName": "f", "Enabled": False}
        for pattern in BAD:
            with pytest.raises(ClientError) as refused:
                client.create_event_source_mapping(**request, **criteria(pattern))
            error = refused.value.response["Error"]
            assert error["Code"] == "InvalidParameterValueException"
            assert error["Message"] == INVALID
        none: dict[str, Any] = {"FilterCriteria": {"Filters": []}}
        made = client.create_event_source_mapping(**request, **none)
        assert "FilterCriteria" not in made
        first, second = criteria('{"body":  ["a"]}'), criteria({"body": ["b"]}, {"body": ["c"]})
        for wanted in (first, second):
            updated = client.update_event_source_mapping(UUID=made["UUID"], **wanted)
            assert updated["FilterCriteria"] == wanted["FilterCriteria"]
            got = client.get_event_source_mapping(UUID=made["UUID"])
            assert got["FilterCriteria"] == wanted["FilterCriteria"]
        with pytest.raises(ClientError):
            client.update_event_source_mapping(UUID=made["UUID"], **criteria(BAD[3]))
        got = client.get_event_source_mapping(UUID=made["UUID"])
        assert got["FilterCriteria"] == second["FilterCriteria"]
        updated = client.update_event_source_mapping(UUID=made["UUID"], **none)
        assert "FilterCriteria" not in updated


@pytest.mark.proves("FilterCriteria")
def test_a_pattern_can_be_tried_before_it_is_used(tmp_path: Path) -> None:
    records = [{"messageId": str(n), "body": text} for n, text in enumerate(NUMBERS[1:3])]
    (tmp_path / "event.json").write_text(json.dumps({"Records": records}, indent=2))
    pattern = json.dumps({"body": {"n": [{"numeric": [">", 100]}]}})
    ended = command("filter", pattern, "event.json", folder=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "1 of 2 events match\n")
    assert ended.stdout == "1: no match: body.n is 100, wanted > 100\n2: match\n"
