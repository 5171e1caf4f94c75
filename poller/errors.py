"""Errors that a person is told about: one line that names the place and the remedy."""

from __future__ import annotations

from collections.abc import Sequence


class PollerError(Exception):
    """The reason why something cannot be done, as one clear line; never shown as a traceback."""


class ConfigError(PollerError):
    """The configuration or the command line is wrong (exit code 2)."""


class InvalidConfig(ConfigError):
    """Everything that is wrong with a config file: `lines`, also as text, one below the other."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)


class SourceMissing(PollerError):
    """The stream or the queue is not there (yet), or cannot be reached or read."""


class SourceUnfit(SourceMissing):
    """The source is there and does not go with the mapping as it is."""


class StateError(PollerError):
    """The state store cannot be used: locked, read-only, corrupt, or of a newer version."""


class QueueFull(PollerError):
    """No more asynchronous invocations are taken until some have run: a throttle (429)."""


class DestinationError(PollerError):
    """A failure destination did not take a document."""


def plain(error: BaseException) -> BaseException:
    """What a person is to be told of an error that task groups may have wrapped.

    Of several: a Ctrl-C, else one of ours, else the first.
    """
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [plain(each) for each in error.exceptions]
    for kind in (KeyboardInterrupt, PollerError):
        for leaf in leaves:
            if isinstance(leaf, kind):
                return leaf
    return leaves[0]
