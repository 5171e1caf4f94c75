"""What a reader makes of what is pushed, in virtual time: nothing is lost, whatever happens."""

from __future__ import annotations

import asyncio
import base64
import logging
from itertools import pairwise

import looptime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poller.aws.client import AwsError
from poller.aws.event_streams import Event
from poller.core.model import BEGINNING, EVERYTHING
from poller.core.shards import Shard
from poller.core.steps import Fetched, FetchFailed
from poller.errors import SourceMissing
from poller.sources.kinesis_fanout_reader import IN_USE_WAIT_MAX, SILENCE_MAX, FanoutReader
from poller.sources.kinesis_places import OLDEST, after, from_instant
from tests.aggregates import aggregate
from tests.sources.fanout_scripts import Push, Script, now, push, pushed, reader_of, refusal
from tests.sources.kinesis_scripts import NOW, SHARD

pytestmark = [pytest.mark.looptime, pytest.mark.proves("EventSourceArn")]

IN_USE = "ResourceInUseException"
GONE = "ResourceNotFoundException"
INVALID = "InvalidArgumentException"
GREETING = Event("initial-response", b"{}", fresh=True)


async def fetch(reader: FanoutReader, limit: int = 1000) -> Fetched:
    fetched = await reader.read(limit)
    assert isinstance(fetched, Fetched), fetched
    return fetched


async def numbers(reader: FanoutReader, reads: int) -> list[int]:
    found: list[int] = []
    for _ in range(reads):
        found += [int(record.sequence) for record in (await fetch(reader)).records]
    return found


# Subscriptions follow one another.


@pytest.mark.proves("S3.3.resubscribe")
async def test_a_subscription_that_ends_is_followed_by_the_next_from_its_continuation() -> None:
    script = Script([push(GREETING, pushed(1, 2), pushed(continuation="7"), None), push(pushed(8))])
    reader = reader_of(script)

    assert await numbers(reader, 3) == [1, 2, 8]
    assert script.places == [OLDEST, after("7")]


@pytest.mark.proves("S3.3.resubscribe")
async def test_hours_of_subscriptions_of_five_minutes_lose_and_repeat_nothing() -> None:
    subscriptions = [
        Push([(5.0, pushed(60 * turn + beat)) for beat in range(60)] + [(0.0, None)])
        for turn in range(24)
    ]
    script = Script([*subscriptions, push(pushed(9999))])
    reader = reader_of(script)

    assert await numbers(reader, 24 * 60 + 1) == [*range(24 * 60), 9999]
    assert asyncio.get_running_loop().time() == pytest.approx(24 * 300 + 1)
    assert all(each.closed for each in subscriptions)


async def test_nothing_known_yet_is_resumed_from_the_start_and_not_from_the_tip() -> None:
    script = Script([push(pushed(continuation=None), wait=1.0), push(pushed(1))])
    script.answers[0].items.append((1.0, None))
    reader = reader_of(script, seek=from_instant(NOW))

    assert await numbers(reader, 2) == [1]
    assert script.places == [from_instant(NOW), from_instant(NOW)]


@pytest.mark.parametrize("code", ["ConnectionLost", "TimedOut"])
async def test_a_subscription_that_breaks_off_at_its_end_is_followed_by_the_next(code: str) -> None:
    beats: list[tuple[float, Event | AwsError | None]] = [(5.0, pushed()) for _ in range(58)]
    script = Script([Push([*beats, (5.0, refusal(code, status=None))]), push(pushed(1))])
    reader = reader_of(script)

    assert await numbers(reader, 59) == [1]


async def test_a_subscription_that_breaks_off_before_is_a_failure_and_nothing_is_lost() -> None:
    broken = push(pushed(1, continuation="5"), refusal("ConnectionLost", status=None))
    script = Script([broken, push(pushed(6))])
    reader = reader_of(script)
    await fetch(reader)

    failed = await reader.read(10)

    assert isinstance(failed, FetchFailed)
    assert failed.error.startswith(f"reading {SHARD}: kinesis SubscribeToShard: ConnectionLost")
    assert broken.closed
    assert await numbers(reader, 1) == [6]
    assert script.places == [OLDEST, after("5")]


