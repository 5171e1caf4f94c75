"""The two commands at the top of deploy/compose/compose.yaml, with a stand-in for AWS's image."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.containers import images
from tests.containers.podman import Failed, installed
from tests.npm.install import Unavailable
from tests.programs import free_port
from tests.waiting import eventually

pytestmark = pytest.mark.container

COMPOSE = "podman-compose==1.5.0"
FOLDER = images.ROOT / "deploy" / "compose"
ORDERS = 100
TIMEOUT = 600.0


@dataclass(frozen=True, slots=True)
class Project:
    """Containers of compose.yaml under a name of their own."""

    name: str
    program: Path
    environment: dict[str, str]
    options: tuple[str, ...]

    def compose(self, *arguments: str) -> str:
        options = [f"--podman-build-args={each}" for each in self.options]
        return self._run(str(self.program), "--project-name", self.name, *options, *arguments)

    def podman(self, *arguments: str) -> str:
        return self._run("podman", *arguments)

    def output(self, service: str) -> list[str]:
        return self.podman("logs", f"{self.name}_{service}_1").splitlines()

    def orders(self) -> list[int]:
        """Those that the function printed."""
        printed = [json.loads(line) for line in self.output("function") if line.startswith("{")]
        return [order["order"] for line in printed for order in line["orders"]]

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command,
            cwd=FOLDER,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        if done.returncode != 0:
            raise Failed(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout


def _program() -> Path:
    folder = images.CACHE / "compose"
    python, stamp = folder / "bin" / "python", folder / "installed"
    if not stamp.exists() or stamp.read_text() != COMPOSE:
        images.run(sys.executable, "-m", "venv", str(folder))
        images.run(str(python), "-m", "pip", "--disable-pip-version-check", "install", COMPOSE)
        stamp.write_text(COMPOSE)
    return python.with_name("podman-compose")


@pytest.fixture
def project(function_image: str) -> Iterator[Project]:
    try:
        environment = {
            "CONTAINERS_CONF": str(installed("bridge")),
            "FUNCTION_BASE": function_image,
            "POLLER_BASE": images.base(),
            "PORT": str(free_port()),
        }
        program = _program()
    except Unavailable as reason:
        pytest.skip(f"containers: {reason}")
    with contextlib.ExitStack() as stack:
        options = stack.enter_context(images.build_options())
        made = Project(f"poller-test-{uuid.uuid4().hex[:8]}", program, environment, options)
        stack.callback(made.compose, "down", "--volumes", "--rmi=local")
        yield made


def test_the_compose_example_does_what_it_says(project: Project) -> None:
    project.compose("up", "--build", "--detach")
    project.compose("exec", "-T", "emulator", "python", "/produce.py")

    eventually(lambda: len(project.orders()) >= ORDERS, timeout=60)
    assert sorted(project.orders()) == list(range(ORDERS))
    port = project.environment["PORT"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/lag", timeout=10) as reply:
        assert json.load(reply)["total"]["seconds"] == 0

    project.compose("stop", "poller")
    ended = project.podman("wait", f"{project.name}_poller_1")
    assert ended.strip() == "0"
