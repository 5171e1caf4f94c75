"""Why a destination did not take a document, as one line that a person can act on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from poller.errors import DestinationError, PollerError

OpenClient = Callable[[], Awaitable[Any]]

REASON_LENGTH_MAX = 300

FORBIDDEN = frozenset(
    {
        "403",
        "AccessDenied",
        "AccessDeniedException",
        "AuthorizationError",
        "AuthorizationErrorException",
    }
)
MISSING = frozenset(
    {
        "404",
        "AWS.SimpleQueueService.NonExistentQueue",
        "NoSuchBucket",
        "NotFound",
        "NotFoundException",
        "QueueDoesNotExist",
    }
)


class Forbidden(DestinationError):
    """The identity that poller runs as may not do this."""


@contextmanager
def refusals_of(arn: str, permission: str) -> Iterator[None]:
    """Turn what a call to AWS raises into a DestinationError; it needs `permission`."""
    try:
        yield
    except ClientError as error:
        problem = error.response.get("Error", {})
        code = str(problem.get("Code", "unknown error"))
        reason = f"{code}: {problem.get('Message', '')}"
        kind = Forbidden if code in FORBIDDEN else DestinationError
        raise kind(f"{arn}: {_line(reason)}{_remedy(code, permission)}") from error
    except (BotoCoreError, PollerError) as error:
        raise DestinationError(f"{arn}: {_line(str(error))}") from error


@contextmanager
def looking_for(arn: str) -> Iterator[None]:
    """Like `refusals_of`, for a call that only looks: where it is not permitted, all may be well,
    since sending needs another permission."""
    with suppress(Forbidden), refusals_of(arn, ""):
        yield


def _remedy(code: str, permission: str) -> str:
    if code in FORBIDDEN:
        return f"; allow {permission} on it to the identity that poller runs as"
    if code in MISSING:
        return "; create it, or name another one as OnFailure destination"
    return ""


def _line(text: str) -> str:
    return " ".join(text.split()).rstrip(".:")[:REASON_LENGTH_MAX]
