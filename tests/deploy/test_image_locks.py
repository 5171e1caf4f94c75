"""What the image installs is what tests ran with: its locks agree with those of development."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "deploy" / "image"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

_PINNED = re.compile(r"^([a-z0-9.-]+)==([^ ;]+)", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z0-9.-]+")


def pinned(lock: Path) -> Mapping[str, str]:
    return dict(_PINNED.findall(lock.read_text()))


def names(requirements: Iterable[str]) -> set[str]:
    return {found.group().lower() for each in requirements if (found := _NAME.match(each))}


@pytest.mark.parametrize("lock", ["requirements.lock", "build.lock"])
def test_the_image_has_the_versions_that_tests_run_with(lock: str) -> None:
    tested = pinned(ROOT / "requirements-dev.lock")

    assert pinned(IMAGE / lock).items() <= tested.items()


def test_the_image_has_poller_s_dependencies_and_tracing_but_no_demo() -> None:
    project = PROJECT["project"]
    extras = project["optional-dependencies"]
    installed = pinned(IMAGE / "requirements.lock").keys()

    assert names([*project["dependencies"], *extras["tracing"]]) <= installed
    assert names([*extras["demo"], *PROJECT["dependency-groups"]["build"]]) & installed == set()


def test_the_image_says_the_version_of_poller() -> None:
    recipe = (ROOT / "Dockerfile").read_text()

    assert f"ARG VERSION={PROJECT['project']['version']}\n" in recipe
