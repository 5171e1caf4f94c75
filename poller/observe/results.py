"""How the last invocation of each mapping went: AWS's LastProcessingResult (spec 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from poller.core.model import Failed, Instant, Refused, TooLarge
from poller.core.steps import Invoked
from poller.interfaces import Unit

NO_RECORDS = "No records processed"
OK = "OK"
CALL_FAILED = "PROBLEM: Function call failed"


class Results:
    """The Observer that keeps the last result, over all shards of a mapping.

    no invocation has ended                         No records processed
    the last succeeded, or failed for some records  OK
    the last failed, or did not reach the function  PROBLEM: Function call failed
    """

    def __init__(self) -> None:
        self._results: dict[str, str] = {}
        self._changed: set[str] = set()

    def saw(self, unit: Unit, fact: Any, commands: Sequence[Any], now: Instant) -> None:
        if type(fact) is not Invoked:
            return
        result = CALL_FAILED if isinstance(fact.outcome, Failed | Refused | TooLarge) else OK
        if self._results.get(unit.mapping) != result:
            self._results[unit.mapping] = result
            self._changed.add(unit.mapping)

    def of(self, mapping: str) -> str:
        return self._results.get(mapping, NO_RECORDS)

    def restore(self, mapping: str, text: str) -> None:
        """Take over what an earlier run left; what this one saw already is newer."""
        self._results.setdefault(mapping, text)

    def take_changed(self) -> Mapping[str, str]:
        """The results by mapping that changed since they were last taken, to be stored."""
        changed = {mapping: self._results[mapping] for mapping in self._changed}
        self._changed.clear()
        return changed

    def forget(self, mapping: str) -> None:
        """The mapping is gone, and nothing runs for it any more."""
        self._results.pop(mapping, None)
        self._changed.discard(mapping)
