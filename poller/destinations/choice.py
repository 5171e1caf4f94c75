"""Which destination an ARN stands for."""

from __future__ import annotations

from functools import partial
from typing import Any

from aiobotocore.config import AioConfig

from poller.aws.sessions import AwsSession
from poller.errors import ConfigError
from poller.interfaces import Destination
from poller.wire.arns import ArnError, DestinationKind, parse_destination

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


def destination_for(arn: str, session: AwsSession) -> Destination:
    """The destination with this ARN; it makes its client when it first sends.

    Raises ConfigError if `arn` is not that of a standard queue, a standard topic or a bucket.
    """
    try:
        place = parse_destination(arn)
    except ArnError as error:
        raise ConfigError(f"failure destination: {error.message}; {error.remedy}") from None
    match place.kind:
        case DestinationKind.SQS:
            return SqsDestination(place, partial(session.client, "sqs", config=ONE_ATTEMPT))
        case DestinationKind.SNS:
            return SnsDestination(place, partial(session.client, "sns", config=ONE_ATTEMPT))
        case DestinationKind.S3:
            return S3Destination(place, partial(_s3_client, session))


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
