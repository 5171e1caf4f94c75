"""kill -9 at random moments of a client's calls to the API, again and again, under load: what a
client was told holds, and of the records nothing is lost and hardly anything repeated."""

from __future__ import annotations

import contextlib
import random
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

from tests.functions import Answer, function
from tests.outside.by_api import api, changed
from tests.outside.flows import (
    Deliveries,
    Item,
    by_key,
    produced,
    streams,
    to_queue,
    to_stream,
)
from tests.outside.lambda_api import listed
from tests.outside.poller_process import Running, poller
from tests.outside.sqs_lanes import left_in
from tests.servers import new_queue
from tests.waiting import eventually

KILLS = 6
CALLS_MIN = 3  # before each kill
KILL_WITHIN = 0.2  # seconds after that
RUN_SECONDS = 0.01  # of an invocation
EPHEMERAL = [f"ephemeral-{number}" for number in range(6)]  # functions
JOIN_TIMEOUT = 30.0

Mapping = dict[str, Any]


@dataclass
class Client:
    """Makes, changes and deletes mappings at random, and notes what it was told.

    `told`: the settings of each mapping, by UUID.  `asked`: the call that no answer has come to;
    its operation, UUID and settings.
    """

    moments: random.Random
    kept: dict[str, str]  # flow by UUID: they are changed and never deleted
    source: str  # of the others
    told: dict[str, Mapping] = field(default_factory=dict)
    asked: tuple[str, str, Mapping] | None = None
    answered: int = 0

    def call(self, running: Running) -> None:
        """One operation; one that is refused changes nothing.  Raises what a kill makes of it."""
        others = [uuid for uuid in self.told if uuid not in self.kept]
        match self.moments.choice(["create", "delete", "update", "update", "update"]):
            case "delete" if others:
                uuid = self.moments.choice(others)
                self._ask(running, "delete", uuid, {})
            case "create":
                name = self.moments.choice(EPHEMERAL)
                settings = {"BatchSize": self.moments.randint(1, 100)}
                self._ask(running, "create", name, settings)
            case _:
                uuid = self.moments.choice(list(self.told))
                settings = {"BatchSize": self.moments.randint(1, 10)}
                if self.moments.random() < 0.5:
                    settings["Enabled"] = self.moments.random() < 0.7
                self._ask(running, "update", uuid, settings)

    def _ask(self, running: Running, operation: str, which: str, settings: Mapping) -> None:
        client, self.asked = api(running), (operation, which, settings)
        with contextlib.suppress(ClientError):
            match operation:
                case "create":
                    reply = client.create_event_source_mapping(
                        EventSourceArn=self.source,
                        FunctionName=which,
                        StartingPosition="LATEST",
                        **settings,
                    )
                    self.told[reply["UUID"]] = settings
                case "update":
                    client.update_event_source_mapping(UUID=which, **settings)
                    self.told[which] = {**self.told[which], **settings}
                case "delete":
                    client.delete_event_source_mapping(UUID=which)
                    del self.told[which]
        self.asked = None
        self.answered += 1

    def check(self, found: dict[str, Mapping]) -> None:
        """That the mappings of a poller that was started anew are what this client was told; the
        call without an answer had an effect, or none."""
        operation, which, settings = self.asked or ("", "", {})
        self.asked = None
        made = found.keys() - self.told.keys()
        assert len(made) <= (operation == "create"), made
        assert self.told.keys() - found.keys() <= ({which} if operation == "delete" else set())
        for uuid, mapping in found.items():
            wanted = [self.told.get(uuid, settings)]
            if (operation, which) == ("update", uuid):
                wanted.append({**wanted[0], **settings})
            assert _settings(mapping) in [{"Enabled": True, **each} for each in wanted], uuid
        self.told = {uuid: _settings(mapping) for uuid, mapping in found.items()}


def _settings(mapping: Mapping) -> Mapping:
    return {"BatchSize": mapping["BatchSize"], "Enabled": mapping["State"] != "Disabled"}


@dataclass(frozen=True, slots=True)
class Story:
    deliveries: Deliveries
    items: dict[str, set[Item]]
    ends: dict[str, list[int]]  # how much was delivered by each kill
    answered: int  # calls


