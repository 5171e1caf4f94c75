"""What signals ask for: SIGTERM and Ctrl-C to stop, a second Ctrl-C to end, SIGHUP to reread."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import anyio

log = logging.getLogger("poller.service")


async def watch_signals(
    stop: Callable[[], None], reload: Callable[[], Coroutine[Any, Any, None]] | None = None
) -> None:
    """Call `stop` and `reload`, until cancelled.  Raises KeyboardInterrupt at a second Ctrl-C."""
    stopping = False
    async with anyio.create_task_group() as tasks:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async for number in signals:
                if number == signal.SIGHUP:
                    if reload is not None:
                        tasks.start_soon(reload)
                elif not stopping:
                    log.info("stopping: what runs may end; Ctrl-C ends it at once")
                    stopping = True
                    stop()
                elif number == signal.SIGINT:
                    raise KeyboardInterrupt
