"""Judges events of any kind by one filter pattern, as mappings would."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from poller.errors import ConfigError

from .arns import SourceKind
from .event_texts import BadEvents, kind_of, read_events
from .filters import Filter
from .misses import misses
from .pattern_values import PatternError
from .patterns import Pattern


class Judge:
    """`warnings`: about the pattern, given the kinds of records that came."""

    def __init__(self, text: str) -> None:
        """Raises ConfigError."""
        self._text = text
        self._filters: dict[SourceKind, Filter] = {}
        try:
            self._pattern = Pattern(text)
        except PatternError as error:
            raise ConfigError(f"PATTERN: {error}") from None

    @property
    def warnings(self) -> list[str]:
        told = [*self._pattern.warnings]
        for each in self._filters.values():
            told += each.warnings
        return list(dict.fromkeys(told))

    def judge(self, lines: Iterable[bytes], name: str) -> Iterator[list[str]]:
        """What kept each event in these lines of `name` from matching; nothing if it matches.

        Raises ConfigError.
        """
        try:
            for event in read_events(lines):
                yield self._misses(event)
        except BadEvents as error:
            raise ConfigError(f"{name}:{error.line}: {error.reason}") from None

    def _misses(self, event: dict[str, Any]) -> list[str]:
        kind = kind_of(event)
        if kind is None:
            return misses(self._pattern, event)
        if kind not in self._filters:
            try:
                self._filters[kind] = Filter(kind, self._text)
            except PatternError as error:
                raise ConfigError(f"PATTERN: {error}") from None
        return self._filters[kind].misses(event)