async def test_a_next_subscription_that_cannot_be_had_is_a_failure() -> None:
    beats: list[tuple[float, Event | AwsError | None]] = [(5.0, pushed()) for _ in range(60)]
    lost = refusal("ConnectionLost", status=None)
    script = Script([Push([*beats, (0.0, None)]), lost, lost, push(pushed(1))])
    reader = reader_of(script)
    await numbers(reader, 60)

    for _ in range(2):
        assert isinstance(await reader.read(10), FetchFailed)
    assert await numbers(reader, 1) == [1]


async def test_silence_is_a_broken_subscription() -> None:
    script = Script([push(pushed(1, continuation="5")), push(pushed(6))])
    reader = reader_of(script)
    await fetch(reader)
    asked_at = now()

    failed = await reader.read(10)

    assert isinstance(failed, FetchFailed)
    assert now() - asked_at == SILENCE_MAX
    assert await numbers(reader, 1) == [6]


async def test_a_subscription_that_is_overdue_is_not_waited_for() -> None:
    script = Script([push(pushed(1, continuation="5")), push(pushed(6), wait=0.0)])
    reader = reader_of(script)
    await fetch(reader)
    await asyncio.sleep(400)  # the function was stuck, and the connection is long gone
    asked_at = now()

    assert await numbers(reader, 1) == [6]
    assert now() - asked_at < 3


async def test_subscriptions_that_bring_nothing_at_all_are_failures() -> None:
    script = Script([push(GREETING, None), push(None), push(pushed(1))])
    reader = reader_of(script)

    for _ in range(2):
        failed = await reader.read(10)
        assert isinstance(failed, FetchFailed)
        assert "before its first event" in failed.error
    assert await numbers(reader, 1) == [1]


async def test_subscribing_keeps_to_what_aws_takes() -> None:
    broken = [push(pushed(), refusal("ConnectionLost", status=None), wait=0.0) for _ in range(5)]
    refused: list[Push | AwsError] = [refusal("InternalFailure", status=500) for _ in range(5)]
    script = Script([*broken, *refused])
    reader = reader_of(script)
    for _ in range(15):
        await reader.read(10)

    times = [at for at, _ in script.asked]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps == pytest.approx([5.0] * 5 + [1.0] * 4)


async def test_a_pinned_subscription_is_read_first() -> None:
    script = Script([])
    reader = reader_of(script, subscription=push(pushed(1)))

    assert await numbers(reader, 1) == [1]
    assert script.asked == []


async def test_a_pinned_subscription_that_is_refused_after_all_is_taken_from_its_instant() -> None:
    script = Script([push(pushed(1))])
    reader = reader_of(script, seek=from_instant(NOW), subscription=push(refusal(IN_USE)))

    assert isinstance(await reader.read(10), FetchFailed)
    assert await numbers(reader, 1) == [1]
    assert script.places == [from_instant(NOW)]


# Somebody else.


async def test_the_longer_a_consumer_is_in_use_the_longer_is_the_wait() -> None:
    taken_over = [push(pushed(), refusal(IN_USE), wait=0.0) for _ in range(3)]
    script = Script([*[refusal(IN_USE)] * 3, *taken_over, push(pushed(1), None), refusal(IN_USE)])
    reader = reader_of(script)

    waits = []
    for _ in range(11):
        read = await reader.read(10)
        if isinstance(read, FetchFailed):
            assert "a consumer of its own" in read.error
            waits.append(read.retry_after)

    assert waits == [5.0, 10.0, 20.0, 40.0, IN_USE_WAIT_MAX, IN_USE_WAIT_MAX, 5.0]


@pytest.mark.parametrize(
    ("error", "retry_after"),
    [
        (refusal("LimitExceededException"), 1.0),
        (AwsError("p", "LimitExceededException", "", status=400, retry_after=3.0), 3.0),
        (refusal("AccessDeniedException"), None),
        (refusal("KMSThrottlingException"), 1.0),
        (refusal("InternalFailure", status=500), None),
    ],
)
async def test_refusals_are_failures_that_say_how_long_to_wait(
    error: AwsError, retry_after: float | None
) -> None:
    reader = reader_of(Script([error, push(pushed(1))]))

    failed = await reader.read(10)

    assert isinstance(failed, FetchFailed)
    assert failed.retry_after == retry_after
    assert await numbers(reader, 1) == [1]


