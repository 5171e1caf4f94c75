"""Pages of mappings: what a list request asks for, and the marker that leads to the next page.

A marker is the place of the last mapping that was shown, in the order of all of them: pages neither
repeat nor skip a mapping that is there all the time, whatever comes and goes between them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from poller.core.model import Instant
from poller.interfaces import StoredMapping
from poller.wire.arns import ArnError, FunctionReference, parse_function
from poller.wire.constraints import constraint, in_range, validation_errors

from .refusals import INVALID, VALIDATION, Refusal

PAGE_MAX = 100  # of mappings, whatever MaxItems says (spec 1.3)
MAX_ITEMS_MAX = 10_000
MARKER_LENGTH_MAX = 200

Place = tuple[Instant, str]  # when a mapping was made, and its UUID


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What a list request asks for; None: everything."""

    limit: int = PAGE_MAX
    after: Place | None = None
    source_arn: str | None = None
    function: FunctionReference | None = None


def place_of(stored: StoredMapping) -> Place:
    return stored.created_at, stored.uuid


def read_list_query(parameters: Mapping[str, str]) -> ListQuery:
    """The query string of ListEventSourceMappings.  Raises Refusal."""
    marker = parameters.get("Marker")
    return ListQuery(
        limit=min(_max_items(parameters.get("MaxItems")), PAGE_MAX),
        after=_place(marker) if marker else None,
        source_arn=parameters.get("EventSourceArn") or None,
        function=_function(parameters.get("FunctionName")),
    )


def described_page(described: list[dict[str, Any]], last: Place | None) -> dict[str, Any]:
    """A page; `last` is the place of its last mapping if more follow."""
    page: dict[str, Any] = {"EventSourceMappings": described}
    if last is not None:
        page["NextMarker"] = base64.urlsafe_b64encode(msgspec.json.encode(last)).decode()
    return page


def _max_items(text: str | None) -> int:
    if text is None:
        return PAGE_MAX
    try:
        number = int(text)
    except ValueError:
        rule = "be a whole number"
        raise Refusal(
            VALIDATION, validation_errors([constraint(("MaxItems",), text, rule)])
        ) from None
    if not 1 <= number <= MAX_ITEMS_MAX:
        rule = in_range(1, MAX_ITEMS_MAX, number)
        raise Refusal(VALIDATION, validation_errors([constraint(("MaxItems",), text, rule)]))
    return number


def _place(marker: str) -> Place:
    try:
        if len(marker) > MARKER_LENGTH_MAX:
            raise ValueError
        return msgspec.json.decode(base64.urlsafe_b64decode(marker), type=tuple[float, str])
    except (ValueError, binascii.Error, msgspec.DecodeError):
        raise Refusal(INVALID, "Invalid Marker: use a NextMarker as it was given.") from None


def _function(text: str | None) -> FunctionReference | None:
    if not text:
        return None
    try:
        return parse_function(text)
    except ArnError as error:
        raise Refusal(INVALID, f"FunctionName: {error.message}; {error.remedy}") from None
