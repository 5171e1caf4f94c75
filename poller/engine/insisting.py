"""What must be durable before anything goes on: a store that fails is asked until it works."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential

from poller.errors import StateError

from .shared import log

REMINDER = 10  # of so many tries that failed, one is logged

T = TypeVar("T")


async def insist(ask: Callable[[], Awaitable[T]], what: str) -> T:
    """The store's answer; `what` says in the log what fails meanwhile."""

    def say_again(state: RetryCallState) -> None:
        if state.attempt_number % REMINDER == 0 and state.outcome is not None:
            log.warning("%s: %s", what, state.outcome.exception())

    try:
        return await ask()
    except StateError as error:
        log.warning("%s: %s", what, error)
    async for attempt in AsyncRetrying(
        retry=retry_if_exception_type(StateError),
        wait=wait_exponential(0.1, max=10),
        before_sleep=say_again,
    ):
        with attempt:
            answer = await ask()
    return answer
