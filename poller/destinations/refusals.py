"""Why a destination did not take a document, as one line that a person can act on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from poller.aws.refusals import CallErrors, code_of, is_forbidden, reason_of, remedy_of
from poller.errors import DestinationError

OpenClient = Callable[[], Awaitable[Any]]

MISSING = frozenset(
    {
        "404",
        "AWS.SimpleQueueService.NonExistentQueue",
        "NoSuchBucket",
        "NotFound",
        "NotFoundException",
        "QueueDoesNotExist",
        "ResourceNotFoundException",
    }
)


class Forbidden(DestinationError):
    """The identity that poller runs as may not do this."""


@contextmanager
def refusals_of(arn: str, permission: str) -> Iterator[None]:
    """Turn what a call to AWS raises into a DestinationError; it needs `permission`."""
    try:
        yield
    except CallErrors as error:
        remedy = remedy_of(error, f"{permission} on it")
        if code_of(error) in MISSING:
            remedy = "; create it, or name another one as destination"
        kind = Forbidden if is_forbidden(error) else DestinationError
        raise kind(f"{arn}: {reason_of(error)}{remedy}") from error


@contextmanager
def looking_for(arn: str) -> Iterator[None]:
    """Like `refusals_of`, for a call that only looks: where it is not permitted, all may be well,
    since sending needs another permission."""
    with suppress(Forbidden), refusals_of(arn, ""):
        yield
