"""Documents to a standard SNS topic: the document is the message (spec 7.2)."""

from __future__ import annotations

from poller.interfaces import Failure
from poller.wire.arns import FailureDestination

from .messages import attributes
from .refusals import OpenClient, looking_for, refusals_of


class SnsDestination:
    """Needs sns:Publish."""

    def __init__(self, place: FailureDestination, open_client: OpenClient) -> None:
        self._place = place
        self._open_client = open_client

    async def send(self, failure: Failure) -> None:
        """One attempt.  Raises DestinationError, also for more than the 256 KB that SNS takes."""
        with refusals_of(self._place.arn, "sns:Publish"):
            client = await self._open_client()
            topic, beside = self._place.arn, attributes(failure)
            await client.publish(TopicArn=topic, Message=failure.document, **beside)

    async def check(self) -> None:
        """Raises DestinationError if there is no such topic."""
        with looking_for(self._place.arn):
            client = await self._open_client()
            await client.get_topic_attributes(TopicArn=self._place.arn)