# Places that the stream does not have.


@pytest.mark.parametrize("at", ["call", "first event"])
@pytest.mark.parametrize("code", [INVALID, GONE])
async def test_a_continuation_that_is_not_known_is_replaced_by_the_last_record(
    code: str, at: str, caplog: pytest.LogCaptureFixture
) -> None:
    refused = refusal(code) if at == "call" else push(refusal(code))
    script = Script([push(pushed(3, continuation="5"), None), refused, push(pushed(4))])
    reader = reader_of(script)

    assert await numbers(reader, 2) == [3, 4]
    assert script.places == [OLDEST, after("5"), after("3")]
    assert caplog.records == []


async def test_a_record_that_is_not_known_is_replaced_by_the_oldest_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    script = Script([refusal(INVALID), push(pushed(9))])
    reader = reader_of(script, seek=after("7"))

    assert await numbers(reader, 1) == [9]
    assert script.places == [after("7"), OLDEST]
    [warning] = caplog.records
    assert "record 7" in warning.getMessage()


async def test_a_start_that_is_refused_is_a_failure() -> None:
    reader = reader_of(Script([refusal(INVALID), refusal(GONE)]))

    for _ in range(2):
        assert isinstance(await reader.read(10), FetchFailed)


async def test_a_shard_that_is_no_longer_listed_has_ended_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reader = reader_of(Script([refusal(GONE)], listed=()))

    end = await fetch(reader)

    assert (end.records, end.read_up_to, end.shard_ended) == ((), EVERYTHING, True)
    assert "no longer in the stream" in caplog.text


@pytest.mark.parametrize("at", ["call", "event"])
async def test_a_consumer_that_is_gone_is_a_failure_that_says_so(at: str) -> None:
    gone = refusal(GONE) if at == "call" else push(pushed(1), refusal(GONE))
    script = Script([gone, push(pushed(2))], listed=SourceMissing("Stream not found: arn"))
    reader = reader_of(script)
    if at == "event":
        await fetch(reader)

    failed = await reader.read(10)

    assert isinstance(failed, FetchFailed)
    assert failed.error == f"reading {SHARD}: Stream not found: arn"
    assert await numbers(reader, 1) == [2]  # it is back


# The end of the shard.


@pytest.mark.parametrize("continuation", [None, "5"])
async def test_a_shard_ends_with_the_event_that_names_its_children(
    continuation: str | None,
) -> None:
    last = pushed(1, continuation=continuation, children=["shardId-000000000001"])
    subscription = push(last)
    reader = reader_of(Script([subscription]))

    ends = [await fetch(reader), await fetch(reader)]

    assert [len(end.records) for end in ends] == [1, 0]
    assert all(end.shard_ended and end.read_up_to == EVERYTHING for end in ends)
    assert subscription.closed


async def test_a_shard_without_a_continuation_has_ended_if_it_is_closed() -> None:
    script = Script([push(pushed(1, continuation=None))], listed=[Shard(SHARD, closed=True)])
    reader = reader_of(script)

    first, end = await fetch(reader), await fetch(reader)

    assert (len(first.records), first.shard_ended) == (1, False)
    assert end.shard_ended


async def test_a_shard_without_a_continuation_goes_on_while_it_is_open() -> None:
    script = Script([push(pushed(1, continuation=None), pushed(2, continuation=None))])

    assert await numbers(reader_of(script), 2) == [1, 2]


# How far it has read.


