"""A function that a mapping names and nobody declares (any more)."""

from __future__ import annotations

from poller.interfaces import Invocation, NotReached, Reply


class UndeclaredFunction:
    """Never reached: as with a deleted function, the mapping stays and its records wait."""

    def __init__(self, name: str) -> None:
        self._why = f"Function does not exist: {name} is not declared under functions"

    async def invoke(self, invocation: Invocation) -> Reply:
        return NotReached(self._why)
