"""SQS: receives a queue's messages, deletes what is done, and keeps the rule of visibility."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import cast

from poller.aws.client import AwsError, JsonClient
from poller.core.model import Instant, Message, MessageBatch, Seconds
from poller.core.steps import Deleted, Extended, Received, ReceiveFailed, Released
from poller.errors import SourceMissing, SourceUnfit
from poller.wire import sqs
from poller.wire.sqs import QueueCodec, QueueMessage

from .lost_receives import LostReceives, Receive
from .sqs_batches import CALL_TIMEOUT, MessageCalls

RECEIVE_TIMEOUT: Seconds = sqs.WAIT_MAX + 10.0  # a long poll's reply may be late
REFRESH_INTERVAL: Seconds = 60.0  # of the queue's own visibility timeout
DEFAULT_VISIBILITY = 30  # seconds; SQS's default, until the queue has told its own
HEARTBEAT_MIN = 2  # seconds; nothing is kept hidden for less by asking again and again
THROTTLE_PAUSE: Seconds = 1.0
BACKLOG_AGE_MAX: Seconds = 5.0
QUEUE_IS_GONE = frozenset({"QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"})

_log = logging.getLogger("poller.sources")


class SqsSource:
    """A QueueSource over the queue `queue_arn`.

    `long_poll` carries the receives, each of which may hold a connection for seconds; `short`
    everything else.  `batch_window` and `function_timeout` are the mapping's, in seconds; with a
    `heartbeat` a run may outlive the visibility timeout.  `now` is the engine's clock.  Calls go
    to the clients' endpoint whatever host a queue URL names: emulators name hosts that do not
    resolve.
    """

    def __init__(
        self,
        long_poll: JsonClient,
        short: JsonClient,
        *,
        queue_arn: str,
        batch_window: Seconds,
        function_timeout: Seconds,
        heartbeat: bool = False,
        now: Callable[[], Instant],
    ) -> None:
        self._long_poll = long_poll
        self._short = short
        self._arn = queue_arn
        self._window = batch_window
        self._function_timeout = function_timeout
        self._heartbeat = heartbeat
        self._now = now
        self._codec = QueueCodec(queue_arn, windowed=batch_window > 0)
        self._known_url: str | None = None
        self._queue_timeout = max(DEFAULT_VISIBILITY, math.ceil(function_timeout))
        self._refreshed_at: Instant = -math.inf
        self._backlog: tuple[Instant, int | None] = (-math.inf, None)
        self._receives = LostReceives(fifo=self._codec.fifo)
        self._calls = MessageCalls(short, self._url, queue_arn)
        self._has_polled = False  # the first poll does not wait: it tells that polling works

    async def check(self) -> None:
        """Return if the queue is there and fits the function.

        Raises SourceMissing, with AWS's words where it is not, and SourceUnfit where it hides
        messages for less time than the function may take (spec 1.2) and no heartbeat for longer.
        """
        self._known_url = None
        try:
            attributes = await self._attributes()
        except AwsError as error:
            raise self._missing(error) from None
        except ValueError as error:
            raise SourceMissing(f"{self._arn}: bad reply: {error}") from None
        if attributes.visibility_timeout < self._function_timeout and not self._heartbeat:
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
        """Delete `messages`; what fails is tried again for some seconds, then counted."""
        return Deleted(*await self._calls.delete(messages))

    async def release(self, messages: Sequence[Message]) -> Released:
        """Make `messages` visible at once, where sqs:ChangeMessageVisibility is permitted."""
        await self._calls.release(messages)
        return Released()

    async def extend(self, batch: MessageBatch, seconds: int) -> Extended:
        """Hide the messages of `batch` for `seconds` from now on, where that is permitted."""
        asked_at = self._now()
        hidden = await self._calls.extend(batch.messages, seconds)
        expires_at = asked_at + seconds if hidden else None
        return Extended(batch.id, expires_at, permitted=self._calls.may_hide)

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
        timeout = max(self._queue_timeout, HEARTBEAT_MIN if self._heartbeat else 0)
        return sqs.effective_visibility(timeout, self._window, self._function_timeout)

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
