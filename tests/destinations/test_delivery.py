"""Delivery: sent, or kept and sent later, and never lost; in virtual time."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable, Collection
from dataclasses import replace

import pytest

from poller.core.model import Fate
from poller.destinations.delivery import (
    ATTEMPT_MAX,
    GIVE_UP_AFTER,
    RESEND_BATCH,
    RESEND_PERIOD,
    Delivery,
)
from poller.errors import ConfigError, DestinationError, StateError
from poller.interfaces import Failure
from poller.stores.memory import MemoryStore
from poller.wire.invocation_records import Notice

pytestmark = pytest.mark.looptime

QUEUE, BUCKET = "arn:aws:sqs:us-east-1:123456789012:failed", "arn:aws:s3:::failed"
FAILURE = Failure("m", "f", "shard-1", QUEUE, "{}", "{}", "1", 3)
RESULT = replace(FAILURE, mapping="", shard="", notice=Notice("r", "arn", False))
FOR_EVER = float("inf")


def failures(count: int, destination: str = QUEUE) -> list[Failure]:
    return [replace(FAILURE, destination=destination, key=str(n)) for n in range(count)]


class Mailbox:
    """A destination that takes documents from the instant `works_at` on, by the loop's clock."""

    def __init__(self, works_at: float = 0.0) -> None:
        self.works_at = works_at
        self.received: list[Failure] = []
        self.attempts: list[float] = []

    async def send(self, failure: Failure) -> None:
        now = asyncio.get_running_loop().time()
        self.attempts.append(now)
        if now < self.works_at:
            raise DestinationError(f"{failure.destination}: down")
        self.received.append(failure)


class Picky(Mailbox):
    """A destination that never takes the documents with the keys `refuses`."""

    def __init__(self, refuses: Collection[str]) -> None:
        super().__init__()
        self._refuses = refuses

    async def send(self, failure: Failure) -> None:
        if failure.key in self._refuses:
            raise DestinationError(f"{failure.destination}: too large")
        await super().send(failure)


class Silent:
    """A destination that never answers."""

    async def send(self, failure: Failure) -> None:
        await asyncio.Event().wait()


class FlakyStore(MemoryStore):
    """A store that cannot be used before the instant `works_at`."""

    works_at = 0.0

    def _check(self) -> None:
        if asyncio.get_running_loop().time() < self.works_at:
            raise StateError("state.db: no room")

    async def keep(self, failure: Failure) -> None:
        self._check()
        await super().keep(failure)

    async def kept(self, limit: int, *, after: int = 0) -> list[tuple[int, Failure]]:
        self._check()
        return list(await super().kept(limit, after=after))


class Scene:
    """A delivery with its store, its mailboxes by ARN, and what it counted."""

    def __init__(self, **mailboxes: Mailbox | Silent) -> None:
        self.store = FlakyStore()
        self.queue = mailboxes.get("queue", Mailbox())
        self.bucket = mailboxes.get("bucket", Mailbox())
        self.failed: list[Failure] = []
        self.delivery = Delivery(
            self.store, self._destination, on_failed_attempt=self.failed.append
        )

    def _destination(self, arn: str) -> Mailbox | Silent:
        match arn:
            case "nothing":
                raise ConfigError("failure destination: 'nothing' is none; use a queue")
            case _:
                return self.queue if arn == QUEUE else self.bucket

    async def kept(self) -> list[Failure]:
        return [failure for _, failure in await self.store.kept(10_000)]


@pytest.fixture
def now() -> Callable[[], float]:
    return lambda: asyncio.get_running_loop().time()


class There:
    """A destination that can be looked at."""

    async def check(self) -> None:
        pass


async def test_of_destinations_that_were_only_looked_at_nothing_stays() -> None:
    made: weakref.WeakSet[There] = weakref.WeakSet()

    def destination_for(_arn: str) -> There:
        made.add(there := There())
        return there

    delivery = Delivery(MemoryStore(), destination_for, on_failed_attempt=[].append)
    for number in range(100):
        await delivery.check(f"arn:aws:s3:::bucket-{number}")

    assert len(made) == 0


