"""Lets starts of a function's processes through; while they fail, one at a time and ever later."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from poller.core.model import Seconds
from poller.interfaces import Errored, NotReached

BACKOFF_MIN: Seconds = 0.5
BACKOFF_MAX: Seconds = 5.0

Started = TypeVar("Started")
Failure = Errored | NotReached

_logger = logging.getLogger("poller.targets")


class StartGate(Generic[Started]):
    """Starts with `start`, whose failures are replies.

    A failure comes only after the back-off that the one before it set, so a function that cannot
    start fails its invocations as on AWS but never in a tight loop.  Who waited while another one
    tried shares how that went wrong.
    """

    def __init__(self, name: str, start: Callable[[], Awaitable[Started | Failure]]) -> None:
        self._name = name
        self._start = start
        self._failure: Failure | None = None
        self._told = ""
        self._failures = 0
        self._failed_at: Seconds = float("-inf")
        self._backoff: Seconds = 0.0
        self._alone = asyncio.Lock()
        self._forgotten = asyncio.Event()

    async def start(self) -> Started | Failure:
        """Start one more, or say why that is impossible now."""
        if self._failure is None:
            return await self._try()
        return await self._retry(self._failures)

    def forget(self) -> None:
        """What failed may work now: the next start comes at once, and its failure is news."""
        self._told = ""
        self._backoff = 0.0
        self._forgotten.set()
        self._forgotten.clear()

    async def _retry(self, seen: int) -> Started | Failure:
        async with self._alone:
            failure = self._failure
            if failure is not None and self._failures != seen:
                return failure
            if failure is not None:
                await self._rest()
                return await self._try()
        return await self._try()

    async def _rest(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._failed_at + self._backoff):
                await self._forgotten.wait()

    async def _try(self) -> Started | Failure:
        began = asyncio.get_running_loop().time()
        outcome = await self._start()
        if isinstance(outcome, Errored | NotReached):
            self._failed(outcome, began)
        elif self._failure is not None:
            self._failure = None
            self._told = ""
            self._backoff = 0.0
            _logger.info("function %s starts again", self._name)
        return outcome

    def _failed(self, failure: Failure, began: Seconds) -> None:
        """Of starts that ran side by side only the first to fail makes the back-off longer."""
        if began >= self._failed_at:
            self._backoff = min(BACKOFF_MAX, max(BACKOFF_MIN, 2 * self._backoff))
        reason = self._reason(failure)
        if reason != self._told:
            _logger.warning("%s", reason)
        self._failure = failure
        self._told = reason
        self._failures += 1
        self._failed_at = asyncio.get_running_loop().time()

    def _reason(self, failure: Failure) -> str:
        match failure:
            case Errored(error_type=error_type, message=message):
                return f"function {self._name} cannot start: {error_type}: {message}"
            case NotReached(why=why):
                return why
