"""The images, built once for a run; tests are skipped with the reason where they cannot be had."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.containers import images
from tests.npm.install import Unavailable


@pytest.fixture(scope="session")
def poller_image() -> str:
    return _had(images.poller)


@pytest.fixture(scope="session")
def function_image() -> str:
    return _had(images.function)


def _had(build: Callable[[], str]) -> str:
    try:
        return build()
    except Unavailable as reason:
        pytest.skip(f"containers: {reason}")
