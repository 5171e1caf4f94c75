"""Waiting for something to become true, in tests of what other threads and processes do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

TIMEOUT = 20.0  # only a test that fails waits that long
POLL_INTERVAL = 0.02


def eventually(answer: Callable[[], T | None], timeout: float = TIMEOUT) -> T:
    """What `answer` returns once it is neither None nor False; AssertionError after `timeout`."""
    give_up_at = time.monotonic() + timeout
    while True:
        found = answer()
        if found is not None and found is not False:
            return found
        assert time.monotonic() < give_up_at, f"no {_name(answer)} within {timeout} s"
        time.sleep(POLL_INTERVAL)


async def soon(answer: Callable[[], T | None], timeout: float = TIMEOUT) -> T:
    """`eventually` for async tests: the event loop goes on meanwhile."""
    give_up_at = time.monotonic() + timeout
    while True:
        found = answer()
        if found is not None and found is not False:
            return found
        assert time.monotonic() < give_up_at, f"no {_name(answer)} within {timeout} s"
        await asyncio.sleep(POLL_INTERVAL)


def _name(answer: Callable[[], object]) -> str:
    return getattr(answer, "__qualname__", repr(answer))
