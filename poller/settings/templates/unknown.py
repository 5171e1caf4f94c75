"""What a template says in a way that has no value here."""

from __future__ import annotations

from poller.wire.problems import Path, Problem


class Unknown(Exception):
    """Why a value cannot be known, and what would help."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def at(self, path: Path) -> Problem:
        """The problem that this is for what stands at `path`."""
        return Problem(path, self.message, self.remedy)
