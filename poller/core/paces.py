"""Limits of a rate: what is taken at once is paid for by a pause after it."""

from __future__ import annotations

from .model import BEGINNING, Instant, Seconds
from .policy import QueuePolicy

AHEAD: Seconds = 0.5  # that messages are asked for before they may run


class Pace:
    """At most `rate` a second: in any time, no more than that time allows and one amount.

    Nothing is saved up: a time in which nothing was taken allows no more later.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.free_at: Instant = BEGINNING  # from when on something may be taken

    def take(self, amount: float, now: Instant) -> None:
        self.free_at = max(self.free_at, now) + amount / self.rate


class MessagePace(Pace):
    """The rate at which a function is handed messages, in batches of up to `batch_size`.

    Receives run ahead of it by AHEAD only, so that waiting spends no visibility timeout.
    """

    def __init__(self, rate: float, batch_size: int) -> None:
        super().__init__(rate)
        self._batch_size = batch_size

    def room(self, pledged: int, now: Instant) -> int:
        """How many messages may be asked for beyond `pledged` ones, which run before them."""
        starts_at = max(self.free_at, now) + pledged / self.rate
        if now < starts_at - AHEAD:
            return 0
        batches = 1 + int((now - (starts_at - AHEAD)) * self.rate / self._batch_size)
        return batches * self._batch_size

    def opens_at(self, pledged: int, now: Instant) -> Instant | None:
        """When there will be room again; None: not before some of the pledged ones have run."""
        opens_at = self.free_at + pledged / self.rate - AHEAD
        return opens_at if now < opens_at <= self.free_at else None


def message_pace(policy: QueuePolicy) -> MessagePace | None:
    rate = policy.messages_per_second
    return None if rate is None else MessagePace(rate, policy.batch_size)
