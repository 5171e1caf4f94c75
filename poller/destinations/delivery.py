"""The delivery rule: a document is sent, or kept to be sent later, and never lost.

A document is tried for some minutes while its lane waits (spec 7.3); the result of an asynchronous
invocation for some seconds, since events behind it would grow too old.  Then it is kept in the
state store, loudly, and the lane goes on; what is kept is sent again once the destination works.
Sending and then failing to note it sends twice: destinations get every document at least once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import anyio
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential

from poller.core.model import Fate, Seconds
from poller.errors import ConfigError, DestinationError, StateError
from poller.interfaces import Destination, Failure, FailureStore

GIVE_UP_AFTER: Seconds = 300.0
GIVE_UP_RESULT_AFTER: Seconds = 5.0
ATTEMPT_MAX: Seconds = 60.0
RETRY_MIN: Seconds = 1.0  # doubled after each attempt
RETRY_MAX: Seconds = 30.0
RESEND_PERIOD: Seconds = 60.0
RESEND_BATCH = 100  # documents read from the store at a time

logger = logging.getLogger("poller.destinations")


class Delivery:
    """Delivers failure documents to the destinations that they name.

    `destination_for` gives the destination of an ARN, or raises ConfigError; it is asked once for
    each that a document goes to.  `on_failed_attempt` is called for every attempt that failed.
    """

    def __init__(
        self,
        store: FailureStore,
        destination_for: Callable[[str], Destination],
        *,
        on_failed_attempt: Callable[[Failure], None],
    ) -> None:
        self._store = store
        self._destination_for = destination_for
        self._on_failed_attempt = on_failed_attempt
        self._destinations: dict[str, Destination] = {}  # as many as documents name
        self._failed: dict[str, int] = {}  # the document that ended the last round, by destination
        self._resending = anyio.Lock()

    async def deliver(self, failure: Failure) -> Fate:
        """Send `failure`, for as long as it takes until it is sent or kept.

        If it can be neither, the lane waits here.  Cancelled, it may be sent or not; its records
        are unsettled then and come again.
        """
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(DestinationError),
                wait=wait_exponential(RETRY_MIN, RETRY_MAX),
                stop=_no_time_left(_patience(failure)),
                reraise=True,
            ):
                with attempt:
                    await self._attempt(failure)
        except DestinationError:
            await self._keep(failure)
            return Fate.KEPT
        return Fate.SENT

    async def check(self, arn: str) -> None:
        """Return if the destination is there.  Raises DestinationError, ConfigError.

        Anybody may ask for any ARN, so nothing is kept of it.
        """
        await self._destination_for(arn).check()

    async def resend(self) -> None:
        """Send kept documents again, a round now and then, until cancelled."""
        while True:
            try:
                await self.resend_once()
            except StateError as error:
                logger.warning("sending kept documents again: %s", error)
            await anyio.sleep(RESEND_PERIOD)

    async def resend_once(self) -> int:
        """Send kept documents again, oldest first, and drop them; how many were sent.

        The first failure of a destination ends the round for that destination, and its next round
        begins behind the document that failed: there may be nothing wrong but with that one, such
        as a record that is larger than a queue's messages may be.  Raises StateError.
        """
        failed: dict[str, int] = {}
        async with self._resending:
            sent = await self._resend(failed, behind=True)
            if self._failed:
                sent += await self._resend(failed, behind=False)
            self._failed = failed
        if sent:
            logger.info("%d kept documents have reached their destination", sent)
        return sent

    async def _resend(self, failed: dict[str, int], *, behind: bool) -> int:
        """Send what lies `behind` the failures of the last round, or else all but that.

        `failed`: by destination, the document that ended this round; they are added.
        """
        sent, after = 0, 0
        while documents := await self._store.kept(RESEND_BATCH, after=after):
            for id, failure in documents:
                after = id
                place = failure.destination
                if place in failed or (id > self._failed.get(place, 0)) is not behind:
                    continue
                if await self._sent_again(failure):
                    await self._store.drop([id])
                    sent += 1
                else:
                    failed[place] = id
        return sent

    async def _sent_again(self, failure: Failure) -> bool:
        try:
            await self._attempt(failure)
        except DestinationError:
            return False
        return True

    async def _attempt(self, failure: Failure) -> None:
        """Send once; a failure is counted, logged and raised as DestinationError."""
        try:
            async with asyncio.timeout(ATTEMPT_MAX):
                await self._destination(failure.destination).send(failure)
        except TimeoutError:
            problem = f"{failure.destination}: no answer within {ATTEMPT_MAX:g} s"
        except (DestinationError, ConfigError) as error:
            problem = str(error)
        else:
            return
        self._on_failed_attempt(failure)
        logger.warning("%s %s", _kind(failure), problem, extra=_fields(failure))
        raise DestinationError(problem)

    def _destination(self, arn: str) -> Destination:
        if arn not in self._destinations:
            self._destinations[arn] = self._destination_for(arn)
        return self._destinations[arn]

    async def _keep(self, failure: Failure) -> None:
        """Store it, however long that takes: a lane that waits is better than a lost document."""
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(StateError),
            wait=wait_exponential(RETRY_MIN, RETRY_MAX),
            before_sleep=lambda state: _report_not_kept(failure, state),
        ):
            with attempt:
                await self._store.keep(failure)
        logger.error(
            "%s %s failed for %g s: the document about %s is kept in the state store and will be"
            " sent once the destination works",
            _kind(failure),
            failure.destination,
            _patience(failure),
            _about(failure),
            extra=_fields(failure),
        )


def _patience(failure: Failure) -> Seconds:
    """How long it is tried before it is kept."""
    return GIVE_UP_AFTER if failure.notice is None else GIVE_UP_RESULT_AFTER


def _no_time_left(patience: Seconds) -> Callable[[RetryCallState], bool]:
    """Whether the next attempt would begin too late, by the event loop's clock, from now on."""
    clock = asyncio.get_running_loop().time
    until = clock() + patience
    return lambda state: clock() + state.upcoming_sleep > until


def _report_not_kept(failure: Failure, state: RetryCallState) -> None:
    problem = state.outcome.exception() if state.outcome else None
    logger.error(
        "%s %s failed and the document about %s cannot be kept, so that waits: %s",
        _kind(failure),
        failure.destination,
        _about(failure),
        problem,
        extra=_fields(failure),
    )


def _kind(failure: Failure) -> str:
    """What the place is to which it goes."""
    if failure.notice is None:
        return "failure destination"
    return "dead-letter destination" if failure.notice.dead_letter else "destination"


def _about(failure: Failure) -> str:
    if failure.notice is None:
        return f"{failure.records} records of {failure.shard}"
    return f"request {failure.notice.request_id} of function {failure.function}"


def _fields(failure: Failure) -> dict[str, str]:
    if failure.notice is None:
        return {"mapping": failure.mapping, "shard": failure.shard}
    return {"function": failure.function, "request": failure.notice.request_id}
