"""What every part of the engine needs: the clock, the state, the watchers, the byte budget."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from poller.core.model import Instant
from poller.interfaces import Observer, Store, Unit
from poller.observe.board import Board

from .budget import ByteBudget
from .clock import Clock
from .tracing import Tracer, Untraced

log = logging.getLogger("poller.engine")


@dataclass(frozen=True, slots=True)
class Shared:
    """One for each process.  `observers` see every step of every machine, as the board does.

    `tracer` says in which trace an invocation runs.
    """

    clock: Clock
    store: Store
    board: Board
    observers: Sequence[Observer] = ()
    budget: ByteBudget = field(default_factory=ByteBudget)
    tracer: Tracer = field(default_factory=Untraced)

    def saw(self, unit: Unit, fact: Any, commands: Sequence[Any], now: Instant) -> None:
        self.board.saw(unit, fact, commands, now)
        for observer in self.observers:
            observer.saw(unit, fact, commands, now)

    def forget(self, mapping: str) -> None:
        """The mapping was deleted, and nothing runs for it any more."""
        for observer in self.observers:
            observer.forget(mapping)
