"""The calls about messages that were received: delete them, or hide them for longer or no more.

A call is about ten messages at most, and only so many are open at one time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tenacity import (
    AsyncRetrying,
    retry_if_result,
    stop_after_attempt,
    stop_after_delay,
    wait_exponential,
    wait_random,
)

from poller.aws.client import AwsError, JsonClient
from poller.core.model import Message, Seconds
from poller.wire import sqs

CALL_TIMEOUT: Seconds = 5.0
DELETE_ATTEMPTS_MAX = 5
DELETE_TIME_MAX: Seconds = 10.0
CALLS_MAX = 10  # of each kind, so that hiding does not wait for deletions

_log = logging.getLogger("poller.sources")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Deletion:
    """What one attempt left: messages to try again and why, and why others never will go."""

    left: Sequence[Message]
    why: str = ""
    refused: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Hiding:
    """`done`: how many messages are hidden now.  `why` others are not; `again`: trying may help,
    but not if it is `forbidden`."""

    done: int
    why: str = ""
    again: bool = False
    forbidden: bool = False


class MessageCalls:
    """About the messages of one queue; `url` tells where it is, which may take a call."""

    def __init__(
        self, client: JsonClient, url: Callable[[], Awaitable[str]], queue_arn: str
    ) -> None:
        self.may_hide = True  # sqs:ChangeMessageVisibility is permitted, as far as is known
        self._client = client
        self._url = url
        self._arn = queue_arn
        self._deletions = asyncio.Semaphore(CALLS_MAX)
        self._hidings = asyncio.Semaphore(CALLS_MAX)
        self._deletes_fail = False
        self._extends_fail = False
        self._told = False  # that the heartbeat is not permitted

    async def delete(self, messages: Sequence[Message]) -> tuple[int, int]:
        """How many were deleted and how many were not, after several tries.

        Why it failed is said once, until a deletion has gone well again.
        """
        outcomes = await _in_batches(messages, self._delete_batch, self._deletions)
        reasons = [why for outcome in outcomes for why in outcome]
        if reasons and not self._deletes_fail:
            _log.info(
                "%d of %d messages could not be deleted from %s and will come again: %s",
                len(reasons),
                len(messages),
                self._arn,
                reasons[0],
            )
        self._deletes_fail = bool(reasons)
        return len(messages) - len(reasons), len(reasons)

    async def release(self, messages: Sequence[Message]) -> None:
        """Make them visible at once, if that is permitted."""
        if not self.may_hide:
            return
        hidings = await self._hide(messages, 0)
        if why := _first_reason(hidings):
            _log.warning(
                "%d messages of %s come again only after their visibility timeout: %s",
                len(messages) - sum(hiding.done for hiding in hidings),
                self._arn,
                why,
            )

    async def extend(self, messages: Sequence[Message], seconds: int) -> bool:
        """Hide them for `seconds` from now on; False if that may work when tried again."""
        if not self.may_hide:
            return False
        hidings = await self._hide(messages, seconds)
        why = _first_reason(hidings)
        if any(hiding.forbidden for hiding in hidings):
            self._say_forbidden(why)
        elif why and not self._extends_fail:
            _log.info("messages of %s could not be hidden for longer: %s", self._arn, why)
        self._extends_fail = bool(why)
        return not any(hiding.again for hiding in hidings) and any(each.done for each in hidings)

    def _say_forbidden(self, why: str) -> None:
        if not self._told:
            self._told = True
            _log.warning(
                "going on without the heartbeat of %s, which needs sqs:ChangeMessageVisibility: "
                "messages that run for longer than their visibility timeout come again: %s",
                self._arn,
                why,
            )

    async def _hide(self, messages: Sequence[Message], seconds: int) -> list[_Hiding]:
        async def hide(batch: Sequence[Message]) -> _Hiding:
            return await self._hide_batch(batch, seconds)

        return await _in_batches(messages, hide, self._hidings)

    async def _hide_batch(self, batch: Sequence[Message], seconds: int) -> _Hiding:
        receipts = [message.receipt for message in batch]
        try:
            request = sqs.visibility_request(await self._url(), receipts, seconds)
            reply = await self._client.call(
                "ChangeMessageVisibilityBatch", request, timeout=CALL_TIMEOUT
            )
            failures = sqs.batch_failures(reply, len(batch))
        except AwsError as error:
            self.may_hide = self.may_hide and not error.unauthorised
            return _Hiding(0, str(error), again=True, forbidden=error.unauthorised)
        except ValueError as error:
            return _Hiding(0, f"bad reply: {error}", again=True)
        return _Hiding(
            len(batch) - len(failures),
            failures[0].why if failures else "",
            again=any(not failure.final for failure in failures),
        )

    async def _delete_batch(self, batch: Sequence[Message]) -> list[str]:
        """Why messages of `batch` could not be deleted, one reason for each."""
        deletion = _Deletion(batch)
        reasons: list[str] = []

        async def attempt() -> Sequence[Message]:
            nonlocal deletion
            deletion = await self._delete_once(deletion.left)
            reasons.extend(deletion.refused)
            return deletion.left

        # On giving up: what the last attempt left, instead of tenacity's RetryError.
        await AsyncRetrying(
            retry=retry_if_result(bool),
            stop=stop_after_attempt(DELETE_ATTEMPTS_MAX) | stop_after_delay(DELETE_TIME_MAX),
            wait=wait_exponential(multiplier=0.1, max=2.0) + wait_random(0, 0.1),
            retry_error_callback=lambda _: deletion.left,
        )(attempt)
        return reasons + [deletion.why] * len(deletion.left)

    async def _delete_once(self, messages: Sequence[Message]) -> _Deletion:
        receipts = [message.receipt for message in messages]
        try:
            request = sqs.delete_request(await self._url(), receipts)
            reply = await self._client.call("DeleteMessageBatch", request, timeout=CALL_TIMEOUT)
            failures = sqs.batch_failures(reply, len(messages))
        except AwsError as error:
            if error.retryable:
                return _Deletion(messages, str(error))
            return _Deletion((), refused=[str(error)] * len(messages))
        except ValueError as error:
            return _Deletion(messages, f"bad reply: {error}")
        again = [failure for failure in failures if not failure.final]
        return _Deletion(
            [messages[failure.index] for failure in again],
            again[0].why if again else "",
            [failure.why for failure in failures if failure.final],
        )


def _first_reason(hidings: Sequence[_Hiding]) -> str:
    return next((hiding.why for hiding in hidings if hiding.why), "")


async def _in_batches(
    messages: Sequence[Message],
    act: Callable[[Sequence[Message]], Awaitable[_T]],
    turns: asyncio.Semaphore,
) -> list[_T]:
    async def one(batch: Sequence[Message]) -> _T:
        async with turns:
            return await act(batch)

    starts = range(0, len(messages), sqs.ENTRIES_MAX)
    return await asyncio.gather(
        *(one(messages[start : start + sqs.ENTRIES_MAX]) for start in starts)
    )
