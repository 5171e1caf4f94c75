"""Why the Lambda API refuses a request: our reasons as AWS's errors (recorded 1.2)."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from poller.core.model import Seconds
from poller.wire.constraints import validation_errors
from poller.wire.problems import Kind, Problem

INVALID = str(Kind.INVALID)
VALIDATION = str(Kind.CONSTRAINT)
SERIALIZATION = str(Kind.TYPE)
NOT_FOUND = "ResourceNotFoundException"
CONFLICT = "ResourceConflictException"
IN_USE = "ResourceInUseException"
SERVICE = "ServiceException"
BAD_CONTENT = "InvalidRequestContentException"
TOO_LARGE = "RequestTooLargeException"
THROTTLED = "TooManyRequestsException"

STATUSES = {  # all others: 400
    NOT_FOUND: 404,
    CONFLICT: 409,
    TOO_LARGE: 413,
    THROTTLED: 429,
    SERVICE: 500,
}
RETRY_AFTER: Seconds = 1.0  # where nobody knows better


class Refusal(Exception):
    """A request that is refused with the error `code`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def status(self) -> int:
        return STATUSES.get(self.code, 400)

    def headers(self) -> dict[str, str]:
        return {"x-amzn-ErrorType": self.code}

    def body(self) -> dict[str, str]:
        """Members and their case differ from error to error, as recorded and as modelled."""
        match self.code:
            case "ResourceNotFoundException" | "ResourceInUseException":
                return {"Type": "User", "Message": self.message}
            case "ServiceException":
                return {"Type": "Service", "Message": self.message}
            case "ValidationException" | "SerializationException":
                return {"message": self.message}
            case _:
                return {"Type": "User", "message": self.message}


class Throttled(Refusal):
    """An invocation that may be tried again after a while; `reason`: AWS's, "" if not known."""

    def __init__(self, reason: str, retry_after: Seconds | None = None) -> None:
        super().__init__(THROTTLED, "Rate Exceeded.")
        self._reason = reason
        self._retry_after = RETRY_AFTER if retry_after is None else retry_after

    def headers(self) -> dict[str, str]:
        return {**super().headers(), "Retry-After": str(ceil(self._retry_after))}

    def body(self) -> dict[str, str]:
        reason = {"Reason": self._reason} if self._reason else {}
        return {**reason, **super().body()}


def refusal_of(problems: Sequence[Problem]) -> Refusal:
    """The one answer to everything that is wrong with a request.

    AWS first looks at types, then at the constraints of its model, all at once, then at its rules,
    of which it names the first that is broken.
    """
    types = [problem for problem in problems if problem.kind is Kind.TYPE]
    if types:
        return Refusal(SERIALIZATION, types[0].for_api)
    constraints = [problem.for_api for problem in problems if problem.kind is Kind.CONSTRAINT]
    if constraints:
        return Refusal(VALIDATION, validation_errors(constraints))
    return Refusal(INVALID, problems[0].for_api)


def not_found() -> Refusal:
    return Refusal(NOT_FOUND, "The resource you requested does not exist.")


def in_use(verb: str) -> Refusal:
    return Refusal(IN_USE, f"Cannot {verb} the event source mapping because it is in use.")


def exists(source_arn: str, function: str, uuid: str, *, queue: bool) -> Refusal:
    """Source and function have a mapping already; the blanks are AWS's own."""
    advice = f"Please update or delete the existing mapping with UUID {uuid}"
    if queue:
        what = f'An event source mapping with SQS arn (" {source_arn} ") and function'
        return Refusal(CONFLICT, f'{what} (" {function} ") already exists. {advice}')
    what = f'The event source arn (" {source_arn} ") and function (" {function} ")'
    return Refusal(CONFLICT, f"{what} provided mapping already exists. {advice}")
