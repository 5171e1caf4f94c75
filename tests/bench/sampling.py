"""Samples: how much was done in how many CPU-seconds of this process."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """`units` of work were done in `cpu` seconds of processor time, all threads together."""

    units: float
    cpu: float

    @property
    def rate(self) -> float:
        """Units per CPU-second."""
        return self.units / self.cpu


class Spending:
    """Processor time spent since this was made, against an allowance in seconds.

    spending = Spending(seconds)
    while spending.goes_on():
        units += work()
    return spending.sample(units)
    """

    def __init__(self, allowance: float) -> None:
        self._began = time.process_time()
        self._ends = self._began + allowance

    def goes_on(self) -> bool:
        return time.process_time() < self._ends

    def sample(self, units: float) -> Sample:
        return Sample(units, time.process_time() - self._began)
