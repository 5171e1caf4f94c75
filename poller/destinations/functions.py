"""Records to a function: an asynchronous invocation of it, with the record as its event."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from poller.errors import DestinationError, QueueFull, StateError
from poller.interfaces import EVENT_BYTES_MAX, AsyncInvocations, Failure, Invocation
from poller.wire.arns import FailureDestination

from .refusals import OpenClient, refusals_of


@dataclass(frozen=True, slots=True)
class OwnFunctions:
    """The functions declared here; `key_of`: what declares an ARN now, None if nothing does."""

    key_of: Callable[[str], str | None]
    queue: AsyncInvocations


class FunctionDestination:
    """Needs lambda:InvokeFunction, but for functions declared here, which are invoked here."""

    def __init__(
        self, place: FailureDestination, open_client: OpenClient, own: OwnFunctions | None
    ) -> None:
        self._place = place
        self._open_client = open_client
        self._own = own

    async def send(self, failure: Failure) -> None:
        """One attempt.  Raises DestinationError."""
        arn, event = self._place.arn, failure.document.encode()
        if len(event) > EVENT_BYTES_MAX:
            raise DestinationError(
                f"{arn}: the record has {len(event)} bytes, and an event up to {EVENT_BYTES_MAX}"
            )
        if self._own is not None and (key := self._own.key_of(arn)) is not None:
            trace_id = failure.notice.trace_id if failure.notice else ""
            invocation = Invocation(event, str(uuid4()), arn, trace_id)
            try:
                await self._own.queue.accept(key, invocation)
            except (QueueFull, StateError) as error:
                raise DestinationError(f"{arn}: {error}") from error
            return
        with refusals_of(arn, "lambda:InvokeFunction"):
            client = await self._open_client()
            await client.invoke(FunctionName=arn, InvocationType="Event", Payload=event)

    async def check(self) -> None:
        """Nothing is looked for: only mappings ask, and they have no functions as destinations."""
