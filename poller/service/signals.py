"""What signals ask for: SIGTERM and Ctrl-C to stop, a second Ctrl-C to end, SIGHUP to reread."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import anyio

log = logging.getLogger("poller.service")


async def watch_signals(stopping: anyio.Event, hangup: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Set `stopping`, or have `hangup` called.  Raises KeyboardInterrupt at a second Ctrl-C."""
    watched = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    async with anyio.create_task_group() as tasks:
        with anyio.open_signal_receiver(*watched) as signals:
            async for number in signals:
                if number is signal.SIGHUP:
                    tasks.start_soon(hangup)
                elif not stopping.is_set():
                    log.info("stopping: running invocations may end; Ctrl-C ends them at once")
                    stopping.set()
                elif number is signal.SIGINT:
                    raise KeyboardInterrupt
