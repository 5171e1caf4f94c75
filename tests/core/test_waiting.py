"""Halves of batches that were too large, and what waits behind them."""

from __future__ import annotations

from poller.core.batches import Taken
from poller.core.model import ClosedBy, Instant, Message, MessageBatch
from poller.core.policy import QueuePolicy
from poller.core.waiting import HalvesFirst, waiting_messages
from poller.lab.world import MadeMessage


def messages(groups: str, first: int = 0) -> list[MadeMessage]:
    """A message of each group, in this order."""
    return [MadeMessage(str(i), f"{i}@1", g, 10, i) for i, g in enumerate(groups, first)]


def split(groups: str, *, behind: str = "") -> HalvesFirst:
    """Both halves of a batch of these groups, and what waits behind them."""
    waiting = waiting_messages(QueuePolicy(fifo=True))
    waiting.split(MessageBatch(1, messages(groups), 30.0, ClosedBy.COUNT, since=1.0))
    waiting.add(messages(behind, len(groups)), size=1000, expires_at=40.0, now=2.0)
    return waiting


def take(waiting: HalvesFirst, locked: str = "") -> str | None:
    """The groups of what goes next."""
    taken: Taken[Message, Instant] | None = waiting.take(5.0, locked=set(locked), flush=False)
    return None if taken is None else "".join(str(message.group) for message in taken.items)


def test_halves_go_as_they_are_before_all_else_the_first_one_first() -> None:
    waiting = split("abcd", behind="e")

    first = waiting.take(5.0, locked=(), flush=False)

    assert first == Taken(messages("ab"), [30.0, 30.0], ClosedBy.RETRY, 1.0)
    assert (take(waiting), take(waiting), take(waiting)) == ("cd", "e", None)


def test_a_half_of_a_half_goes_before_the_other_half() -> None:
    waiting = split("abcd")
    first = waiting.take(5.0, locked=(), flush=False)
    assert first is not None
    waiting.split(MessageBatch(2, first.items, 30.0, ClosedBy.RETRY))

    assert (take(waiting), take(waiting), take(waiting)) == ("a", "b", "cd")


def test_nothing_overtakes_in_its_group_not_even_by_way_of_a_group_that_is_free() -> None:
    waiting = split("abbc", behind="cd")

    assert take(waiting, locked="a") == "d"
    assert len(waiting) == 5
    assert (take(waiting), take(waiting), take(waiting)) == ("ab", "bc", "c")


def test_what_is_forgotten_of_a_group_is_forgotten_in_halves_too() -> None:
    waiting = split("abac", behind="ad")

    assert [message.id for message in waiting.forget({"a"})] == ["0", "2", "4"]
    assert len(waiting) == 3
    assert (take(waiting), take(waiting), take(waiting)) == ("b", "c", "d")


def test_all_that_waits_can_be_taken_at_once() -> None:
    waiting = split("abcd", behind="e")

    assert waiting.take_all() == messages("abcde")
    assert (len(waiting), take(waiting)) == (0, None)
