"""Mappings made through Lambda's API: through kill -9 and restarts, updates, pauses, deletions."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.faults import Proxy, faulty, throttled
from tests.functions import Answer, function
from tests.outside.flows import Deliveries, Delivery, Item, Put, to_queue, to_stream, to_table
from tests.outside.lambda_api import (
    REGION,
    await_gone,
    await_state,
    listed,
    refused,
    told,
    user_error,
    uuids,
)
from tests.outside.poller_process import Running, poller
from tests.servers import aws, new_queue, new_stream, new_table
from tests.waiting import eventually

STREAMS = ("kept", "paused", "deleted", "latest", "latest_table", "busy")
FLOWS = (*STREAMS, "queue")
WHOLE_SECONDS = 2.5  # after a kill, LATEST is the second in which the mapping was made
Made = dict[str, Any]


def items(*numbers: int) -> list[Item]:
    return [Item("key", number) for number in numbers]


@dataclass(slots=True)
class Stage:
    """A source, a function and, once it is made, a mapping for each flow."""

    url: str
    config: dict[str, Any]
    folder: Path
    proxy: Proxy  # before Kinesis and DynamoDB Streams
    flows: Deliveries
    arns: dict[str, str]
    puts: dict[str, Put]
    made: dict[str, Made] = field(default_factory=dict)

    def create(self, api: Any, flow: str, **settings: Any) -> None:
        if ":sqs:" not in self.arns[flow]:
            settings = {"StartingPosition": "TRIM_HORIZON", "BatchSize": 1, **settings}
        reply = api.create_event_source_mapping(
            EventSourceArn=self.arns[flow], FunctionName=flow, **settings
        )
        self.made[flow] = told(reply, 202)

    def update(self, api: Any, flow: str, **settings: Any) -> Made:
        uuid = self.made[flow]["UUID"]
        self.made[flow] = told(api.update_event_source_mapping(UUID=uuid, **settings), 202)
        return self.made[flow]

    def state(self, api: Any, flow: str, state: str) -> Made:
        return await_state(api, self.made[flow]["UUID"], state)


@contextlib.contextmanager
def staged(
    url: str, folder: Path, decide: Callable[[Delivery], Answer] = lambda _delivery: Answer()
) -> Iterator[Stage]:
    flows = Deliveries(decide)
    with function(flows) as stub, faulty(url) as proxy:
        stage = Stage(url, {}, folder, proxy, flows, {}, {})
        _make_sources(stage)
        endpoints = dict.fromkeys(("kinesis", "dynamodbstreams"), proxy.url)
        stage.config = {
            "aws": {"endpoint_url": url, "endpoints": endpoints, "region": REGION},
            "functions": {flow: {"url": stub.url + flow, "timeout": 5} for flow in FLOWS},
        }
        yield stage


def _make_sources(stage: Stage) -> None:
    url = stage.url
    for flow in FLOWS:
        if flow == "queue":
            queue = new_queue(url, VisibilityTimeout="5")
            stage.arns[flow], stage.puts[flow] = queue.arn, to_queue(url, queue)
        elif flow == "latest_table":
            table = new_table(url)
            stage.arns[flow], stage.puts[flow] = table.stream_arn, to_table(url, table)
        else:
            stream = new_stream(url)
            stage.arns[flow], stage.puts[flow] = stream.arn, to_stream(url, stream)


# A story with two kills, of which the tests below tell the parts.


@dataclass(frozen=True, slots=True)
class Story:
    """`before` and `after`: what List said before each end and after the next start."""

    stage: Stage
    before: list[list[Made]]
    after: list[list[Made]]
    while_paused: set[Item]  # items of "paused" that were not delivered

    @property
    def flows(self) -> Deliveries:
        return self.stage.flows


@pytest.fixture(scope="module")
def story(ministack_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with staged(ministack_url, tmp_path_factory.mktemp("lifecycle")) as stage:
        story = Story(stage, [], [], set())
        for part in (_beginning, _middle, _end):
            with poller(stage.config, folder=stage.folder) as running:
                api = aws("lambda", running.address)
                story.after.append(listed(api))
                part(story, api)
                assert "Traceback" not in running.log()
                running.kill()
        yield story


def _beginning(story: Story, api: Any) -> None:
    """Every flow runs; one is paused, one deleted, two begin at LATEST and never read a record
    before the kill."""
    stage, flows = story.stage, story.flows
    for flow in ("latest", "latest_table"):
        stage.puts[flow](items(0))
    put_at = time.time()
    for flow in ("kept", "paused", "deleted", "queue"):
        stage.puts[flow](items(0, 1))
        stage.create(api, flow)
    for flow in ("kept", "paused", "deleted", "queue"):
        flows.await_all(flow, items(0, 1))
        stage.state(api, flow, "Enabled")
    stage.update(api, "paused", Enabled=False)
    stage.made["paused"] = stage.state(api, "paused", "Disabled")
    stage.puts["paused"](items(2))
    stage.puts["kept"](items(2))
    flows.await_all("kept", items(0, 1, 2))
    story.before.append(listed(api))
    told(api.delete_event_source_mapping(UUID=stage.made["deleted"]["UUID"]), 202)
    eventually(lambda: time.time() > put_at + WHOLE_SECONDS)
    stage.proxy.inject(throttled(), on="GetRecords", times=None)
    for flow in ("latest", "latest_table"):
        stage.create(api, flow, StartingPosition="LATEST")
    for flow in ("latest", "latest_table"):
        stage.puts[flow](items(1, 2))
        assert flows.count(flow) == 0


def _middle(story: Story, api: Any) -> None:
    """What was put is delivered; one is enabled again, one changed just before the kill."""
    stage, flows = story.stage, story.flows
    stage.proxy.heal()
    for flow in ("latest", "latest_table"):
        flows.await_all(flow, items(1, 2))
    story.while_paused.update(flows.missing("paused", items(0, 1, 2)))
    stage.update(api, "paused", Enabled=True)
    flows.await_all("paused", items(0, 1, 2))
    stage.puts["queue"](items(2))
    flows.await_all("queue", items(0, 1, 2))
    stage.puts["kept"](items(3))
    flows.await_all("kept", items(0, 1, 2, 3))
    stage.update(api, "kept", BatchSize=50, MaximumRetryAttempts=3)


def _end(story: Story, api: Any) -> None:
    """The deleted one is made anew; it has nothing of its old life."""
    stage, flows = story.stage, story.flows
    stage.puts["kept"](items(4))
    flows.await_all("kept", items(4))
    assert flows.repeats("deleted") == {}
    stage.create(api, "deleted")
    stage.puts["deleted"](items(2))
    flows.await_all("deleted", items(0, 1, 2))


def test_mappings_outlive_a_kill_just_after_the_reply(story: Story) -> None:
    first, second, third = story.after
    assert first == []
    made = {
        flow: story.stage.made[flow]["UUID"]
        for flow in ("kept", "paused", "queue", "latest", "latest_table")
    }
    assert [mapping["UUID"] for mapping in second] == list(made.values())
    assert [mapping["UUID"] for mapping in third] == list(made.values())
    unchanged = [each for each in story.before[0] if each["UUID"] in made.values()]
    assert [_without_result(mapping) for mapping in second[:3]] == [
        _without_result(mapping) for mapping in unchanged
    ]
    states = [mapping["State"] for mapping in second]
    assert states == ["Enabled", "Disabled", "Enabled", "Enabled", "Enabled"]


def _without_result(mapping: Made) -> Made:
    """Results are stored every few seconds only."""
    return {name: value for name, value in mapping.items() if name != "LastProcessingResult"}


@pytest.mark.proves("S2.update")
def test_an_update_outlives_a_kill_just_after_the_reply_and_keeps_the_position(
    story: Story,
) -> None:
    updated = story.stage.made["kept"]
    assert story.after[2][0] == {**updated, "State": "Enabled"}
    assert (updated["BatchSize"], updated["MaximumRetryAttempts"]) == (50, 3)
    assert story.flows.disorder("kept") == []
    assert set(story.flows.repeats("kept")) <= set(items(2, 3)), "in flight when killed"


def test_a_deletion_outlives_a_kill_just_after_the_reply(story: Story) -> None:
    uuid = next(each["UUID"] for each in story.before[0] if "deleted" in each["FunctionArn"])
    assert uuid not in {mapping["UUID"] for mapping in (*story.after[1], *story.after[2])}


@pytest.mark.proves("S2.delete")
def test_a_mapping_made_anew_begins_at_its_own_start(story: Story) -> None:
    assert set(story.flows.repeats("deleted")) == set(items(0, 1))


@pytest.mark.proves("D29", "StartingPosition", "S3.2.latest")
@pytest.mark.parametrize("flow", ["latest", "latest_table"])
def test_latest_begins_before_the_reply_however_soon_poller_is_killed(
    story: Story, flow: str
) -> None:
    delivered = {item for delivery in story.flows.of(flow) for item in delivery.items}
    assert delivered == set(items(1, 2)), "all that came after the reply, nothing from before"


@pytest.mark.proves("D06", "Enabled", "S2.pause")
def test_a_pause_keeps_the_checkpoint_through_a_kill(story: Story) -> None:
    assert story.while_paused == set(items(2))
    assert story.flows.repeats("paused") == {}


# What may be done while something is under way.


@dataclass(slots=True)
class Busy:
    """A mapping whose function runs until `finish` is set."""

    stage: Stage
    running: Running
    finish: threading.Event

    @property
    def api(self) -> Any:
        return aws("lambda", self.running.address)

    @property
    def uuid(self) -> str:
        return str(self.stage.made["busy"]["UUID"])

    def waits(self) -> None:
        """Return once an invocation runs that does not end."""
        self.stage.puts["busy"](items(0))
        self.stage.create(self.api, "busy")
        eventually(lambda: self.stage.flows.count("busy") == 1)


@pytest.fixture
def busy(ministack_url: str, tmp_path: Path) -> Iterator[Busy]:
    finish = threading.Event()

    def answer(delivery: Delivery) -> Answer:
        return Answer(after=finish) if delivery.flow == "busy" else Answer()

    with staged(ministack_url, tmp_path, answer) as stage:
        stage.config["functions"]["busy"]["timeout"] = 60
        with poller(stage.config, folder=tmp_path) as running:
            busy = Busy(stage, running, finish)
            busy.waits()
            yield busy
            finish.set()
            running.kill()


def in_use(verb: str) -> dict[str, Any]:
    return user_error(
        400,
        "ResourceInUseException",
        f"Cannot {verb} the event source mapping because it is in use.",
    )


@pytest.mark.proves("S2.in-use")
def test_while_an_update_waits_for_the_function_nothing_else_is_allowed(busy: Busy) -> None:
    api, uuid = busy.api, busy.uuid
    before = api.get_event_source_mapping(UUID=uuid)
    reply = busy.stage.update(api, "busy", BatchSize=2)
    assert (before["State"], reply["State"], reply["BatchSize"]) == ("Enabled", "Updating", 2)
    assert refused(api.update_event_source_mapping, UUID=uuid, BatchSize=3) == in_use("update")
    assert refused(api.delete_event_source_mapping, UUID=uuid) == in_use("delete")
    assert told(api.get_event_source_mapping(UUID=uuid), 200) == reply
    busy.finish.set()
    assert await_state(api, uuid, "Enabled") == {
        **reply,
        "State": "Enabled",
        "LastProcessingResult": "OK",
    }
    busy.stage.puts["busy"](items(1))
    busy.stage.flows.await_all("busy", items(0, 1))
    assert busy.stage.flows.repeats("busy") == {}


def test_a_pair_may_have_a_new_mapping_while_its_old_one_is_deleted(busy: Busy) -> None:
    api, old = busy.api, busy.uuid
    deleting = told(api.delete_event_source_mapping(UUID=old), 202)
    assert deleting["State"] == "Deleting"
    assert told(api.get_event_source_mapping(UUID=old), 200) == deleting
    assert refused(api.update_event_source_mapping, UUID=old, BatchSize=3) == in_use("update")
    assert refused(api.delete_event_source_mapping, UUID=old) == in_use("delete")
    busy.stage.create(api, "busy")
    assert busy.uuid != old
    assert uuids(api) == [old, busy.uuid]
    busy.stage.state(api, "busy", "Enabled")
    assert api.get_event_source_mapping(UUID=old)["State"] == "Deleting"
    busy.finish.set()
    await_gone(api, old)
    assert uuids(api) == [busy.uuid]
    eventually(lambda: busy.stage.flows.repeats("busy") == {Item("key", 0): 2})