async def test_a_document_is_sent_at_once_and_not_kept() -> None:
    scene = Scene()

    assert await scene.delivery.deliver(FAILURE) is Fate.SENT
    assert scene.queue.received == [FAILURE]
    assert scene.failed == await scene.kept() == []


@pytest.mark.parametrize(
    ("outage", "attempts"),
    [
        (0.5, [0, 1]),
        (2, [0, 1, 3]),
        (60, [0, 1, 3, 7, 15, 31, 61]),
        (GIVE_UP_AFTER - 30, [0, 1, 3, 7, 15, 31, 61, 91, 121, 151, 181, 211, 241, 271]),
    ],
)
async def test_an_outage_shorter_than_five_minutes_only_delays(
    outage: float, attempts: list[float], now: Callable[[], float]
) -> None:
    start = now()
    mailbox = Mailbox(start + outage)
    scene = Scene(queue=mailbox)

    assert await scene.delivery.deliver(FAILURE) is Fate.SENT

    assert [round(at - start, 1) for at in mailbox.attempts] == attempts
    assert mailbox.received == [FAILURE]
    assert len(scene.failed) == len(attempts) - 1


@pytest.mark.proves("S7.3.kept")
async def test_an_outage_longer_than_five_minutes_keeps_the_document(
    now: Callable[[], float], caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(queue=Mailbox(FOR_EVER))
    start = now()

    assert await scene.delivery.deliver(FAILURE) is Fate.KEPT

    assert GIVE_UP_AFTER - 30 <= now() - start <= GIVE_UP_AFTER
    assert await scene.kept() == [FAILURE]
    (loud,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "3 records of shard-1 is kept" in loud.getMessage()


@pytest.mark.proves("S12.4.lost")
async def test_a_result_is_kept_soon_as_events_wait_behind_it(
    now: Callable[[], float], caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(queue=Mailbox(FOR_EVER))
    start = now()

    assert await scene.delivery.deliver(RESULT) is Fate.KEPT

    assert [at - start for at in scene.queue.attempts] == [0, 1, 3]
    assert await scene.kept() == [RESULT]
    (loud,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "failed for 5 s: the document about request r of function f is kept" in loud.getMessage()


async def test_every_failed_attempt_is_warned_of_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene(queue=Mailbox(FOR_EVER))

    await scene.delivery.deliver(FAILURE)

    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == len(scene.failed) == len(scene.queue.attempts) > 10
    for record in warnings:
        assert record.name == "poller.destinations"
        assert record.getMessage() == f"failure destination {QUEUE}: down"
        assert (record.mapping, record.shard) == ("m", "shard-1")


async def test_a_destination_that_does_not_answer_is_a_failed_attempt(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene(queue=Silent())

    assert await scene.delivery.deliver(FAILURE) is Fate.KEPT
    assert len(scene.failed) >= 2
    assert f"failure destination {QUEUE}: no answer within {ATTEMPT_MAX:g} s" in caplog.text


async def test_what_is_no_destination_any_more_is_kept() -> None:
    scene = Scene()
    orphan = replace(FAILURE, destination="nothing")

    assert await scene.delivery.deliver(orphan) is Fate.KEPT
    assert await scene.kept() == [orphan]


async def test_a_lane_waits_while_a_document_can_be_neither_sent_nor_kept(
    now: Callable[[], float], caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(queue=Mailbox(FOR_EVER))
    scene.store.works_at = now() + 10_000

    assert await scene.delivery.deliver(FAILURE) is Fate.KEPT

    assert now() >= scene.store.works_at
    assert await scene.kept() == [FAILURE]
    assert (
        "about 3 records of shard-1 cannot be kept, so that waits: state.db: no room" in caplog.text
    )


@pytest.mark.parametrize("state_works", [True, False])
async def test_a_cancelled_delivery_says_so_and_keeps_nothing(
    state_works: bool, now: Callable[[], float]
) -> None:
    scene = Scene(queue=Mailbox(FOR_EVER))
    scene.store.works_at = 0.0 if state_works else FOR_EVER
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(100 if state_works else GIVE_UP_AFTER + 100):
            await scene.delivery.deliver(FAILURE)

    scene.store.works_at = 0.0
    assert await scene.kept() == []


# What is kept.


async def keep(scene: Scene, documents: list[Failure]) -> None:
    for failure in documents:
        await scene.store.keep(failure)


async def test_kept_documents_are_sent_in_order_and_dropped() -> None:
    scene = Scene()
    documents = failures(2 * RESEND_BATCH + 5)
    await keep(scene, documents)

    assert await scene.delivery.resend_once() == len(documents)
    assert scene.queue.received == documents
    assert await scene.kept() == []


async def test_a_destination_that_fails_is_probed_once_a_round_and_holds_up_no_other() -> None:
    scene = Scene(queue=Mailbox(FOR_EVER))
    stuck, fine = failures(5, QUEUE), failures(5, BUCKET)
    await keep(scene, [one for pair in zip(stuck, fine, strict=True) for one in pair])

    assert await scene.delivery.resend_once() == 5
    assert scene.bucket.received == fine
    assert scene.failed == stuck[:1]
    assert await scene.kept() == stuck


async def test_documents_that_are_never_taken_hold_up_no_other_for_ever() -> None:
    """Such as records that are larger than a queue's messages may be."""
    scene = Scene(queue=Picky(refuses={"0", "1", "3"}))
    documents = failures(2 * RESEND_BATCH)
    await keep(scene, documents)

    sent = [await scene.delivery.resend_once() for _ in range(4)]

    refused = [documents[n] for n in (0, 1, 3)]
    assert sent == [0, 0, 1, 2 * RESEND_BATCH - 4]
    assert scene.failed == [*refused, refused[0]]
    assert await scene.kept() == refused


async def test_two_rounds_at_once_send_each_document_once() -> None:
    scene = Scene()
    await keep(scene, failures(20))

    sent = await asyncio.gather(scene.delivery.resend_once(), scene.delivery.resend_once())

    assert sorted(sent) == [0, 20]
    assert scene.queue.received == failures(20)


async def test_a_round_that_is_cancelled_drops_only_what_was_sent() -> None:
    scene = Scene(bucket=Silent())
    await keep(scene, [*failures(2, QUEUE), *failures(1, BUCKET)])

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await scene.delivery.resend_once()

    assert scene.queue.received == failures(2)
    assert await scene.kept() == failures(1, BUCKET)


@pytest.mark.proves("S7.3.kept")
@pytest.mark.parametrize("state_outage", [0, 1000])
async def test_kept_documents_are_sent_soon_after_the_destination_works_again(
    state_outage: float, now: Callable[[], float]
) -> None:
    back_at = now() + 3600
    scene = Scene(queue=Mailbox(back_at))
    await keep(scene, failures(3))
    scene.store.works_at = now() + state_outage
    resending = asyncio.create_task(scene.delivery.resend())

    await asyncio.sleep(back_at + RESEND_PERIOD + 1 - now())

    assert sorted(scene.queue.received, key=lambda sent: sent.key) == failures(3)
    assert await scene.kept() == []
    resending.cancel()
    await asyncio.gather(resending, return_exceptions=True)


async def test_a_destination_that_is_gone_does_not_hold_up_the_others() -> None:
    scene = Scene(bucket=Mailbox(works_at=FOR_EVER))
    for failure in (*failures(150, BUCKET), FAILURE):
        await scene.store.keep(failure)
    assert await scene.delivery.resend_once() == 1
    assert await scene.kept() == failures(150, BUCKET)
