"""The filters of one mapping: which of its records go to the function (spec 9.1 and 9.4).

A record goes there if any filter matches what is seen of it.  Whether its data is JSON, and whether
a pattern asks for fields of the data or for the whole of it as text, must agree:

| data | pattern asks for | SQS              | Kinesis  | DynamoDB |
| ---- | ---------------- | ---------------- | -------- | -------- |
| JSON | fields           | they are matched | the same | the same |
| text | the text         | it is matched    | refused  | refused  |
| text | fields           | no match         | no match |          |
| JSON | the text         | no match         | refused  | refused  |
| any  | neither          | it matters not   | the same | the same |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from .arns import SourceKind
from .misses import misses
from .pattern_values import PatternError
from .patterns import Pattern
from .problems import one_line
from .seen import DATA, MEMBERS, Seen, see_records, seen_in_event

_KINDS = {SourceKind.KINESIS: "Kinesis", SourceKind.DYNAMODB: "DynamoDB", SourceKind.SQS: "SQS"}

_decode = msgspec.json.decode


class Filter:
    """One compiled pattern for records of one kind of source."""

    def __init__(self, kind: SourceKind, text: str) -> None:
        """Raises PatternError."""
        self._kind = kind
        self.pattern = pattern = Pattern(text)
        name, source = DATA[kind], _KINDS[kind]
        fields, whole = pattern.bits(name, below=True), pattern.bits(name, below=False)
        if whole and kind is not SourceKind.SQS:
            reason = f"must be an object: {source} data is matched as JSON, field by field"
            raise PatternError((name,), reason)
        self._if_json = ~whole
        self._if_text = ~fields
        self.warnings = pattern.warnings + tuple(
            f'no {source} record has "{one_line(unknown)}"; there are {", ".join(MEMBERS[kind])}'
            for unknown in sorted(pattern.names - set(MEMBERS[kind]))
        )

    def misses(self, record: Mapping[str, Any]) -> list[str]:
        """What kept a record of an event from matching; nothing if it matches."""
        fields, is_json = seen_in_event(self._kind, record)
        name = DATA[self._kind]
        unfit = f"{name} is JSON, not text" if is_json else f"{name} is no JSON object"
        return misses(self.pattern, fields, allowed=self.allowed(is_json), unfit=unfit)

    def matches(self, fields: dict[str, Any], is_json: bool) -> bool:
        return self.pattern.matches(fields, self.allowed(is_json))

    def allowed(self, is_json: bool) -> int:
        """The bits of fields that can match data that is JSON, or is not."""
        return self._if_json if is_json else self._if_text


class Filters:
    """The filters of one mapping; there is at least one."""

    def __init__(self, kind: SourceKind, texts: Sequence[str]) -> None:
        """Raises PatternError."""
        self._kind = kind
        self._filters = tuple(Filter(kind, text) for text in texts)

    def for_records(self, event: Callable[[Any], bytes]) -> Callable[[Any], bool]:
        """Tells of a record, as this kind of source reads it, whether it is for the function;
        `event` makes the event of one."""
        paths = {
            tuple(field.name.split(".", 2)[:2])
            for each in self._filters
            for field in each.pattern.fields
        }

        def see_all(record: Any) -> Seen:
            return seen_in_event(self._kind, _decode(event(record))["Records"][0])

        see, accept = see_records(self._kind, paths, see_all), self._accept
        return lambda record: accept(see(record))

    def _accept(self, seen: Seen) -> bool:
        fields, is_json = seen
        return any(each.matches(fields, is_json) for each in self._filters)
