"""Records to an EventBridge bus: each is the detail of an event from `lambda` (spec 12.4)."""

from __future__ import annotations

from poller.errors import DestinationError
from poller.interfaces import Failure
from poller.wire.arns import FailureDestination
from poller.wire.invocation_records import DETAIL_TYPE, EVENTBRIDGE_SOURCE, qualified

from .refusals import OpenClient, refusals_of


class EventBusDestination:
    """Needs events:PutEvents."""

    def __init__(self, place: FailureDestination, open_client: OpenClient) -> None:
        self._place = place
        self._open_client = open_client

    async def send(self, failure: Failure) -> None:
        """One attempt.  Raises DestinationError."""
        arn, notice = self._place.arn, failure.notice
        assert notice is not None, "mappings have no buses as destinations"
        entry = {
            "Source": EVENTBRIDGE_SOURCE,
            "DetailType": DETAIL_TYPE + ("Success" if notice.succeeded else "Failure"),
            "Detail": failure.document,
            "EventBusName": arn,
            "Resources": [arn, qualified(notice.function_arn)],
        }
        with refusals_of(arn, "events:PutEvents"):
            client = await self._open_client()
            answer = await client.put_events(Entries=[entry])
        for refused in answer.get("Entries", ()):
            if code := refused.get("ErrorCode"):
                raise DestinationError(f"{arn}: {code}: {refused.get('ErrorMessage', '')}")

    async def check(self) -> None:
        """Nothing is looked for: only mappings ask, and they have no buses as destinations."""