@pytest.mark.parametrize(
    ("event", "behind"),
    [
        (pushed(), 0.0),
        (pushed(1), 0.0),
        (pushed(behind=3000), 3.0),
        (pushed(1, fresh=False), None),
        (pushed(fresh=False), None),
        (pushed(behind=3000, fresh=False), None),
    ],
)
async def test_how_far_it_has_read_is_what_a_fresh_event_says(
    event: Event, behind: float | None
) -> None:
    reader = reader_of(Script([push(event, wait=20.0)]))

    fetched = await fetch(reader)

    if behind is None:  # it may have waited for long in the socket
        assert fetched.asked_at == now()
        assert fetched.read_up_to == (NOW if fetched.records else BEGINNING)
    else:
        assert fetched.asked_at == now() - 1.0
        assert fetched.read_up_to == pytest.approx(fetched.asked_at - behind)


# Limits, cancellation.


async def test_a_large_event_is_handed_out_in_pieces() -> None:
    reader = reader_of(Script([push(pushed(*range(25)), pushed(25))]))

    pieces = [await fetch(reader, 10) for _ in range(4)]

    assert [len(piece.records) for piece in pieces] == [10, 10, 5, 1]
    reached = [piece.read_up_to >= piece.asked_at for piece in pieces]
    assert reached == [False, False, True, True]
    assert [piece.size >= sum(r.size for r in piece.records) for piece in pieces] == [True] * 4


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.0, 12.0), max_size=12), st.integers(1, 7))
def test_reads_that_are_cancelled_lose_nothing(gaps: list[float], limit: int) -> None:
    async def read() -> list[int]:
        first = push(pushed(*range(10)), pushed(10), None)
        second = push(pushed(11, 12), refusal("ConnectionLost", status=None))
        script = Script([first, second, push(pushed(13, 14))])
        reader, found = reader_of(script, spacing=0.0), []
        for gap in [*gaps, *[None] * 30]:
            try:
                async with asyncio.timeout(gap):
                    fetched = await reader.read(limit)
            except TimeoutError:
                continue
            if isinstance(fetched, Fetched):
                found += [int(record.sequence) for record in fetched.records]
            if found and found[-1] == 14:
                break
        return found

    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        assert runner.run(read()) == list(range(15))


# Aggregates.


def aggregated(number: int, count: int) -> dict[str, object]:
    users: list[tuple[str, int | None, bytes]] = [
        (f"k{each % 3}", each % 2 or None, b"%d" % each) for each in range(count)
    ]
    data = base64.b64encode(aggregate(users)).decode()
    return {
        "SequenceNumber": str(number),
        "ApproximateArrivalTimestamp": NOW,
        "Data": data,
        "PartitionKey": "outer",
    }


async def test_the_records_of_an_aggregate_come_whole_whatever_the_limit() -> None:
    records = [aggregated(1, 1), aggregated(2, 5), aggregated(3, 2)]
    reader = reader_of(Script([push(pushed(Records=records))]))

    pieces = [await fetch(reader, 2) for _ in range(2)]

    assert [[record.sequence for record in piece.records] for piece in pieces] == [
        ["1", "2", "2", "2", "2", "2"],
        ["3", "3"],
    ]
    assert [record.key for record in pieces[0].records[1:]] == ["k0", "k1", "k2", "k0", "k1"]


@pytest.mark.proves("S3.4.another-shard")
async def test_records_of_another_shard_are_dropped_with_a_warning_now_and_then(
    caplog: pytest.LogCaptureFixture,
) -> None:
    events = [pushed(Records=[aggregated(number, 4)]) for number in range(1, 5)]
    script = Script([push(*events)], keys=range(2, 2**128))
    reader = reader_of(script)
    with caplog.at_level(logging.WARNING, "poller.sources"):
        kept = [len((await fetch(reader)).records) for _ in range(4)]

    assert kept == [2, 2, 2, 2]
    assert [record.getMessage().split()[1] for record in caplog.records] == ["2", "4", "8"]


async def test_an_event_that_is_not_what_kinesis_sends_is_a_failure_and_comes_again() -> None:
    garbled = Event("SubscribeToShardEvent", b'{"Records":[{}]}', fresh=True)
    script = Script([push(pushed(1, continuation="1"), garbled), push(pushed(2))])
    reader = reader_of(script)
    await fetch(reader)

    assert isinstance(await reader.read(10), FetchFailed)
    assert await numbers(reader, 1) == [2]
    assert script.places == [OLDEST, after("1")]
