"""Ten thousand mappings, listed in pages while others come and go; and two clients at once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from poller.interfaces import StoredMapping
from poller.stores.sqlite import open_sqlite
from poller.wire.mappings import MappingConfig, parse_mapping
from poller.wire.requests import as_request
from tests.faults import Proxy, faulty
from tests.functions import function
from tests.outside.flows import Deliveries, Item, to_queue
from tests.outside.lambda_api import (
    ACCOUNT,
    MAPPINGS,
    REGION,
    Raw,
    await_state,
    function_arn,
    listed,
    raw,
    told,
    uuids,
)
from tests.outside.poller_process import Running, poller
from tests.servers import Queue, aws, new_queue
from tests.waiting import eventually

STORED = 10_000
THROUGH_API = 300
FUNCTIONS = [f"function-{number}" for number in range(20)]
ODD = "rare"  # the function of one stored mapping in a thousand
PAGE_MAX = 100
CREATED_AT = 1.7e9
RACES = 25
AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Crowd:
    """A poller with very many disabled mappings, most of them there before it started.

    `stored`: their UUIDs, in the order in which they were made.
    """

    url: str
    running: Running
    proxy: Proxy  # before SQS
    flows: Deliveries
    stored: Sequence[str]

    @property
    def api(self) -> Any:
        return aws("lambda", self.running.address)

    def listed(self) -> list[str]:
        """The UUIDs of all pages; boto3 would take seconds to read them."""
        found: list[str] = []
        query = ""
        while True:
            page = raw(self.running.address, "GET", f"{MAPPINGS}?{query}").json
            found += [mapping["UUID"] for mapping in page["EventSourceMappings"]]
            if "NextMarker" not in page:
                return found
            query = urlencode({"Marker": page["NextMarker"]})

    def post(self, request: dict[str, Any]) -> Raw:
        return raw(self.running.address, "POST", MAPPINGS, json.dumps(request).encode())


def stored_mapping(number: int) -> StoredMapping:
    """Queues and streams by turns, three of them made in the same moment."""
    name = ODD if number % 1000 == 0 else FUNCTIONS[number % len(FUNCTIONS)]
    source, start = f"sqs:{REGION}:{ACCOUNT}:queue-{number}", {}
    if number % 2:
        source = f"kinesis:{REGION}:{ACCOUNT}:stream/stream-{number}"
        start = {"StartingPosition": "LATEST"}
    request = {"EventSourceArn": f"arn:aws:{source}", "FunctionName": name, "Enabled": False}
    config = parse_mapping({**request, **start}, now=CREATED_AT)
    assert isinstance(config, MappingConfig)
    made = CREATED_AT + number // 3
    return StoredMapping(
        uuid=str(uuid.UUID(int=number)),
        source_arn=config.source.arn,
        function_arn=function_arn(name),
        origin="api",
        request=as_request(config),
        created_at=made,
        modified_at=made,
    )


async def store(path: Path, mappings: Sequence[StoredMapping]) -> None:
    async with open_sqlite(path) as state:
        await asyncio.gather(*map(state.put, mappings))


@pytest.fixture(scope="module")
def crowd(ministack_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    folder = tmp_path_factory.mktemp("many")
    stored = [stored_mapping(number) for number in range(STORED)]
    asyncio.run(store(folder / "poller.db", stored))
    flows = Deliveries()
    with function(flows) as stub, faulty(ministack_url) as proxy:
        config = {
            "aws": {
                "endpoint_url": ministack_url, "endpoints": {"sqs": proxy.url}, "region": REGION,
            },
            "functions": {name: {"url": stub.url + name} for name in (*FUNCTIONS, ODD)},
        }  # fmt: skip
        with poller(config, folder=folder) as running:
            order = [mapping.uuid for mapping in stored]
            yield Crowd(ministack_url, running, proxy, flows, order)
            assert "Traceback" not in running.log()
            assert running.stop() == 0


def test_disabled_mappings_ask_nothing_of_their_queues(crowd: Crowd) -> None:
    before = len(crowd.proxy.calls)
    lag = crowd.running.lag()
    assert lag["mappings"].keys() == set(crowd.stored)
    assert {(each["seconds"], each["records"]) for each in lag["mappings"].values()} == {
        (None, None)
    }
    assert lag["total"] == {"seconds": 0.0, "records": 0}
    assert crowd.running.get("/metrics")[0] == 200
    assert crowd.running.get("/healthz")[0] == 200
    assert crowd.running.is_ready()
    assert crowd.proxy.calls[before:] == []


@pytest.mark.proves("S1.3.pages")
def test_pages_have_a_hundred_and_a_marker_but_the_last(crowd: Crowd) -> None:
    pages: list[list[str]] = []
    marker: dict[str, str] | None = {}
    while marker is not None:
        reply = crowd.api.list_event_source_mappings(MaxItems=10_000, **marker)
        pages.append([mapping["UUID"] for mapping in told(reply, 200)["EventSourceMappings"]])
        marker = {"Marker": reply["NextMarker"]} if "NextMarker" in reply else None
    assert [len(page) for page in pages] == [PAGE_MAX] * (STORED // PAGE_MAX)
    assert [uuid for page in pages for uuid in page] == crowd.stored


def test_few_of_very_many_are_found_by_function_and_by_source(crowd: Crowd) -> None:
    assert uuids(crowd.api, FunctionName=ODD) == crowd.stored[::1000]
    of_one = [
        uuid
        for number, uuid in enumerate(crowd.stored)
        if number % len(FUNCTIONS) == 7 and number % 1000
    ]
    pages = crowd.api.get_paginator("list_event_source_mappings").paginate(
        FunctionName=FUNCTIONS[7], PaginationConfig={"PageSize": 60}
    )
    found = [[mapping["UUID"] for mapping in page["EventSourceMappings"]] for page in pages]
    assert [uuid for page in found for uuid in page] == of_one
    assert {len(page) for page in found[:-1]} == {60}
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:queue-5000"
    assert uuids(crowd.api, EventSourceArn=arn) == [crowd.stored[5000]]


# Others come and go meanwhile.


@contextlib.contextmanager
def coming_and_going(crowd: Crowd, queues: Sequence[Queue]) -> Iterator[Callable[[], int]]:
    """Clients that make disabled mappings and delete every second of them, until THROUGH_API have
    been made; how many of them are left."""
    pairs = [(queue, name) for queue in queues for name in FUNCTIONS][:THROUGH_API]
    left: list[str] = []

    def come_and_go(number: int) -> None:
        queue, name = pairs[number]
        made = told(
            crowd.api.create_event_source_mapping(
                EventSourceArn=queue.arn, FunctionName=name, Enabled=False
            ),
            202,
        )
        assert made["State"] == "Disabled"
        if number % 2:
            told(crowd.api.delete_event_source_mapping(UUID=made["UUID"]), 202)
        else:
            left.append(made["UUID"])

    with ThreadPoolExecutor(AT_ONCE) as clients:
        running = [clients.submit(come_and_go, number) for number in range(len(pairs))]
        yield lambda: sum(not each.done() for each in running)
        for each in running:
            each.result()
    found = crowd.listed()
    assert found[:STORED] == crowd.stored
    assert sorted(found[STORED:]) == sorted(left)


def test_no_page_misses_or_repeats_what_stays_while_others_come_and_go(crowd: Crowd) -> None:
    queues = [new_queue(crowd.url) for _ in range(THROUGH_API // len(FUNCTIONS))]
    with coming_and_going(crowd, queues) as still_to_do:
        lists = 0
        while still_to_do() or not lists:
            found = crowd.listed()
            assert len(set(found)) == len(found)
            assert found[:STORED] == crowd.stored
            lists += 1
    left = [mapping for queue in queues for mapping in listed(crowd.api, EventSourceArn=queue.arn)]
    assert {mapping["State"] for mapping in left} == {"Disabled"}
    assert len(left) == THROUGH_API // 2


def test_one_that_is_enabled_among_very_many_delivers_and_has_a_backlog(crowd: Crowd) -> None:
    queue = new_queue(crowd.url)
    made = told(
        crowd.api.create_event_source_mapping(EventSourceArn=queue.arn, FunctionName=ODD), 202
    )
    await_state(crowd.api, made["UUID"], "Enabled")
    to_queue(crowd.url, queue)([Item("key", 0)])
    crowd.flows.await_all(ODD, [Item("key", 0)])
    eventually(lambda: crowd.running.lag()["mappings"][made["UUID"]]["records"] == 0)
    told(crowd.api.delete_event_source_mapping(UUID=made["UUID"]), 202)


# Two clients at once.


def test_of_two_clients_who_make_the_same_mapping_at_once_one_succeeds(crowd: Crowd) -> None:
    queue, other = new_queue(crowd.url), new_queue(crowd.url)
    gate = threading.Barrier(AT_ONCE)

    def attempt(number: int) -> Raw:
        """The same pair in other words; a mapping that is made is deleted only after all tried."""
        name = ODD if number % 2 else f"{ODD}:$LATEST"
        source = queue.arn if number < 2 else other.arn
        gate.wait()
        return crowd.post({"EventSourceArn": source, "FunctionName": name, "Enabled": False})

    with ThreadPoolExecutor(AT_ONCE) as clients:
        for _ in range(RACES):
            replies = list(clients.map(attempt, range(AT_ONCE)))
            for pair in (replies[:2], replies[2:]):
                made, refused = sorted(pair, key=lambda reply: reply.status)
                assert (made.status, refused.status) == (202, 409)
                message = refused.json["message"]
                assert message.endswith(f"the existing mapping with UUID {made.json['UUID']}")
                told(crowd.api.delete_event_source_mapping(UUID=made.json["UUID"]), 202)
