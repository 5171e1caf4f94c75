"""What a function answered -> an outcome: the rules of partial batch responses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from poller.core.model import Failed, Message, Outcome, PartlyFailed, Record, Succeeded
from poller.core.policy import PAYLOAD_BYTES_MAX

from .problems import shown
from .windows import FRAME_BYTES_MAX

# A state over the limit of AWS ends its window early; one that no event can bring back is an error.
STATE_BYTES_MOST = PAYLOAD_BYTES_MAX - FRAME_BYTES_MAX
ERROR_MAX = 500  # characters of a function's error that an outcome keeps

_SUCCESS = Succeeded()
# What nearly every function answers; found without parsing.
PLAIN_SUCCESSES = frozenset(
    (
        b"",
        b"null",
        b"{}",
        b'""',
        b"[]",
        b'{"batchItemFailures":[]}',
        b'{"batchItemFailures": []}',  # as Python writes it
    )
)


class _BadResponse(ValueError):
    """The response condemns the whole batch; the text says why."""


def stream_outcome(
    body: bytes, records: Sequence[Record], *, reporting: bool, report: Any = None
) -> Outcome:
    """The outcome of a function that ran with `records` of one shard and answered `body`.

    `reporting`: whether FunctionResponseTypes has ReportBatchItemFailures.  `report` is handed on
    for the failure document.  Spec 6.4, recorded 1.5; where these are silent, as for queues:

    =====================================================  =======================================
    body                                                   outcome
    =====================================================  =======================================
    anything, not reporting                                Succeeded
    empty, "", [], null, {}, an object without the key     Succeeded
    batchItemFailures [] or null                           Succeeded
    identifiers of this batch, in any order, repeated      PartlyFailed: the lowest, from which on
                                                           everything is tried again
    an identifier that is "", null, missing, no string     Failed, not bisectable
    an identifier of no record of this batch               Failed, not bisectable
    another type anywhere                                  Failed, not bisectable
    no JSON (the sources are silent)                       Failed, not bisectable
    =====================================================  =======================================
    """
    if not reporting or body in PLAIN_SUCCESSES:
        return _SUCCESS
    try:
        reported = _reported(body)
        if not reported:
            return _SUCCESS
        failed = _places(reported, [record.sequence for record in records])
    except _BadResponse as error:
        return Failed(str(error), bisectable=False, report=report)
    return PartlyFailed(frozenset((min(failed),)), report)


def window_outcome(
    body: bytes, records: Sequence[Record], *, reporting: bool, report: Any = None
) -> Outcome:
    """The same where windows tumble, so that the response must hold a state (spec 4.2, 6.1).

    That goes for the final invocation, too, whose state nobody reads: AWS makes no exception.

    =====================================================  =======================================
    body                                                   outcome
    =====================================================  =======================================
    no object, or no state in it, or a state of null       Failed, bisectable
    a state that no event has room for                     Failed, bisectable
    any other state, not reporting                         Succeeded with its bytes
    any other state, reporting                             as above, with its bytes
    =====================================================  =======================================
    """
    try:
        response = _window_response(body)
    except _BadResponse as error:
        return Failed(str(error), report=report)
    state = bytes(response.state)
    if not reporting:
        return Succeeded(state)
    try:
        reported = _identifiers(response.batchItemFailures)
        failed = _places(reported, [record.sequence for record in records])
    except _BadResponse as error:
        return Failed(str(error), bisectable=False, report=report)
    if not failed:
        return Succeeded(state)
    return PartlyFailed(frozenset((min(failed),)), report, state)


def queue_outcome(body: bytes, messages: Sequence[Message], *, reporting: bool) -> Outcome:
    """The outcome of a function that ran with `messages` of a queue and answered `body`.

    The table of `stream_outcome` with message ids, but for one line (spec 8.3, recorded 1.6):

    =====================================================  =======================================
    ids of this batch, in any order, repeated              PartlyFailed: exactly these
    =====================================================  =======================================
    """
    if not reporting or body in PLAIN_SUCCESSES:
        return _SUCCESS
    try:
        reported = _reported(body)
        if not reported:
            return _SUCCESS
        return PartlyFailed(_places(reported, [message.id for message in messages]))
    except _BadResponse as error:
        return Failed(str(error), bisectable=False)


def error_outcome(error_type: str, message: str, *, report: Any = None) -> Failed:
    """The outcome of a function that raised, timed out or exited (spec 6.1)."""
    return Failed(f"{error_type}: {message}"[:ERROR_MAX], bisectable=True, report=report)


def _reported(body: bytes) -> frozenset[str]:
    """The identifiers that a response reports.  Raises _BadResponse."""
    match _decode(body):
        case None | "" | []:
            return frozenset()
        case dict(response):
            failures = response.get("batchItemFailures")
        case other:
            raise _BadResponse(f"the response must be an object, not {shown(other)}")
    return _identifiers(failures)


def _identifiers(failures: Any) -> frozenset[str]:
    """The identifiers in what a response has as batchItemFailures.  Raises _BadResponse."""
    match failures:
        case None:
            return frozenset()
        case list():
            return frozenset(_identifier(failure) for failure in failures)
        case _:
            raise _BadResponse(f"batchItemFailures must be a list, not {shown(failures)}")


def _decode(body: bytes) -> Any:
    if not body.strip():
        return None
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _BadResponse("the response is not JSON") from None


class _WindowResponse(msgspec.Struct):
    state: msgspec.Raw = msgspec.Raw(b"null")
    batchItemFailures: Any = None


_WINDOW_RESPONSE = msgspec.json.Decoder(_WindowResponse)


def _window_response(body: bytes) -> _WindowResponse:
    """A response that has a state.  Raises _BadResponse."""
    try:
        body.decode()  # a Raw member is copied, not read: nobody else checks that it is text
        response = _WINDOW_RESPONSE.decode(body)
    except msgspec.ValidationError:
        raise _BadResponse("the response must be an object with the state of the window") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _BadResponse("the response must be an object with a state, and is not JSON") from None
    if bytes(response.state) == b"null":
        raise _BadResponse(
            "the response has no state, which every invocation of a tumbling window must return,"
            " the final one too"
        )
    if len(response.state) > STATE_BYTES_MOST:
        raise _BadResponse(f"a state of {len(response.state)} bytes fits into no event")
    return response


def _identifier(failure: Any) -> str:
    match failure:
        case {"itemIdentifier": str(identifier)} if identifier:
            return identifier
        case {"itemIdentifier": other}:
            raise _BadResponse(f"an itemIdentifier must name an item, not be {shown(other)}")
        case _:
            raise _BadResponse("an entry of batchItemFailures has no itemIdentifier")


def _places(reported: frozenset[str], batch: Sequence[str]) -> frozenset[int]:
    """Where the reported identifiers stand in the batch.  Raises _BadResponse."""
    if unknown := reported.difference(batch):
        raise _BadResponse(f"the response reports {shown(min(unknown))}, which is not in the batch")
    return frozenset(place for place, item in enumerate(batch) if item in reported)
