"""Partial batch responses: one row for each line of the table, and the sources it is from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.core.model import Failed, Outcome, PartlyFailed, Succeeded
from poller.wire.responses import ERROR_MAX, error_outcome, queue_outcome, stream_outcome


@dataclass(frozen=True)
class Item:
    """A record whose sequence number is its id, and a message with this id."""

    id: str
    receipt: str = "r"
    group: str | None = None
    key: str | None = "k"
    arrived_at: float = 0.0
    size: int = 100

    @property
    def sequence(self) -> str:
        return self.id


BATCH = tuple(Item(name) for name in ("101", "102", "103", "104"))
REPORT = object()


def of_stream(body: bytes, *, reporting: bool = True) -> Outcome:
    return stream_outcome(body, BATCH, reporting=reporting, report=REPORT)


def of_queue(body: bytes, *, reporting: bool = True) -> Outcome:
    return queue_outcome(body, BATCH, reporting=reporting)


def response(*identifiers: Any) -> bytes:
    return json.dumps(
        {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in identifiers]}
    ).encode()


@pytest.mark.parametrize(
    "body", [b"", b"not json", b'"text"', response("102"), response("999"), b"\xff"]
)
def test_without_reporting_every_body_is_success(body: bytes) -> None:
    assert of_stream(body, reporting=False) == Succeeded()
    assert of_queue(body, reporting=False) == Succeeded()


@pytest.mark.parametrize(
    "body",
    [
        b"",  # recorded: a custom runtime that posts nothing
        b" \n",
        b'""',  # recorded, Kinesis
        b"[]",
        b" [ ] ",
        b"null",
        b"{}",
        b'{"batchItemFailures":[]}',
        b'{ "batchItemFailures" : [] }',
        b'{"batchItemFailures":null}',
        b'{"statusCode":200}',
        b'{"state":{},"batchItemFailures":[]}',
    ],
)
def test_a_response_that_reports_nothing_is_success(body: bytes) -> None:
    assert of_stream(body) == Succeeded()
    assert of_queue(body) == Succeeded()


@pytest.mark.parametrize(
    ("identifiers", "lowest", "exactly"),
    [
        (["104"], 3, {3}),
        (["101"], 0, {0}),
        (["103", "102"], 1, {1, 2}),  # out of order
        (["104", "102", "102"], 1, {1, 3}),  # repeated
        (["101", "102", "103", "104"], 0, {0, 1, 2, 3}),
    ],
)
def test_a_stream_goes_back_to_the_lowest_and_a_queue_keeps_exactly_these(
    identifiers: list[str], lowest: int, exactly: set[int]
) -> None:
    assert of_stream(response(*identifiers)) == PartlyFailed(frozenset({lowest}), REPORT)
    assert of_queue(response(*identifiers)) == PartlyFailed(frozenset(exactly))


def test_other_members_of_a_response_change_nothing() -> None:
    body = b'{"state":1,"batchItemFailures":[{"itemIdentifier":"103","why":"x"}]}'
    assert of_queue(body) == PartlyFailed(frozenset({2}))


def test_a_message_that_a_batch_holds_twice_fails_twice() -> None:
    batch = (*BATCH, Item("102"))
    assert queue_outcome(response("102"), batch, reporting=True) == PartlyFailed(frozenset({1, 4}))


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (response(""), 'an itemIdentifier must name an item, not be ""'),
        (response(None), "an itemIdentifier must name an item, not be nothing"),
        (response(123), "an itemIdentifier must name an item, not be 123"),
        (response(102), "an itemIdentifier must name an item, not be 102"),
        (response({}), "an itemIdentifier must name an item, not be a block of keys"),
        (response("102", ""), 'an itemIdentifier must name an item, not be ""'),
        (
            b'{"batchItemFailures":[{"foo":"notvalid"}]}',
            "an entry of batchItemFailures has no itemIdentifier",
        ),
        (b'{"batchItemFailures":[{}]}', "an entry of batchItemFailures has no itemIdentifier"),
        (b'{"batchItemFailures":["102"]}', "an entry of batchItemFailures has no itemIdentifier"),
        (b'{"batchItemFailures":[null]}', "an entry of batchItemFailures has no itemIdentifier"),
        (response("999"), 'the response reports "999", which is not in the batch'),
        (response("102", "999"), 'the response reports "999", which is not in the batch'),
        (response("0102"), 'the response reports "0102", which is not in the batch'),
        (b'{"batchItemFailures":{}}', "batchItemFailures must be a list, not a block of keys"),
        (b'{"batchItemFailures":"102"}', 'batchItemFailures must be a list, not "102"'),
        (b'{"batchItemFailures":false}', "batchItemFailures must be a list, not false"),
        (b'"done"', 'the response must be an object, not "done"'),
        (b"0", "the response must be an object, not 0"),
        (b"false", "the response must be an object, not false"),
        (b'[{"itemIdentifier":"102"}]', "the response must be an object, not a list"),
        (b"{", "the response is not JSON"),
        (b"{} {}", "the response is not JSON"),
        (b"NaN", "the response is not JSON"),
        (b'"\xff"', "the response is not JSON"),
        (b"[" * 100_000, "the response is not JSON"),
        (b"1" * 5_000, "the response is not JSON"),
    ],
)
def test_a_bad_response_condemns_the_batch_without_bisecting_it(body: bytes, error: str) -> None:
    assert of_stream(body) == Failed(error, bisectable=False, report=REPORT)
    assert of_queue(body) == Failed(error, bisectable=False)


def test_a_functions_own_failure_may_be_bisected() -> None:
    outcome = error_outcome("ValueError", "bad order", report=REPORT)
    assert outcome == Failed("ValueError: bad order", bisectable=True, report=REPORT)
    assert len(error_outcome("E", "x" * 10_000).error) == ERROR_MAX


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "102", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["batchItemFailures", "itemIdentifier"]), inner)
    ),
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_response_has_an_outcome_and_both_kinds_agree_on_success(body: bytes) -> None:
    stream, queue = of_stream(body), of_queue(body)
    assert type(stream) is type(queue)
    match stream, queue:
        case PartlyFailed(failed=lowest), PartlyFailed(failed=exactly):
            assert lowest == {min(exactly)}
            assert exactly <= set(range(len(BATCH)))
        case Failed(bisectable=stream_bisects), Failed(bisectable=queue_bisects):
            assert not stream_bisects
            assert not queue_bisects
        case pair:
            assert pair == (Succeeded(), Succeeded())
