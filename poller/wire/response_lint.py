"""Responses that look like a mistake: what was seen, what it led to, what to write instead.

Nothing here changes an outcome.  A response in one of the plain forms costs nothing, any other a
look for a few words at its start, and only one that has them is parsed again.  Texts never hold
what a record holds: of values only message ids are repeated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from poller.core.model import (
    Failed,
    Message,
    Outcome,
    PartlyFailed,
    Record,
    Refused,
    Succeeded,
    TooLarge,
)

from .bad_responses import condemned
from .findings import KEYS_MAX, RIGHT_FORM, Finding, Kind, Sent, letters, parsed
from .problems import shown
from .responses import PLAIN_SUCCESSES

LOOK_BYTES_MAX = 1024  # of a response, where words are looked for
PARSE_BYTES_MAX = 1024 * 1024  # a longer response is not looked into

# Letters only, in lower case.
_FAILURES_KEYS = frozenset(
    prefix + noun
    for prefix in ("batch", "batchitem", "batchitems", "partialbatch")
    for noun in ("fail", "failed", "failure", "failures")
)

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_SEQUENCE = re.compile(r"\d{15,129}")
_EVENT_ID = re.compile(r"shardId-\d{1,20}:\d{1,129}|[0-9a-fA-F]{32}")


def examine_stream(
    outcome: Outcome,
    body: bytes,
    records: Sequence[Record],
    *,
    reporting: bool,
    windowed: bool = False,
) -> Outcome:
    """`outcome`, which was made from the response `body`, with what is odd about that.

    `reporting`: whether FunctionResponseTypes has ReportBatchItemFailures.  `windowed`: whether
    there is a tumbling window, so that a state belongs into the response.
    """
    if body in PLAIN_SUCCESSES or not _worth_parsing(body, outcome, windowed=windowed):
        return outcome
    if windowed and isinstance(outcome, Failed) and outcome.bisectable:
        return outcome  # it has no state, and says so
    keys = frozenset(record.key for record in records)
    sent = Sent(
        name="sequence number",
        identifiers=frozenset(record.sequence for record in records),
        other=lambda name: "a partition key" if name in keys else _other(name, _UUID, "messageId"),
        done="so all records of the batch counted as done",
    )
    return _with(outcome, _found(body, outcome, sent, reporting=reporting, windowed=windowed))


def examine_queue(
    outcome: Outcome, body: bytes, messages: Sequence[Message], *, reporting: bool
) -> Outcome:
    """The same for a queue."""
    if isinstance(outcome, PartlyFailed):
        outcome = _with(outcome, _broken_order(outcome, messages))
    if body in PLAIN_SUCCESSES or not _worth_parsing(body, outcome, windowed=False):
        return outcome
    receipts = frozenset(message.receipt for message in messages)
    sent = Sent(
        name="messageId",
        identifiers=frozenset(message.id for message in messages),
        other=lambda name: (
            "a receiptHandle" if name in receipts else _other(name, _SEQUENCE, "SequenceNumber")
        ),
        done="so all messages of the batch counted as done and were deleted",
    )
    return _with(outcome, _found(body, outcome, sent, reporting=reporting, windowed=False))


def _with(outcome: Outcome, findings: Iterable[Finding]) -> Outcome:
    found = tuple(findings)
    if not found or isinstance(outcome, Refused | TooLarge):
        return outcome
    return replace(outcome, findings=(*outcome.findings, *found))


def _worth_parsing(body: bytes, outcome: Outcome, *, windowed: bool) -> bool:
    if len(body) > PARSE_BYTES_MAX:
        return False
    if isinstance(outcome, Failed):
        return True
    head = body[:LOOK_BYTES_MAX].lower()
    if not windowed and b'"state"' in head:
        return True
    # One of these is in all else that can be found.
    odd = b"fail" in head or b"identifier" in head or b"errortype" in head
    return odd and isinstance(outcome, Succeeded)


def _found(
    body: bytes, outcome: Outcome, sent: Sent, *, reporting: bool, windowed: bool
) -> Iterator[Finding]:
    response = parsed(body)
    if isinstance(response, dict) and isinstance(response.get("state"), dict) and not windowed:
        yield Finding(
            Kind.STATE_WITHOUT_WINDOW,
            "it has a state, but the mapping has no tumbling window, so the state was ignored;"
            " set TumblingWindowInSeconds (of a stream), or return no state",
        )
    if isinstance(outcome, Succeeded):
        if not reporting and _reports(response):
            yield Finding(
                Kind.REPORTING_OFF,
                "it reports failures, but FunctionResponseTypes does not have"
                f" ReportBatchItemFailures, {sent.done}; set FunctionResponseTypes to"
                " [ReportBatchItemFailures]",
            )
        if isinstance(response, dict):
            yield from _ignored(response, sent, reporting=reporting)
    elif isinstance(outcome, Failed):
        yield from condemned(response, sent)


# Responses that succeeded, though they seem to say something else.


def _ignored(response: Mapping[str, Any], sent: Sent, *, reporting: bool) -> Iterator[Finding]:
    if "errorMessage" in response and "errorType" in response:
        yield Finding(
            Kind.ERROR_AS_SUCCESS,
            "it looks like an error (errorMessage, errorType) but came as a success,"
            f" {sent.done}; raise an exception, or over HTTP answer with status 500 or with the"
            " header X-Amz-Function-Error",
        )
    if not reporting or "batchItemFailures" in response:
        return
    inner = _inner(response)
    if (key := _wrong_key(response)) is not None:
        yield Finding(
            Kind.WRONG_KEY,
            f"it has {shown(key)} and no batchItemFailures, {sent.done}; write"
            " batchItemFailures, spelt exactly so",
        )
    elif isinstance(inner, dict) and "batchItemFailures" in inner:
        yield Finding(
            Kind.API_GATEWAY,
            "it has a statusCode and a body as for API Gateway, and batchItemFailures in"
            f" that body, where nobody reads it, {sent.done}; return {RIGHT_FORM} itself",
        )


def _reports(response: Any) -> bool:
    """Whether it seems to report failures, in whatever form."""
    match response:
        case str():
            inner = parsed(response)
            return isinstance(inner, dict | list) and _reports(inner)
        case [first, *_]:
            return _is_item(first)
        case dict():
            key = "batchItemFailures" if "batchItemFailures" in response else _wrong_key(response)
            return bool(response[key]) if key is not None else _reports(_inner(response))
        case _:
            return False


def _inner(response: Mapping[str, Any]) -> Any:
    """The object in the body of an answer that is made for API Gateway."""
    body = response.get("body") if "statusCode" in response else None
    return parsed(body) if isinstance(body, str) else None


def _wrong_key(response: Mapping[str, Any]) -> str | None:
    """A key that is meant to be batchItemFailures, by its own name or by what it holds."""
    for key, value in list(response.items())[:KEYS_MAX]:
        if isinstance(value, list) and (
            letters(key) in _FAILURES_KEYS or (value and _is_item(value[0]))
        ):
            return key
    return None


def _is_item(entry: Any) -> bool:
    return isinstance(entry, dict) and any(
        letters(key) == "itemidentifier" for key in list(entry)[:KEYS_MAX]
    )


def _other(name: str, pattern: re.Pattern[str], called: str) -> str | None:
    """What an identifier is that is none of the batch, going by its form."""
    if _EVENT_ID.fullmatch(name):
        return "an eventID"
    return f"a {called}" if pattern.fullmatch(name) else None


# Partial responses.


def _broken_order(outcome: PartlyFailed, messages: Sequence[Message]) -> Iterator[Finding]:
    """A message of a FIFO group that was not reported after one that was (spec 8.4)."""
    reported: dict[str, str] = {}  # the first of each group
    for index, message in enumerate(messages):
        if message.group is None:
            break
        if index in outcome.failed:
            reported.setdefault(message.group, message.id)
        elif first := reported.get(message.group):
            text = (
                f"it reports message {shown(first)} but not {shown(message.id)}, which"
                " comes after it in the same FIFO group, so that was deleted and the group is out"
                " of order; stop at the first failure of a group and report all that follow"
            )
            yield Finding(Kind.FIFO_ORDER, text)
            return
