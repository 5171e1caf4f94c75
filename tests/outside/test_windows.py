"""Tumbling windows from outside: a function that keeps the items of a window in its state."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.functions import Answer, Call, errored, function
from tests.outside.by_api import changed, created
from tests.outside.flows import (
    Item,
    Producer,
    Put,
    config,
    item_of,
    produced,
    streams,
    to_stream,
    to_table,
    warnings,
)
from tests.outside.poller_process import Running, poller
from tests.outside.scenes import FUNCTION_TIMEOUT, Plan, Scene, put, sequence, staged, texts
from tests.outside.scenes import config as scenes_config
from tests.outside.test_resharding import QUARTER, split
from tests.servers import new_stream, new_table
from tests.waiting import eventually

pytestmark = pytest.mark.proves("TumblingWindowInSeconds")

MEMBERS = [
    "Records",
    "window",
    "state",
    "shardId",
    "eventSourceARN",
    "isFinalInvokeForWindow",
    "isWindowTerminatedEarly",
]
IDLE = ("--until-idle", "1")
LIMIT = 1024 * 1024


def counting(call: Call) -> Answer:
    """The state has the items of its window: those that it had and those that came."""
    items = [list(item_of(record)) for record in call.records]
    return Answer({"state": {"items": [*call.event["state"].get("items", []), *items]}})


def counted(event: Any) -> list[Item]:
    return [Item(*item) for item in event["state"].get("items", [])]


@dataclass(slots=True)
class Events:
    """What counting functions got, by flow, in the order of arrival."""

    decide: Callable[[Call], Answer] = counting
    _all: dict[str, list[Any]] = field(default_factory=dict)

    def __call__(self, call: Call) -> Answer:
        self._all.setdefault(call.path.strip("/"), []).append(call.event)
        return self.decide(call)

    def of(self, flow: str) -> list[Any]:
        return list(self._all.get(flow, ()))

    def finals(self, flow: str) -> list[Any]:
        """The last final invocation of each window: a crash may repeat it."""
        latest = {
            (event["shardId"], event["window"]["start"]): event
            for event in self.of(flow)
            if event["isFinalInvokeForWindow"]
        }
        return list(latest.values())

    def counts(self, flow: str) -> Counter[Item]:
        return Counter(item for event in self.finals(flow) for item in counted(event))


def patient_config(*arguments: Any, **settings: Any) -> dict[str, Any]:
    """A busy machine is no reason for a function error, after which a state would come again."""
    made = config(*arguments, **settings)
    for declared in made["functions"].values():
        declared["timeout"] = FUNCTION_TIMEOUT
    return made


def arrived_at(record: Any) -> float:
    if "dynamodb" in record:
        return float(record["dynamodb"]["ApproximateCreationDateTime"])
    return float(record["kinesis"]["approximateArrivalTimestamp"])


def instant(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()


def by_shard(events: Sequence[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for event in events:
        found.setdefault(event["shardId"], []).append(event)
    return found


# A day without crashes: two streams and a table, one stream of them split.


LENGTHS = {"stream": 3, "split": 4, "table": 2}


@dataclass(frozen=True, slots=True)
class Day:
    events: Events
    items: dict[str, set[Item]]
    code: int
    log: str


@pytest.fixture(scope="module")
def day(
    kinesalite_url: str, ministack_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Day]:
    events, table = Events(), new_table(ministack_url)
    endpoints = {
        "kinesis": kinesalite_url,
        "dynamodb": ministack_url,
        "dynamodbstreams": ministack_url,
    }
    with function(events) as stub, streams(kinesalite_url) as make:
        sources = {"stream": make(2, "stream"), "split": make(1, "split")}
        made = patient_config(
            stub.url,
            {name: stream.arn for name, stream in sources.items()} | {"table": table.stream_arn},
            endpoints,
            stream={"TumblingWindowInSeconds": LENGTHS["stream"], "BatchSize": 10},
            split={
                "TumblingWindowInSeconds": LENGTHS["split"],
                "BatchSize": 20,
                "ParallelizationFactor": 4,
            },
            table={
                "TumblingWindowInSeconds": LENGTHS["table"],
                "MaximumBatchingWindowInSeconds": 1,
                "FunctionResponseTypes": ["ReportBatchItemFailures"],
            },
        )
        puts = {
            **{name: to_stream(kinesalite_url, stream) for name, stream in sources.items()},
            "table": to_table(ministack_url, table),
        }
        with poller(made, *IDLE, folder=tmp_path_factory.mktemp("day")) as running:
            with produced(puts) as producers:
                for producer in producers.values():
                    producer.put_more(30)
                split(kinesalite_url, sources["split"], 0, QUARTER)
                for producer in producers.values():
                    producer.put_more(60)
            code = running.wait()
        items = {flow: producer.items() for flow, producer in producers.items()}
        yield Day(events, items, code, running.log())


@pytest.mark.parametrize("flow", LENGTHS)
def test_final_states_have_every_item_once_when_poller_has_become_idle(day: Day, flow: str) -> None:
    assert day.code == 0
    assert day.events.counts(flow) == Counter(day.items[flow])


@pytest.mark.proves("S4.2.state")
@pytest.mark.parametrize("flow", LENGTHS)
def test_every_state_is_the_one_that_was_returned_before_it_in_its_window(
    day: Day, flow: str
) -> None:
    for events in by_shard(day.events.of(flow)).values():
        state: Any = {}
        for event in events:
            assert event["state"] == state
            items = [list(item_of(record)) for record in event["Records"]]
            state = {"items": [*state.get("items", []), *items]}
            if event["isFinalInvokeForWindow"]:
                state = {}
        assert events[-1]["isFinalInvokeForWindow"]


@pytest.mark.parametrize("flow", LENGTHS)
def test_windows_are_aligned_and_batches_never_cross_their_ends(day: Day, flow: str) -> None:
    for event in day.events.of(flow):
        assert list(event) == MEMBERS
        start, end = instant(event["window"]["start"]), instant(event["window"]["end"])
        assert (start % LENGTHS[flow], end - start) == (0, LENGTHS[flow])
        assert all(arrived_at(record) < end for record in event["Records"])
        assert event["isFinalInvokeForWindow"] is not bool(event["Records"])
        assert event["isWindowTerminatedEarly"] is False


@pytest.mark.proves("S4.2.final")
@pytest.mark.parametrize("flow", LENGTHS)
def test_each_window_of_a_shard_ends_once_and_before_the_next(day: Day, flow: str) -> None:
    for events in by_shard(day.events.of(flow)).values():
        ends = [event["window"]["end"] for event in events if event["isFinalInvokeForWindow"]]
        assert ends == sorted(set(ends))
        starts = [event["window"]["start"] for event in events]
        assert starts == sorted(starts)


@pytest.mark.proves("S4.2.shard-end")
def test_children_begin_when_the_windows_of_their_parent_have_ended(day: Day) -> None:
    events = day.events.of("split")
    first, *children = by_shard(events)
    assert len(children) == 2
    last_of_parent = max(i for i, event in enumerate(events) if event["shardId"] == first)
    assert events[last_of_parent]["isFinalInvokeForWindow"]
    assert all(event["shardId"] == first for event in events[: last_of_parent + 1])


@pytest.mark.proves("S4.2.parallel")
def test_lanes_that_have_no_effect_are_one_warning(day: Day) -> None:
    assert len([line for line in warnings(day.log) if "ParallelizationFactor" in line]) == 1


# Kills and stops in the middle of windows.


@contextlib.contextmanager
def counting_one(
    url: str, shards: int, settings: dict[str, Any]
) -> Iterator[tuple[Events, Put, dict[str, Any]]]:
    """What a counting function gets, how to write to its stream, and a config with them."""
    events = Events()
    with function(events) as stub, streams(url) as make:
        stream = make(shards, "one")
        made = patient_config(stub.url, {"one": stream.arn}, {"kinesis": url}, one=settings)
        yield events, to_stream(url, stream), made


ENDS = ("kill", "stop", "kill", "kill")


@pytest.mark.proves("S4.2.restart")
def test_kills_and_stops_in_the_middle_of_windows_lose_and_double_nothing(
    kinesalite_url: str, tmp_path: Path
) -> None:
    settings = {"TumblingWindowInSeconds": 5, "BatchSize": 8}
    with counting_one(kinesalite_url, 2, settings) as (events, write, made):
        with produced({"one": write}) as producers:
            producer = producers["one"]
            for end in ENDS:
                with poller(made, folder=tmp_path) as running:
                    _await_state(events, producer)
                    _end(running, end)
            _await_more(producer)
        with poller(made, *IDLE, folder=tmp_path) as running:
            assert running.wait() == 0
    assert events.counts("one") == Counter(producer.items())


def _await_state(events: Events, producer: Producer) -> None:
    """Return once windows have taken in more, and one that is open has something in it."""
    before = len(events.of("one"))
    _await_more(producer)

    def in_the_middle() -> bool:
        seen = events.of("one")
        return len(seen) > before + 10 and any(event["state"] for event in seen[before:])

    eventually(in_the_middle)


def _await_more(producer: Producer) -> None:
    producer.put_more(20)


def _end(running: Running, how: str) -> None:
    if how == "kill":
        running.kill()
    else:
        assert running.stop() == 0


def test_a_stopped_poller_goes_on_with_the_state_that_was_open(
    kinesalite_url: str, tmp_path: Path
) -> None:
    """Windows of a quarter of an hour: none ends in between but by chance."""
    settings = {"TumblingWindowInSeconds": 900}
    with counting_one(kinesalite_url, 1, settings) as (events, write, made):
        for number in range(3):
            write([Item("k", number)])
            with poller(made, folder=tmp_path) as running:
                eventually(lambda: len(_batches(events)) > number)  # noqa: B023
                assert running.stop() == 0
    seen: list[Item] = []
    for event in events.of("one"):
        assert counted(event) == seen
        seen += [item_of(record) for record in event["Records"]]
        if event["isFinalInvokeForWindow"]:
            seen = []


def _batches(events: Events) -> list[Any]:
    return [event for event in events.of("one") if event["Records"]]


# Changes through Lambda's API.


def test_an_update_that_turns_windows_off_ends_the_open_one_with_what_it_has(
    ministack_url: str,
) -> None:
    stream, request = new_stream(ministack_url), {"FunctionName": "orders"}
    request |= {"EventSourceArn": stream.arn, "StartingPosition": "TRIM_HORIZON"}
    with function(listing) as stub, poller(scenes_config(ministack_url, {"orders": stub})) as one:
        put(ministack_url, stream, "a")
        uuid = created(one, **request, TumblingWindowInSeconds=900)
        stub.wait(lambda: len(stub.calls) == 1)
        assert changed(one, uuid, TumblingWindowInSeconds=900)["TumblingWindowInSeconds"] == 900
        put(ministack_url, stream, "b")
        stub.wait(lambda: len(stub.calls) >= 2)
        stub.answers = lambda call: Answer()  # it knows nothing of states any more
        assert changed(one, uuid, TumblingWindowInSeconds=0)["TumblingWindowInSeconds"] == 0
        put(ministack_url, stream, "c")
        stub.wait(lambda: bool(stub.calls) and texts(stub.calls[-1]) == ["c"])
        assert one.stop() == 0
    *_, second, final, last = (call.event for call in stub.calls)
    assert second["window"] == final["window"]
    assert (final["Records"], final["isFinalInvokeForWindow"]) == ([], True)
    assert final["isWindowTerminatedEarly"] is True
    assert final["state"]["seen"][-1] == "b"
    assert list(last) == ["Records"]


# Functions that fail, and states that are too large.  A state is the texts of its records.


def listing(call: Call) -> Answer:
    return Answer({"state": {"seen": [*seen(call), *texts(call)]}})


def seen(call: Call) -> list[str]:
    return list(call.event["state"].get("seen", []))


def failing_finals(times: int) -> Callable[[Call], Answer]:
    left = iter(range(times))

    def answer(call: Call) -> Answer:
        fails = call.event["isFinalInvokeForWindow"] and next(left, None) is not None
        return errored() if fails else listing(call)

    return answer


def outgrowing(call: Call) -> Answer:
    """A state over the limit, from the first record on."""
    return Answer({"state": {"seen": ["x" * LIMIT] if call.records else []}})


def forgetting(call: Call) -> Answer:
    """No state, but in the end."""
    return listing(call) if call.event["isFinalInvokeForWindow"] else Answer({})


def stopping_at(bad: str) -> Callable[[Call], Answer]:
    """Stops once at a record, reports it, and returns the state of what came before it."""
    times = iter(range(1))

    def answer(call: Call) -> Answer:
        if bad not in texts(call) or next(times, None) is None:
            return listing(call)
        done = texts(call)[: texts(call).index(bad)]
        failures = [{"itemIdentifier": sequence(call, bad)}]
        return Answer({"state": {"seen": [*seen(call), *done]}, "batchItemFailures": failures})

    return answer


def alone(call: Call) -> Answer:
    return errored() if len(call.records) > 1 else listing(call)


QUARTER_HOUR = {"TumblingWindowInSeconds": 900}
SHORT = {"TumblingWindowInSeconds": 2}
PLANS = {
    "quiet": Plan(settings=SHORT, answers=listing, records=("a",)),
    "table": Plan(settings=SHORT, answers=listing, records=("a",), view="NEW_IMAGE"),
    "failing": Plan(
        settings={**SHORT, "MaximumRetryAttempts": 0},
        answers=failing_finals(3),
        records=("a",),
    ),
    "outgrowing": Plan(settings=QUARTER_HOUR, answers=outgrowing, records=("a",)),
    "forgetting": Plan(
        settings={**QUARTER_HOUR, "MaximumRetryAttempts": 1},
        answers=forgetting,
        records=("a", "b"),
        failures_to="s3",
    ),
    "reporting": Plan(
        settings={**QUARTER_HOUR, "FunctionResponseTypes": ["ReportBatchItemFailures"]},
        answers=stopping_at("c"),
        records=("a", "b", "c", "d"),
    ),
    "bisecting": Plan(
        settings={**QUARTER_HOUR, "BisectBatchOnFunctionError": True},
        answers=alone,
        records=("a", "b", "c"),
    ),
}


@pytest.fixture(scope="module")
def scenes(ministack_url: str) -> Iterator[dict[str, Scene]]:
    with staged(ministack_url, PLANS) as scenes:
        yield scenes


def told(scene: Scene, count: int) -> list[tuple[list[str], list[str], bool]]:
    """Records and state of the first invocations, and whether each is final."""
    scene.after(count)
    return [
        (texts(call), seen(call), call.event["isFinalInvokeForWindow"])
        for call in tuple(scene.stub.calls)[:count]
    ]


@pytest.mark.proves("S4.2.idle")
@pytest.mark.parametrize("name", ["quiet", "table"])
def test_a_window_after_which_nothing_comes_ends_nevertheless(
    scenes: dict[str, Scene], name: str
) -> None:
    assert told(scenes[name], 2) == [(["a"], [], False), ([], ["a"], True)]
    first, final = (call.event for call in scenes[name].stub.calls[:2])
    assert first["window"] == final["window"]
    assert final["eventSourceARN"] == scenes[name].stream.arn


def test_a_final_invocation_that_fails_is_tried_again_and_holds_its_shard_up(
    scenes: dict[str, Scene],
) -> None:
    scene = scenes["failing"]
    scene.after(2)
    scene.put("b")
    final = ([], ["a"], True)
    assert told(scene, 6) == [(["a"], [], False), *4 * [final], (["b"], [], False)]
    assert scene.running is not None
    assert "the final invocation of a window failed" in scene.running.log()
    assert scene.metric("poller_records_dropped_total") == 0


@pytest.mark.proves("S4.2.too-large")
def test_a_state_over_the_limit_ends_its_window_early_and_leaves_it_an_empty_one(
    scenes: dict[str, Scene],
) -> None:
    scene = scenes["outgrowing"]
    scene.after(2)
    scene.put("b")
    scene.after(4)
    first, final, second, _ = (call.event for call in tuple(scene.stub.calls)[:4])
    assert final["window"] == first["window"]
    assert (final["isFinalInvokeForWindow"], final["isWindowTerminatedEarly"]) == (True, True)
    assert final["state"] == {"seen": ["x" * LIMIT]}
    assert second["state"] == {}
    assert second["isWindowTerminatedEarly"] is False


@pytest.mark.proves("S4.2.no-state")
def test_without_a_state_the_records_are_given_up_and_the_document_has_the_event_of_the_window(
    scenes: dict[str, Scene],
) -> None:
    scene = scenes["forgetting"]
    (body,) = scene.documents()
    document = json.loads(body)
    calls = scene.stub.calls
    assert [texts(call) for call in calls[:2]] == [["a", "b"], ["a", "b"]]
    assert document["payload"] == calls[0].body.decode() == calls[1].body.decode()
    assert list(json.loads(document["payload"])) == MEMBERS
    assert document["requestContext"]["approximateInvokeCount"] == 2
    assert document["responseContext"]["functionError"] is None


def test_failures_that_are_reported_come_again_with_the_state_that_came_beside_them(
    scenes: dict[str, Scene],
) -> None:
    assert told(scenes["reporting"], 2) == [
        (["a", "b", "c", "d"], [], False),
        (["c", "d"], ["a", "b"], False),
    ]


@pytest.mark.proves("S4.2.parallel")
def test_halves_pass_the_state_on(scenes: dict[str, Scene]) -> None:
    assert told(scenes["bisecting"], 5) == [
        (["a", "b", "c"], [], False),
        (["a"], [], False),
        (["b", "c"], ["a"], False),
        (["b"], ["a"], False),
        (["c"], ["a", "b"], False),
    ]
