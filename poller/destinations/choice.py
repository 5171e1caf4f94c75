"""Which destination an ARN stands for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from aiobotocore.config import AioConfig

from poller.aws.sessions import AwsSession
from poller.errors import ConfigError
from poller.interfaces import Destination
from poller.wire.arns import ArnError, DestinationKind
from poller.wire.event_destinations import parse_event_destination

from .event_buses import EventBusDestination
from .functions import FunctionDestination, OwnFunctions
from .s3 import S3Destination
from .sns import SnsDestination
from .sqs import SqsDestination

# Trying again is the delivery's business, which reports each attempt.
CALLS: dict[str, Any] = {
    "retries": {"total_max_attempts": 1},
    "connect_timeout": 10,
    "read_timeout": 30,
}
ONE_ATTEMPT = AioConfig(**CALLS)
# Emulators have no host name for each bucket.
ONE_ATTEMPT_BY_PATH = AioConfig(**CALLS, s3={"addressing_style": "path"})


def destination_for(
    arn: str, session_of: Callable[[str | None], AwsSession], own: OwnFunctions | None = None
) -> Destination:
    """The destination with this ARN; it makes its client when it first sends.

    `session_of` gives the session of a region; a bucket has none.  `own`: the functions that are
    declared here.  Raises ConfigError if `arn` is not that of a standard queue, a standard topic, a
    bucket, a function or an event bus.
    """
    try:
        place = parse_event_destination(arn)
    except ArnError as error:
        raise ConfigError(f"failure destination: {error.message}; {error.remedy}") from None
    session = session_of(place.region)
    match place.kind:
        case DestinationKind.SQS:
            return SqsDestination(place, partial(session.client, "sqs", config=ONE_ATTEMPT))
        case DestinationKind.SNS:
            return SnsDestination(place, partial(session.client, "sns", config=ONE_ATTEMPT))
        case DestinationKind.S3:
            return S3Destination(place, partial(_s3_client, session))
        case DestinationKind.LAMBDA:
            client = partial(session.client, "lambda", config=ONE_ATTEMPT)
            return FunctionDestination(place, client, own)
        case DestinationKind.EVENTS:
            return EventBusDestination(place, partial(session.client, "events", config=ONE_ATTEMPT))


async def _s3_client(session: AwsSession) -> Any:
    by_path = session.endpoint_url("s3") is not None
    client = await session.client("s3", config=ONE_ATTEMPT_BY_PATH if by_path else ONE_ATTEMPT)
    client.meta.events.register_last(
        "before-call.s3", _send_at_once, unique_id="poller-send-at-once"
    )
    return client


def _send_at_once(params: dict[str, Any], **_: Any) -> None:
    """Not waiting for "100 Continue": aiohttp waits for ever, and not every server sends it."""
    params["headers"].pop("Expect", None)
