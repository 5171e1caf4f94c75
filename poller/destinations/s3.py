"""Documents to an S3 bucket: one object each, of batches with the whole event (spec 7.1)."""

from __future__ import annotations

from poller.interfaces import Failure
from poller.wire.arns import FailureDestination
from poller.wire.failures import with_payload

from .refusals import OpenClient, looking_for, refusals_of


class S3Destination:
    """Needs s3:PutObject.  A document that is sent again replaces its own object."""

    def __init__(self, place: FailureDestination, open_client: OpenClient) -> None:
        self._place = place
        self._open_client = open_client

    async def send(self, failure: Failure) -> None:
        """One attempt.  Raises DestinationError."""
        document, payload = failure.document, failure.payload
        body = with_payload(document, payload) if failure.notice is None else document.encode()
        with refusals_of(self._place.arn, "s3:PutObject"):
            client = await self._open_client()
            await client.put_object(
                Bucket=self._place.name,
                Key=failure.key,
                Body=body,
                ContentType="application/json",
            )

    async def check(self) -> None:
        """Raises DestinationError if there is no such bucket."""
        with looking_for(self._place.arn):
            client = await self._open_client()
            await client.head_bucket(Bucket=self._place.name)
