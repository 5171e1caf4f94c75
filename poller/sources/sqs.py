"""SQS: receives a queue's messages, deletes what is done, and keeps the rule of visibility."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

from tenacity import (
    AsyncRetrying,
    retry_if_result,
    stop_after_attempt,
    stop_after_delay,
    wait_exponential,
    wait_random,
)

from poller.aws.client import AwsError, JsonClient
from poller.core.model import Instant, Message, Seconds
from poller.core.steps import Deleted, Received, ReceiveFailed, Released
from poller.errors import SourceMissing, SourceUnfit
from poller.wire import sqs
from poller.wire.sqs import QueueCodec, QueueMessage

from .lost_receives import LostReceives, Receive

RECEIVE_TIMEOUT: Seconds = sqs.WAIT_MAX + 10.0  # a long poll's reply may be late
CALL_TIMEOUT: Seconds = 5.0
REFRESH_INTERVAL: Seconds = 60.0  # of the queue's own visibility timeout
DEFAULT_VISIBILITY = 30  # seconds; SQS's default, until the queue has told its own
DELETE_ATTEMPTS_MAX = 5
DELETE_TIME_MAX: Seconds = 10.0
THROTTLE_PAUSE: Seconds = 1.0
BATCH_CALLS_MAX = 10  # at one time
BACKLOG_AGE_MAX: Seconds = 5.0
QUEUE_IS_GONE = frozenset({"QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"})

_log = logging.getLogger("poller.sources")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Deletion:
    """What one attempt left: messages to try again and why, and why others never will go."""

    left: Sequence[Message]
    why: str = ""
    refused: Sequence[str] = ()


class SqsSource:
    """A QueueSource over the queue `queue_arn`.

    `long_poll` carries the receives, each of which may hold a connection for seconds; `short`
    everything else.  `batch_window` and `function_timeout` are the mapping's, in seconds; `now`
    is the engine's clock.  Calls go to the clients' endpoint whatever host a queue URL names:
    emulators name hosts that do not resolve.
    """

    def __init__(
        self,
        long_poll: JsonClient,
        short: JsonClient,
        *,
        queue_arn: str,
        batch_window: Seconds,
        function_timeout: Seconds,
        now: Callable[[], Instant],
    ) -> None:
        self._long_poll = long_poll
        self._short = short
        self._arn = queue_arn
        self._window = batch_window
        self._function_timeout = function_timeout
        self._now = now
        self._codec = QueueCodec(queue_arn, windowed=batch_window > 0)
        self._known_url: str | None = None
        self._queue_timeout = max(DEFAULT_VISIBILITY, math.ceil(function_timeout))
        self._refreshed_at: Instant = -math.inf
        self._backlog: tuple[Instant, int | None] = (-math.inf, None)
        self._receives = LostReceives(fifo=self._codec.fifo)
        self._batch_calls = asyncio.Semaphore(BATCH_CALLS_MAX)
        self._may_release = True
        self._has_polled = False  # the first poll does not wait: it tells that polling works
        self._deletes_fail = False

    async def check(self) -> None:
        """Return if the queue is there and fits the function.

        Raises SourceMissing, with AWS's words where it is not, and SourceUnfit where it hides
        messages for less time than the function may take (spec 1.2).
        """
        self._known_url = None
        try:
            attributes = await self._attributes()
        except AwsError as error:
            raise self._missing(error) from None
        except ValueError as error:
            raise SourceMissing(f"{self._arn}: bad reply: {error}") from None
        if attributes.visibility_timeout < self._function_timeout:
            raise SourceUnfit(
                f"Queue visibility timeout: {attributes.visibility_timeout} seconds is less than "
                f"Function timeout: {self._function_timeout:g} seconds"
            )
        self._queue_timeout = attributes.visibility_timeout
        self._refreshed_at = self._now()

    async def receive(self, limit: int) -> Received | ReceiveFailed:
        """A long poll for up to `limit` messages."""
        receive = self._receives.next(limit, self._now())
        visibility = await self._visibility()
        try:
            request = sqs.receive_request(
                await self._url(),
                receive.limit,
                visibility,
                receive.attempt,
                wait=sqs.WAIT_MAX if self._has_polled else 0,
            )
            reply = await self._long_poll.call("ReceiveMessage", request, timeout=RECEIVE_TIMEOUT)
            expires_at = self._now() + visibility
            messages = self._codec.messages(reply)
        except AwsError as error:
            return self._receive_failed(error, receive, limit)
        except ValueError as error:
            again = f"any messages in it come again in {visibility} s"
            return ReceiveFailed(f"receiving from {self._arn}: bad reply, {again}: {error}", limit)
        self._has_polled = True
        return Received(messages, sum(message.size for message in messages), limit, expires_at)

    async def delete(self, messages: Sequence[Message]) -> Deleted:
        """Delete `messages`; what fails is tried again for some seconds, then counted.

        Why it failed is said once, until a deletion has gone well again.
        """
        outcomes = await self._in_batches(messages, self._delete_batch)
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
        return Deleted(len(messages) - len(reasons), len(reasons))

    async def release(self, messages: Sequence[Message]) -> Released:
        """Make `messages` visible at once, where sqs:ChangeMessageVisibility is permitted."""
        if self._may_release:
            await self._in_batches(messages, self._release_batch)
        return Released()

    async def backlog(self) -> int | None:
        """The messages that could be received now, some seconds ago.

        Delayed messages and those in flight are not counted: more pollers could not receive them
        either.
        """
        asked_at, count = self._backlog
        if self._now() - asked_at < BACKLOG_AGE_MAX:
            return count
        try:
            count = (await self._attributes()).visible
        except (AwsError, ValueError):
            count = None
        self._backlog = (self._now(), count)
        return count

    def event(self, messages: Sequence[Message]) -> bytes:
        """The JSON that a function receives for `messages`."""
        return self._codec.event(cast(Sequence[QueueMessage], messages))

    def _receive_failed(self, error: AwsError, receive: Receive, limit: int) -> ReceiveFailed:
        if error.code in QUEUE_IS_GONE:
            self._known_url = None
        if error.status is None:
            self._receives.lost(receive)
        pause = THROTTLE_PAUSE if error.throttled else None
        return ReceiveFailed(
            f"receiving from {self._arn}: {error}", limit, error.retry_after or pause
        )

    async def _visibility(self) -> int:
        """The seconds to hide messages for; asks for the queue's own timeout once a minute."""
        if self._now() - self._refreshed_at >= REFRESH_INTERVAL:
            self._refreshed_at = self._now()
            try:
                self._queue_timeout = (await self._attributes()).visibility_timeout
            except (AwsError, ValueError) as error:
                _log.warning(
                    "going on with a visibility timeout of %d s for %s: %s",
                    self._queue_timeout,
                    self._arn,
                    error,
                )
        return sqs.effective_visibility(self._queue_timeout, self._window, self._function_timeout)

    async def _url(self) -> str:
        if self._known_url is None:
            request = sqs.url_request(self._arn)
            reply = await self._short.call("GetQueueUrl", request, timeout=CALL_TIMEOUT)
            self._known_url = sqs.queue_url(reply)
        return self._known_url

    async def _attributes(self) -> sqs.QueueAttributes:
        request = sqs.attributes_request(await self._url())
        reply = await self._short.call("GetQueueAttributes", request, timeout=CALL_TIMEOUT)
        return sqs.queue_attributes(reply)

    def _missing(self, error: AwsError) -> SourceMissing:
        if error.code in QUEUE_IS_GONE:  # AWS's own words (spec 1.2)
            return SourceMissing(
                "Error occurred while ReceiveMessage. SQS Error Code: "
                "AWS.SimpleQueueService.NonExistentQueue. SQS Error Message: "
                "The specified queue does not exist."
            )
        return SourceMissing(f"{self._arn}: {error}")

    async def _in_batches(
        self, messages: Sequence[Message], act: Callable[[Sequence[Message]], Awaitable[_T]]
    ) -> list[_T]:
        async def one(batch: Sequence[Message]) -> _T:
            async with self._batch_calls:
                return await act(batch)

        starts = range(0, len(messages), sqs.ENTRIES_MAX)
        return await asyncio.gather(
            *(one(messages[start : start + sqs.ENTRIES_MAX]) for start in starts)
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
            reply = await self._short.call("DeleteMessageBatch", request, timeout=CALL_TIMEOUT)
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

    async def _release_batch(self, batch: Sequence[Message]) -> None:
        receipts = [message.receipt for message in batch]
        try:
            request = sqs.release_request(await self._url(), receipts)
            await self._short.call("ChangeMessageVisibilityBatch", request, timeout=CALL_TIMEOUT)
        except AwsError as error:
            if error.unauthorised:
                self._may_release = False
            _log.warning(
                "%d messages of %s come again only after their visibility timeout: %s",
                len(batch),
                self._arn,
                error,
            )
        except ValueError as error:
            _log.warning("releasing messages of %s: bad reply: %s", self._arn, error)
