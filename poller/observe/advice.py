"""Warnings about responses that look like a mistake: each kind once, for a mapping's function."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from poller.core.model import Instant, Refused, TooLarge
from poller.core.steps import Invoked
from poller.interfaces import Unit

REMEMBERED_MAX = 100_000  # warnings that are not given again

logger = logging.getLogger("poller.advice")


class Advice:
    """The Observer that passes on what outcomes carry as `findings` (`wire/findings.py`)."""

    def __init__(self) -> None:
        self._given: dict[tuple[str, str, str], None] = {}  # mapping, function, kind; oldest first

    def saw(self, unit: Unit, fact: Any, commands: Sequence[Any], now: Instant) -> None:
        if type(fact) is not Invoked or isinstance(fact.outcome, Refused | TooLarge):
            return
        for finding in fact.outcome.findings:
            key = (unit.mapping, unit.function, finding.kind)
            if key not in self._given:
                self._remember(key)
                fields = {"mapping": unit.mapping, "function": unit.function, "kind": finding.kind}
                if unit.shard:
                    fields["shard"] = unit.shard
                text = f"the function's response looks like a mistake: {finding.text}"
                logger.warning("%s", text, extra=fields)

    def forget(self, mapping: str) -> None:
        for key in [key for key in self._given if key[0] == mapping]:
            del self._given[key]

    def _remember(self, key: tuple[str, str, str]) -> None:
        self._given[key] = None
        if len(self._given) > REMEMBERED_MAX:
            del self._given[next(iter(self._given))]
