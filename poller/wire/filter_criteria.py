"""FilterCriteria of a request: its patterns, validated for the source of the mapping (spec 9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .arns import Source, SourceKind
from .fields import Fields
from .filters import Filter
from .pattern_values import PatternError
from .patterns import PATTERN_MAX, Pattern
from .problems import Problem

FILTERS_MAX = 10  # AWS: 5, and up to 10 on request
INVALID = "Invalid filter pattern definition."  # recorded 1.2: AWS says no more


def read_filters(fields: Fields, source: Source | None) -> tuple[str, ...]:
    """The texts of the patterns; what is wrong with them is noted."""
    criteria = fields.block("FilterCriteria", {"Filters"})
    filters = criteria.blocks("Filters", {"Pattern"})
    if len(filters) > FILTERS_MAX:
        criteria.note("Filters", f"has {len(filters)} filters", f"{FILTERS_MAX} are the most")
    if not criteria.sound("Filters"):
        return ()
    return tuple(_read_pattern(each, source) for each in filters)


def filter_warnings(kind: SourceKind, texts: Sequence[str]) -> list[Problem]:
    """What is probably not meant in valid patterns."""
    return [
        Problem(("FilterCriteria", "Filters", index, "Pattern"), warning)
        for index, text in enumerate(texts)
        for warning in Filter(kind, text).warnings
    ]


def criteria_of(texts: Sequence[str]) -> dict[str, Any]:
    """The same as a request and a reply have it."""
    return {"Filters": [{"Pattern": text} for text in texts]}


def _read_pattern(fields: Fields, source: Source | None) -> str:
    text = fields.text("Pattern") or ""
    if not fields.sound("Pattern"):
        return text
    if len(text) > PATTERN_MAX:
        message = f"must have at most {PATTERN_MAX} characters, not {len(text)}"
        rule = f"have length less than or equal to {PATTERN_MAX}"
        fields.note_constraint("Pattern", message, rule)
        return text
    try:
        if source is None:
            Pattern(text)
        else:
            Filter(source.kind, text)
    except PatternError as error:
        fields.note("Pattern", INVALID, str(error))
    return text
