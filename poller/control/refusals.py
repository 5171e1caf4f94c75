"""Why the Lambda API refuses a request: our reasons as AWS's errors (recorded 1.2)."""

from __future__ import annotations

from collections.abc import Sequence

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

STATUSES = {NOT_FOUND: 404, CONFLICT: 409, TOO_LARGE: 413, SERVICE: 500}  # all others: 400


class Refusal(Exception):
    """A request that is refused with the error `code`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def status(self) -> int:
        return STATUSES.get(self.code, 400)

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
