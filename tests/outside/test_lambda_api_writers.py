"""Two writers of one desired state: mappings of the config file, and those made through the API."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.functions import Function, function
from tests.outside.flows import Deliveries, Item, to_queue, to_stream
from tests.outside.lambda_api import (
    REGION,
    await_gone,
    await_state,
    function_arn,
    listed,
    mapping_arn,
    queue_mapping,
    refused,
    stream_mapping,
    told,
    user_error,
    uuids,
)
from tests.outside.poller_process import Running, poller
from tests.outside.watched import await_line, lines
from tests.servers import Queue, Stream, aws, new_queue, new_stream
from tests.waiting import eventually

REREAD = "the config was reread"
FAILED = "PROBLEM: Function call failed"


def items(*numbers: int) -> list[Item]:
    return [Item("key", number) for number in numbers]


@dataclass(slots=True)
class Writers:
    """A poller whose file is rewritten, and its API."""

    url: str
    stub: Function
    flows: Deliveries
    running: Running

    @property
    def api(self) -> Any:
        return aws("lambda", self.running.address)

    def write(self, functions: Sequence[str], *mappings: Mapping[str, Any]) -> None:
        """Another config file, and wait until it is in force."""
        before = len(lines(self.running, REREAD))
        self.running.rewrite(config(self.url, self.stub, functions, *mappings))
        self.running.hup()
        eventually(lambda: len(lines(self.running, REREAD)) > before)

    def stream(self) -> tuple[Stream, Callable[[Sequence[Item]], None]]:
        stream = new_stream(self.url)
        return stream, to_stream(self.url, stream)

    def create(self, stream: Stream, name: str, **settings: Any) -> dict[str, Any]:
        reply = self.api.create_event_source_mapping(**mapping(stream, name, **settings))
        return told(reply, 202)

    def get(self, uuid: str) -> dict[str, Any]:
        return told(self.api.get_event_source_mapping(UUID=uuid), 200)


def config(
    url: str, stub: Function, functions: Sequence[str], *mappings: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "aws": {"endpoint_url": url, "region": REGION},
        "functions": {name: {"url": stub.url + name, "timeout": 5} for name in functions},
        "mappings": list(mappings),
    }


def mapping(source: Stream | Queue, name: str, **settings: Any) -> dict[str, Any]:
    start = {} if isinstance(source, Queue) else {"StartingPosition": "TRIM_HORIZON"}
    return {"EventSourceArn": source.arn, "FunctionName": name, **start, **settings}


FUNCTIONS = ("one", "two", "three")


@pytest.fixture
def writers(ministack_url: str, tmp_path: Path) -> Iterator[Writers]:
    flows = Deliveries()
    with function(flows) as stub:
        made = config(ministack_url, stub, FUNCTIONS)
        with poller(made, folder=tmp_path) as running:
            yield Writers(ministack_url, stub, flows, running)
            assert "Traceback" not in running.log()
            running.kill()


@pytest.mark.proves("S1.3.file")
def test_mappings_of_the_file_are_shown_and_not_changed(writers: Writers) -> None:
    stream, _ = writers.stream()
    queue = new_queue(writers.url)
    api = writers.api
    writers.write(
        FUNCTIONS,
        mapping(stream, "one", Tags={"team": "orders"}),
        mapping(queue, "two", Enabled=False),
    )
    (of_stream,), (of_queue,) = (
        listed(api, EventSourceArn=source.arn) for source in (stream, queue)
    )
    enabled = await_state(api, of_stream["UUID"], "Enabled")
    assert enabled == stream_mapping(enabled, stream.arn, "one", State="Enabled")
    assert of_queue == queue_mapping(of_queue, queue.arn, "two", State="Disabled")
    assert uuids(api, FunctionName="one") == [of_stream["UUID"]]

    uuid, arn = of_stream["UUID"], of_stream["EventSourceMappingArn"]
    attempts: list[tuple[Any, dict[str, Any]]] = [
        (api.update_event_source_mapping, {"UUID": uuid, "BatchSize": 1}),
        (api.update_event_source_mapping, {"UUID": uuid, "Enabled": False}),
        (api.delete_event_source_mapping, {"UUID": uuid}),
        (api.tag_resource, {"Resource": arn, "Tags": {"A": "a"}}),
        (api.untag_resource, {"Resource": arn, "TagKeys": ["team"]}),
    ]
    for call, parameters in attempts:
        reply = refused(call, **parameters)
        message = reply["Error"]["Message"]
        assert reply == user_error(409, "ResourceConflictException", message)
        assert message.startswith(f"The event source mapping with UUID {uuid} is declared in "), (
            message
        )
        assert "poller.yaml: change " in message
    duplicate = refused(api.create_event_source_mapping, **mapping(stream, "one"))
    assert duplicate["Error"]["Message"].endswith(f"the existing mapping with UUID {uuid}")
    assert writers.get(uuid) == enabled
    assert told(api.list_tags(Resource=mapping_arn(uuid)), 200) == {"Tags": {"team": "orders"}}


def test_the_file_adopts_what_the_api_made_and_gives_it_back_to_nobody(writers: Writers) -> None:
    (stream, put), api = writers.stream(), writers.api
    made = writers.create(stream, "one", BatchSize=1, Tags={"by": "api"})
    put(items(0, 1))
    writers.flows.await_all("one", items(0, 1))

    writers.write(FUNCTIONS, mapping(stream, "one", BatchSize=5))
    adopted = await_state(api, made["UUID"], "Enabled")
    assert adopted["BatchSize"] == 5
    assert uuids(api) == [made["UUID"]]
    reply = refused(api.delete_event_source_mapping, UUID=made["UUID"])
    assert (reply["status"], "poller.yaml" in reply["message"]) == (409, True)
    put(items(2))
    writers.flows.await_all("one", items(0, 1, 2))
    assert writers.flows.repeats("one") == {}, "with its position"

    writers.write(FUNCTIONS)
    assert refused(api.get_event_source_mapping, UUID=made["UUID"])["status"] == 404
    put(items(3))
    writers.write(FUNCTIONS, mapping(stream, "one"))
    writers.flows.await_all("one", items(0, 1, 2, 3))
    assert uuids(api) == [made["UUID"]]
    assert writers.flows.repeats("one") == {}, "it stopped, and went on where it stopped"


def test_rereading_the_file_does_not_disturb_what_the_api_made(writers: Writers) -> None:
    (stream, put), (other, _), api = writers.stream(), writers.stream(), writers.api
    queue = new_queue(writers.url)
    made = writers.create(stream, "one")
    off = writers.create(other, "one", Enabled=False)
    told(api.create_event_source_mapping(**mapping(queue, "two")), 202)
    enabled = await_state(api, made["UUID"], "Enabled")
    writers.write(FUNCTIONS, mapping(other, "two"))
    writers.write(("one", "two"))
    assert [each["State"] for each in listed(api)] == ["Enabled", "Disabled", "Enabled"]
    assert writers.get(made["UUID"]) == enabled
    put(items(0))
    to_queue(writers.url, queue)(items(1))
    writers.flows.await_all("one", items(0))
    writers.flows.await_all("two", items(1))
    api.delete_event_source_mapping(UUID=off["UUID"])
    await_gone(api, off["UUID"])


@pytest.mark.proves("R1.1.function-gone")
def test_a_mapping_goes_on_when_its_function_is_back_in_the_file(writers: Writers) -> None:
    (stream, put), (held, _), api = writers.stream(), writers.stream(), writers.api
    made = writers.create(stream, "one")
    put(items(0))
    writers.flows.await_all("one", items(0))
    writers.write(("two", "three"))
    put(items(1, 2))
    eventually(lambda: writers.get(made["UUID"])["LastProcessingResult"] == FAILED)
    found = writers.get(made["UUID"])
    assert (found["State"], found["FunctionArn"]) == ("Enabled", function_arn("one"))
    assert uuids(api, FunctionName="one") == [made["UUID"]], "also without its function"
    reply = refused(api.create_event_source_mapping, **mapping(held, "one"))
    assert reply["message"] == "Function does not exist"

    reply = told(api.update_event_source_mapping(UUID=made["UUID"], Enabled=False), 202)
    assert reply["State"] == "Disabling"
    await_state(api, made["UUID"], "Disabled")
    told(api.update_event_source_mapping(UUID=made["UUID"], Enabled=True), 202)
    await_state(api, made["UUID"], "Enabled")

    writers.write(FUNCTIONS)
    writers.flows.await_all("one", items(0, 1, 2))
    assert writers.flows.repeats("one") == {}
    assert writers.flows.disorder("one") == []
    eventually(lambda: writers.get(made["UUID"])["LastProcessingResult"] == "OK")


def test_a_restart_with_another_file_keeps_both_writers_apart(
    writers: Writers, tmp_path: Path
) -> None:
    (first, put_first), (second, put_second) = writers.stream(), writers.stream()
    writers.write(FUNCTIONS, mapping(first, "one"))
    made = writers.create(second, "two", BatchSize=1)
    put_first(items(0))
    put_second(items(0))
    writers.flows.await_all("one", items(0))
    writers.flows.await_all("two", items(0))
    assert writers.running.stop() == 0
    put_first(items(1))
    put_second(items(1))
    with poller(config(writers.url, writers.stub, FUNCTIONS), folder=tmp_path) as running:
        api = aws("lambda", running.address)
        assert uuids(api) == [made["UUID"]]
        writers.flows.await_all("two", items(0, 1))
        assert writers.flows.missing("one", items(0, 1)) == set(items(1))
        running.rewrite(config(writers.url, writers.stub, FUNCTIONS, mapping(first, "one")))
        running.hup()
        await_line(running, REREAD, "1 mapping")
        writers.flows.await_all("one", items(0, 1))
        assert len(uuids(api)) == 2
        running.kill()
    assert writers.flows.repeats("one") == writers.flows.repeats("two") == {}
