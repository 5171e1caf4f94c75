"""Events as people have them in files: one document, or JSON Lines; whole events, lists, records.

What begins with a line that is JSON by itself, and goes on, is JSON Lines; anything else is one
document.  An event with "Records" stands for its records, a list for what it holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from poller.errors import PollerError

from .arns import SourceKind
from .seen import MEMBERS, read_json

_OF_MESSAGES = frozenset(MEMBERS[SourceKind.SQS])


class BadEvents(PollerError):
    """What is wrong, and on which line."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


def read_events(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The events in these lines, each as soon as it can be told.  Raises BadEvents."""
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    for number, line in numbered:
        try:
            first = read_json(line.decode())
        except (ValueError, RecursionError):
            rest = [(number, line), *numbered]
            yield from _events(_document(rest), number)
            return
        yield from _events(first, number)
        for later, another in numbered:
            yield from _events(_document([(later, another)]), later)


def kind_of(record: dict[str, Any]) -> SourceKind | None:
    """The source that a record is of; None: an event of another kind."""
    match record:
        case {"eventSource": "aws:kinesis"} | {"kinesis": {"data": str()}}:
            return SourceKind.KINESIS
        case {"eventSource": "aws:dynamodb"} | {"dynamodb": {"Keys": dict()}}:
            return SourceKind.DYNAMODB
        case {"eventSource": "aws:sqs"} | {"messageId": str(), "body": str()}:
            return SourceKind.SQS
        case {"body": str()} if record.keys() <= _OF_MESSAGES:
            return SourceKind.SQS
    return None


def _document(lines: list[tuple[int, bytes]]) -> Any:
    first = lines[0][0]
    number = first
    try:
        texts = []
        for number, line in lines:  # noqa: B007 - the line that is no text, where there is one
            texts.append(line.decode())
    except UnicodeDecodeError:
        raise BadEvents(number, "this is no UTF-8 text") from None
    try:
        return read_json("".join(texts))
    except json.JSONDecodeError as error:
        at = lines[min(error.lineno, len(lines)) - 1][0]
        raise BadEvents(at, f"this is no JSON: {error.msg} at column {error.colno}") from None
    except ValueError as error:
        raise BadEvents(first, f"this is no JSON: {error}") from None
    except RecursionError:
        raise BadEvents(first, "this nests too deeply") from None


def _events(value: Any, line: int) -> Iterator[dict[str, Any]]:
    match value:
        case {"Records": list(records)}:
            yield from _events(records, line)
        case dict():
            yield value
        case list():
            for item in value:
                if not isinstance(item, dict):
                    raise BadEvents(line, "a list of events must hold objects")
                yield from _events(item, line)
        case _:
            raise BadEvents(line, "an event must be an object")
