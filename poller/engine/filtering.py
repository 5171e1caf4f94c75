"""Which of what was read matches no filter of the mapping.

A predicate that raises is a bug, and must cost nobody a record: the record counts as one that
matches, and the first such error of a mapping's part is logged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from poller.core.steps import Fetched, Received

from .shared import log

Accept = Callable[[Any], bool]  # whether a record goes to the function
MakeAccept = Callable[[Callable[[Any], bytes]], Accept]  # is given what makes a record's event

AnyFact = TypeVar("AnyFact")


class Filtering:
    """Marks in what was read of `place` what `accept` does not want; None: it wants everything."""

    def __init__(self, accept: Accept | None, place: str) -> None:
        self._accept = accept
        self._place = place
        self._told = False

    def marked(self, fact: AnyFact) -> AnyFact:
        """The same fact, with the indexes of what is filtered where it brought something."""
        if self._accept is None:
            return fact
        match fact:
            case Fetched(records=items) | Received(messages=items) if items:
                return replace(fact, filtered=self._filtered(items))
        return fact

    def _filtered(self, items: Sequence[Any]) -> frozenset[int]:
        return frozenset(index for index, item in enumerate(items) if not self._accepts(item))

    def _accepts(self, item: Any) -> bool:
        assert self._accept is not None
        try:
            return self._accept(item)
        except Exception as error:
            if not self._told:
                log.error(
                    "a filter broke on %s, and lets through what it cannot judge: %s",
                    self._place,
                    error,
                    exc_info=error,
                )
            self._told = True
            return True
