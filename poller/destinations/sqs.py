"""Documents to a standard SQS queue: the document is the message's body (spec 7.2)."""

from __future__ import annotations

from poller.interfaces import Failure
from poller.wire.arns import FailureDestination

from .messages import attributes, trace
from .refusals import OpenClient, looking_for, refusals_of


class SqsDestination:
    """Needs sqs:SendMessage alone: the queue's URL follows from its ARN."""

    def __init__(self, place: FailureDestination, open_client: OpenClient) -> None:
        self._place = place
        self._open_client = open_client

    async def send(self, failure: Failure) -> None:
        """One attempt.  Raises DestinationError."""
        place = self._place
        with refusals_of(place.arn, "sqs:SendMessage"):
            client = await self._open_client()
            url = f"{client.meta.endpoint_url.rstrip('/')}/{place.account}/{place.name}"
            beside = {**attributes(failure), **trace(failure)}
            await client.send_message(QueueUrl=url, MessageBody=failure.document, **beside)

    async def check(self) -> None:
        """Raises DestinationError if there is no such queue."""
        with looking_for(self._place.arn):
            client = await self._open_client()
            await client.get_queue_url(
                QueueName=self._place.name, QueueOwnerAWSAccountId=self._place.account
            )
