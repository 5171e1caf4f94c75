"""An event loop in a thread of its own, so that a test's own servers serve sync and async tests."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

CALL_TIMEOUT = 10.0


class Background:
    """Runs coroutines on its loop and waits for their results."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(CALL_TIMEOUT)


@contextlib.contextmanager
def background() -> Iterator[Background]:
    """A running loop; at the end its tasks are cancelled and its thread is joined."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="background loop", daemon=True)
    thread.start()
    runner = Background(loop)
    try:
        yield runner
    finally:
        runner.run(_cancel_all())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(CALL_TIMEOUT)
        loop.close()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
