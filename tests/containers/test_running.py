"""The image at work: a stream in front of it, a function in or beside it, stops and crashes."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.containers import images
from tests.containers.podman import Container, container, volume
from tests.programs import free_port
from tests.servers import Stream, aws, new_stream
from tests.waiting import eventually

pytestmark = pytest.mark.container

KEYS = 4
RECORDS = 400
APP = Path(images.HERE) / "function"
ENVIRONMENT = tuple(
    f"--env={name}={value}"
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }.items()
)
# Of all processes of the container, how many have ended and were not waited for.
ZOMBIES = """
import pathlib
states = [each.read_text().rpartition(")")[2].split()[0]
          for each in pathlib.Path("/proc").glob("[0-9]*/stat")]
print(states.count("Z"))
"""


@dataclass(slots=True)
class Scene:
    """A stream with RECORDS records, and where the function notes what it is done with."""

    url: str
    stream: Stream
    folder: Path
    state: str
    function: dict[str, Any]
    port: int = field(default_factory=free_port)
    runtime_port: int = field(default_factory=free_port)

    def made(self) -> Scene:
        for name in ("config", "seen"):
            (self.folder / name).mkdir()
        (self.folder / "seen").chmod(0o777)  # the users of the images are no users of this machine
        self.write_config()
        self.produce()
        return self

    def write_config(self) -> None:
        config = {
            "aws": {"endpoint_url": self.url, "account_id": "000000000000"},
            "state": "sqlite:/var/lib/poller/poller.db",
            "listen": "${POLLER_LISTEN}",
            "functions": {"orders": {"timeout": 10, **self.function}},
            "mappings": [
                {
                    "EventSourceArn": self.stream.arn,
                    "FunctionName": "orders",
                    "StartingPosition": "TRIM_HORIZON",
                    "BatchSize": 10,
                }
            ],
        }
        (self.folder / "config" / "poller.yaml").write_text(yaml.safe_dump(config))

    @contextlib.contextmanager
    def poller(self, image: str) -> Iterator[Container]:
        mounts = (
            f"--volume={self.folder / 'config'}:/etc/poller:ro",
            f"--volume={self.state}:/var/lib/poller",
            f"--volume={APP}:/var/task:ro",
            f"--volume={self.folder / 'seen'}:/seen",
        )
        listen = f"--env=POLLER_LISTEN=127.0.0.1:{self.port}"
        with container(image, options=(*mounts, *ENVIRONMENT, listen)) as running:
            yield running

    @contextlib.contextmanager
    def runtime(self, image: str) -> Iterator[Container]:
        """The function in a container of its own, started again whenever it ends."""
        options = (
            f"--volume={self.folder / 'seen'}:/seen",
            f"--env=AWS_LAMBDA_RUNTIME_API=127.0.0.1:{self.runtime_port}",
            "--restart=always",
        )
        with container(image, options=options) as running:
            yield running

    def produce(self) -> None:
        records = [
            {"PartitionKey": f"key-{number % KEYS}", "Data": str(number).encode()}
            for number in range(RECORDS)
        ]
        aws("kinesis", self.url).put_records(StreamName=self.stream.name, Records=records)

    def seen(self) -> list[tuple[str, int]]:
        """Key and number of each record that the function finished, in that order."""
        file = self.folder / "seen" / "records"
        lines = file.read_text().splitlines() if file.exists() else []
        return [(key, number) for key, number in map(json.loads, lines)]

    def wait_for(self, count: int) -> None:
        """Until the function has finished so many different records."""
        eventually(lambda: len(set(self.seen())) >= count, timeout=60)


def in_order(seen: Sequence[tuple[str, int]]) -> bool:
    """Whether the records of each key were first seen in the order in which they were put."""
    first = list(dict.fromkeys(seen))
    numbers = {f"key-{key}": [n for k, n in first if k == f"key-{key}"] for key in range(KEYS)}
    return all(each == sorted(each) for each in numbers.values())


@pytest.fixture
def scene(tmp_path: Path, poller_image: str, ministack_url: str) -> Iterator[Scene]:
    """With a function in poller's own container."""
    function = {"handler": "app.handler", "path": "/var/task", "concurrency": 2}
    with volume() as state:
        yield Scene(ministack_url, new_stream(ministack_url, 2), tmp_path, state, function).made()


@pytest.fixture
def beside(scene: Scene) -> Scene:
    """With the function in containers of its own."""
    scene.function = {"runtime_api": f"127.0.0.1:{scene.runtime_port}"}
    scene.write_config()
    return scene


def test_a_stopped_container_has_drained_and_the_next_one_goes_on_where_it_was(
    scene: Scene, poller_image: str
) -> None:
    with scene.poller(poller_image) as first:
        scene.wait_for(RECORDS // 8)
        assert first.stop() == 0
        assert first.processes() == []
    drained = scene.seen()
    assert len(drained) < RECORDS
    with scene.poller(poller_image) as second:
        scene.wait_for(RECORDS)
        assert second.stop() == 0

    seen = scene.seen()
    assert set(Counter(seen).values()) == {1}, "what was drained is not done again"
    assert in_order(seen)


def test_a_killed_container_loses_nothing(scene: Scene, poller_image: str) -> None:
    for run in range(1, 4):
        with scene.poller(poller_image) as running:
            scene.wait_for(run * RECORDS // 8)
            running.kill()
            assert running.processes() == []
    with scene.poller(poller_image) as last:
        scene.wait_for(RECORDS)
        assert last.stop() == 0

    assert len(set(scene.seen())) == RECORDS
    assert in_order(scene.seen())


def test_the_health_check_tells_whether_poller_answers(scene: Scene, poller_image: str) -> None:
    with scene.poller(poller_image) as running:
        eventually(running.is_healthy)
        running.execute("/bin/sh", "-c", "kill -STOP $(cat /proc/1/task/1/children)")
        assert not running.is_healthy()


def test_what_the_children_of_a_function_leave_behind_is_reaped(
    scene: Scene, poller_image: str
) -> None:
    config = scene.folder / "config" / "poller.yaml"
    config.write_text(config.read_text().replace("app.handler", "app.leaving_children_behind"))
    with scene.poller(poller_image) as running:
        scene.wait_for(RECORDS)

        def zombies() -> int:
            return int(running.execute("/opt/poller/bin/python", "-c", ZOMBIES))

        eventually(lambda: zombies() == 0)
        assert running.stop() == 0


def test_a_lambda_image_beside_poller_is_fed_and_drained(
    beside: Scene, poller_image: str, function_image: str
) -> None:
    with beside.runtime(function_image), beside.runtime(function_image):
        with beside.poller(poller_image) as first:
            beside.wait_for(RECORDS // 8)
            assert first.stop() == 0
            assert first.processes() == []
        drained = beside.seen()
        assert len(drained) < RECORDS
        with beside.poller(poller_image) as second:
            beside.wait_for(RECORDS)
            assert second.stop() == 0

    assert set(Counter(beside.seen()).values()) == {1}
    assert in_order(beside.seen())


def test_a_lambda_image_that_crashes_in_the_middle_of_batches_loses_nothing(
    beside: Scene, poller_image: str, function_image: str
) -> None:
    with beside.runtime(function_image) as runtime, beside.poller(poller_image) as running:
        for crash in range(1, 4):
            beside.wait_for(crash * RECORDS // 8)
            runtime.crash()
        beside.wait_for(RECORDS)
        assert running.stop() == 0

    assert len(set(beside.seen())) == RECORDS
    assert in_order(beside.seen())