@pytest.fixture(scope="module")
def story(
    kinesalite_url: str, ministack_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Story:
    folder = tmp_path_factory.mktemp("api-crashes")
    deliveries = Deliveries(lambda _delivery: Answer(delay=RUN_SECONDS))
    with ExitStack() as stack:
        new_stream = stack.enter_context(streams(kinesalite_url))
        queue = new_queue(ministack_url, fifo=True, VisibilityTimeout="2")
        stream, side = new_stream(2, "stream"), new_stream(1, "side")
        arns = {"stream": stream.arn, "fifo": queue.arn}
        puts = {
            "stream": to_stream(kinesalite_url, stream),
            "fifo": to_queue(ministack_url, queue),
        }
        stub = stack.enter_context(function(deliveries))
        settings = {
            "aws": {
                "region": "us-east-1",
                "endpoint_url": ministack_url,
                "endpoints": {"kinesis": kinesalite_url},
            },
            "functions": {
                name: {"url": stub.url + name, "timeout": 2} for name in (*arns, *EPHEMERAL)
            },
        }
        with poller(settings, folder=folder) as running:
            kept = {}
            for name, arn in arns.items():
                start = {} if name == "fifo" else {"StartingPosition": "TRIM_HORIZON"}
                reply = api(running).create_event_source_mapping(
                    EventSourceArn=arn, FunctionName=name, BatchSize=10, **start
                )
                kept[reply["UUID"]] = name
            running.kill()
        client = Client(random.Random(3), kept, side.arn)
        client.told = {uuid: {"BatchSize": 10} for uuid in kept}
        ends: dict[str, list[int]] = {name: [] for name in arns}
        with produced(puts, keys=8, pause=0.25) as producers:
            for _ in range(KILLS):
                with poller(settings, folder=folder) as running:
                    client.check(_found(running))
                    _killed_while_called(running, client)
                for name, counts in ends.items():
                    counts.append(deliveries.count(name))
        with poller(settings, folder=folder) as running:
            client.check(_found(running))
            for uuid in kept:
                changed(running, uuid, Enabled=True, BatchSize=10)
            for name, producer in producers.items():
                deliveries.await_all(name, producer.items())
            eventually(lambda: left_in(ministack_url, queue) == (0, 0))
            running.kill()  # nothing is to be learnt from a slow stop
    items = {name: producer.items() for name, producer in producers.items()}
    return Story(deliveries, items, ends, client.answered)


def _found(running: Running) -> dict[str, Mapping]:
    return {mapping["UUID"]: mapping for mapping in listed(api(running))}


def _killed_while_called(running: Running, client: Client) -> None:
    """Kill it while one call follows the other, so that the last of them has no answer."""

    def work() -> None:
        with contextlib.suppress(ConnectionError, HTTPClientError):
            while True:
                client.call(running)

    thread = threading.Thread(target=work, daemon=True)
    enough = client.answered + CALLS_MIN
    thread.start()
    eventually(lambda: client.answered >= enough)
    threading.Event().wait(client.moments.uniform(0, KILL_WITHIN))
    running.kill()
    thread.join(JOIN_TIMEOUT)
    assert not thread.is_alive()


def test_what_a_client_was_told_holds_after_every_crash(story: Story) -> None:
    """Each start has checked it."""
    assert story.answered >= KILLS * CALLS_MIN


FLOWS = ("stream", "fifo")


@pytest.mark.parametrize("flow", FLOWS)
def test_crashes_in_the_middle_of_calls_lose_nothing(story: Story, flow: str) -> None:
    assert len(story.items[flow]) > 50
    assert story.deliveries.missing(flow, story.items[flow]) == set()


@pytest.mark.parametrize("flow", FLOWS)
def test_crashes_in_the_middle_of_calls_keep_the_order_of_each_key(story: Story, flow: str) -> None:
    assert story.deliveries.disorder(flow) == []


def test_crashes_in_the_middle_of_calls_repeat_the_last_batch_of_a_key_at_most(
    story: Story,
) -> None:
    found = story.deliveries.repeats_beyond_the_last_batch("stream", story.ends["stream"], by_key)

    assert found == []
