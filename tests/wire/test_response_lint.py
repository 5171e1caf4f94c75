"""What is found odd about responses: one row for each kind, and nothing about good ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.core.model import Outcome, PartlyFailed, Refused
from poller.wire.findings import Finding, Kind
from poller.wire.response_lint import (
    LOOK_BYTES_MAX,
    PARSE_BYTES_MAX,
    examine_queue,
    examine_stream,
)
from poller.wire.responses import queue_outcome, stream_outcome
from tests.wire.test_responses import Item

SEQUENCES = tuple(f"4959033827149025660855969292516109{n}" for n in range(4))
RECORDS = tuple(Item(name, key="cust-77") for name in SEQUENCES)
IDS = tuple(f"059f36b4-87a3-44ab-83d2-66197{n}975a7d" for n in range(4))
MESSAGES = tuple(Item(name, receipt=f"receipt-of-{name}") for name in IDS)
FIFO = tuple(Item(name, group=group) for name, group in zip(IDS, "abab", strict=True))


def of_stream(body: bytes, *, reporting: bool = True, windowed: bool = False) -> list[Finding]:
    outcome = stream_outcome(body, RECORDS, reporting=reporting)
    examined = examine_stream(outcome, body, RECORDS, reporting=reporting, windowed=windowed)
    assert examined == outcome  # what is found changes nothing
    return findings(examined)


def of_queue(
    body: bytes, *, reporting: bool = True, messages: tuple[Item, ...] = MESSAGES
) -> list[Finding]:
    outcome = queue_outcome(body, messages, reporting=reporting)
    examined = examine_queue(outcome, body, messages, reporting=reporting)
    assert examined == outcome
    return findings(examined)


def findings(outcome: Outcome) -> list[Finding]:
    assert not isinstance(outcome, Refused)
    return list(outcome.findings)


def kinds(found: list[Finding]) -> list[Kind]:
    return [each.kind for each in found]


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def items(*identifiers: Any) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": each} for each in identifiers]}


GOOD_ITEMS = [{"itemIdentifier": "1"}]
BAD_WHEN_REPORTING: list[tuple[Any, Kind]] = [
    ({"BatchItemFailures": GOOD_ITEMS}, Kind.WRONG_KEY),
    ({"BatchItemFailures": []}, Kind.WRONG_KEY),  # as wrong, though nothing failed yet
    ({"batchItemFailure": GOOD_ITEMS}, Kind.WRONG_KEY),
    ({"batch_item_failures": GOOD_ITEMS}, Kind.WRONG_KEY),
    ({"batchItemsFailed": GOOD_ITEMS}, Kind.WRONG_KEY),
    ({"batchitemfailures": GOOD_ITEMS, "other": 1}, Kind.WRONG_KEY),
    ({"failures": GOOD_ITEMS}, Kind.WRONG_KEY),  # by what it holds
    ({"statusCode": 200, "body": json.dumps(items("1"))}, Kind.API_GATEWAY),
    ({"statusCode": 200, "body": json.dumps(items())}, Kind.API_GATEWAY),
    ({"errorMessage": "cust-77 is broken", "errorType": "E"}, Kind.ERROR_AS_SUCCESS),
    ({"state": {"sum": 1}}, Kind.STATE_WITHOUT_WINDOW),
    ({"state": {"sum": 1}, **items()}, Kind.STATE_WITHOUT_WINDOW),
    (json.dumps(items("1")), Kind.JSON_IN_A_STRING),
    (json.dumps({"ok": 1}), Kind.JSON_IN_A_STRING),
    ("[]", Kind.JSON_IN_A_STRING),
    (GOOD_ITEMS, Kind.LIST_AT_THE_TOP),
    (["1"], Kind.LIST_AT_THE_TOP),
    ("ok", Kind.NOT_AN_OBJECT),
    (True, Kind.NOT_AN_OBJECT),
    (3, Kind.NOT_AN_OBJECT),
    ({"batchItemFailures": {"itemIdentifier": "1"}}, Kind.NOT_A_LIST),
    ({"batchItemFailures": "1"}, Kind.NOT_A_LIST),
    ({"batchItemFailures": ["1", "2"]}, Kind.ITEM_IS_NO_OBJECT),
    ({"batchItemFailures": [None]}, Kind.ITEM_IS_NO_OBJECT),
    ({"batchItemFailures": [{"itemidentifier": "1"}]}, Kind.WRONG_ITEM_KEY),
    ({"batchItemFailures": [{"item_identifier": "1"}]}, Kind.WRONG_ITEM_KEY),
    ({"batchItemFailures": [{"messageId": "1"}]}, Kind.WRONG_ITEM_KEY),
    ({"batchItemFailures": [{"foo": "notvalid"}]}, Kind.WRONG_ITEM_KEY),
    ({"batchItemFailures": [{}]}, Kind.WRONG_ITEM_KEY),
    (items(""), Kind.NO_IDENTIFIER),
    (items(None), Kind.NO_IDENTIFIER),
    (items(123), Kind.NO_IDENTIFIER),
    (items("99"), Kind.UNKNOWN_IDENTIFIER),
    (items("cust-78", "cust-79"), Kind.UNKNOWN_IDENTIFIER),
]


@pytest.mark.parametrize(("response", "kind"), BAD_WHEN_REPORTING)
def test_a_response_that_looks_like_a_mistake_is_found_on_streams_and_queues(
    response: Any, kind: Kind
) -> None:
    assert kinds(of_stream(encoded(response))) == [kind]
    assert kinds(of_queue(encoded(response))) == [kind]


def test_a_response_that_is_no_json_is_found() -> None:
    assert kinds(of_stream(b"done")) == kinds(of_queue(b"{'a': 1}")) == [Kind.NOT_JSON]


BAD_WITHOUT_REPORTING: list[tuple[Any, Kind]] = [
    (items(SEQUENCES[0]), Kind.REPORTING_OFF),
    (items("whatever"), Kind.REPORTING_OFF),
    ({"BatchItemFailures": GOOD_ITEMS}, Kind.REPORTING_OFF),
    ({"statusCode": 200, "body": json.dumps(items("1"))}, Kind.REPORTING_OFF),
    (json.dumps(items("1")), Kind.REPORTING_OFF),
    (GOOD_ITEMS, Kind.REPORTING_OFF),
    ({"errorMessage": "no", "errorType": "E", "stackTrace": []}, Kind.ERROR_AS_SUCCESS),
    ({"state": {}}, Kind.STATE_WITHOUT_WINDOW),
]


@pytest.mark.parametrize(("response", "kind"), BAD_WITHOUT_REPORTING)
def test_without_reporting_what_is_ignored_is_found(response: Any, kind: Kind) -> None:
    assert kinds(of_stream(encoded(response), reporting=False)) == [kind]
    assert kinds(of_queue(encoded(response), reporting=False)) == [kind]


@pytest.mark.parametrize(
    ("identifier", "text"),
    [
        (f"shardId-000000000006:{SEQUENCES[0]}", "an eventID and no sequence number"),
        ("c9fbe2d0261a5e3b9e2c1f7c8f1ab2d3", "an eventID and no sequence number"),  # DynamoDB's
        (IDS[0], "a messageId and no sequence number"),
        ("cust-77", "a partition key and no sequence number"),
    ],
)
def test_on_a_stream_another_identifier_is_named(identifier: str, text: str) -> None:
    (finding,) = of_stream(encoded(items(identifier)))
    assert finding.kind is Kind.OTHER_IDENTIFIER
    assert f"an itemIdentifier is {text}, so the whole batch failed" in finding.text


@pytest.mark.parametrize(
    ("identifier", "text"),
    [
        (f"receipt-of-{IDS[2]}", "a receiptHandle and no messageId"),
        (SEQUENCES[0], "a SequenceNumber and no messageId"),
        (f"shardId-000000000006:{SEQUENCES[0]}", "an eventID and no messageId"),
    ],
)
def test_on_a_queue_another_identifier_is_named(identifier: str, text: str) -> None:
    (finding,) = of_queue(encoded(items(identifier)))
    assert finding.kind is Kind.OTHER_IDENTIFIER
    assert f"an itemIdentifier is {text}, so the whole batch failed" in finding.text


@pytest.mark.parametrize(
    ("reported", "broken"),
    [
        ([0, 1, 2, 3], False),
        ([2, 3], False),  # the last of each group
        ([1, 3], False),  # all of one group
        ([3], False),
        ([0], True),
        ([0, 1, 3], True),
        ([1], True),
    ],
)
def test_an_order_that_a_partial_response_breaks_is_found(
    reported: list[int], broken: bool
) -> None:
    body = encoded(items(*(IDS[index] for index in reported)))
    assert kinds(of_queue(body, messages=FIFO)) == [Kind.FIFO_ORDER] * broken
    assert of_queue(body) == []  # a standard queue has no order


def test_one_response_may_have_several_kinds_each_once() -> None:
    response = {"batchItemFailures": ["1", "2", {"id": 1}, {}, {"itemIdentifier": "x"}]}
    assert kinds(of_stream(encoded(response))) == [
        Kind.ITEM_IS_NO_OBJECT,
        Kind.WRONG_ITEM_KEY,
        Kind.UNKNOWN_IDENTIFIER,
    ]


def test_every_kind_has_its_row() -> None:
    rows = {kind for _, kind in BAD_WHEN_REPORTING + BAD_WITHOUT_REPORTING}
    assert set(Kind) - rows == {Kind.NOT_JSON, Kind.OTHER_IDENTIFIER, Kind.FIFO_ORDER}


FINE: list[Any] = [
    None,
    {},
    [],
    "",
    items(),
    {"batchItemFailures": None},
    {"statusCode": 200},
    {"statusCode": 200, "body": "ok"},
    {"statusCode": 200, "body": json.dumps({"failed": 0})},
    {"failed": 0, "succeeded": 12},
    {"itemsFailed": 0},
    {"failures": []},
    {"status": "failed"},
    {"state": "done"},
    {"errorMessage": "only"},
    {"orders": [{"id": "1", "identifier": "x"}]},
]


@pytest.mark.parametrize("response", [*FINE, items(SEQUENCES[2])])
def test_nothing_is_found_in_a_response_that_says_what_it_means(response: Any) -> None:
    assert of_stream(encoded(response)) == []


@pytest.mark.parametrize("response", [*FINE, "ok", "[]", 7, ["a"], '{"a": 1}', [{"a": 1}]])
def test_without_reporting_a_function_may_return_what_it_likes(response: Any) -> None:
    assert of_stream(encoded(response), reporting=False) == []
    assert of_queue(encoded(response), reporting=False) == []


def test_a_state_belongs_into_the_response_of_a_window() -> None:
    body = encoded({"state": {"sum": 1}, **items(SEQUENCES[2])})
    assert of_stream(body, windowed=True) == []
    assert kinds(of_stream(body)) == [Kind.STATE_WITHOUT_WINDOW]


def test_what_a_function_usually_answers_is_passed_on_untouched() -> None:
    for body in (b"", b"null", b'{"batchItemFailures": []}', b'{"statusCode": 200}'):
        outcome = stream_outcome(body, RECORDS, reporting=True)
        assert examine_stream(outcome, body, RECORDS, reporting=True) is outcome


def test_a_huge_response_is_not_looked_into() -> None:
    padding = "x" * LOOK_BYTES_MAX
    assert of_stream(encoded({"padding": padding, "BatchItemFailures": GOOD_ITEMS})) == []
    assert of_stream(encoded({"BatchItemFailures": GOOD_ITEMS, "padding": padding})) != []
    many = encoded(items(*map(str, range(PARSE_BYTES_MAX // 10))))
    assert of_stream(many) == []
    assert kinds(of_stream(encoded(items(*map(str, range(10_000)))))) == [Kind.UNKNOWN_IDENTIFIER]


def test_a_finding_is_one_line_that_says_what_to_do_and_holds_no_data() -> None:
    responses = [response for response, _ in BAD_WHEN_REPORTING + BAD_WITHOUT_REPORTING]
    for response in [*responses, items("cust-77"), {"cust-77": GOOD_ITEMS, "x": "cust-77"}]:
        for reporting in (True, False):
            for finding in of_stream(encoded(response), reporting=reporting):
                assert "\n" not in finding.text
                assert ", so " in finding.text
                assert "; " in finding.text
                assert len(finding.text) < 400
                assert "cust-7" not in finding.text.replace('it has "cust-77"', "")


KEYS = (
    *("batchItemFailures", "BatchItemFailures", "itemIdentifier", "itemidentifier", ""),
    *("statusCode", "body", "state", "errorType", "errorMessage"),
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from([*SEQUENCES, *IDS, json.dumps(items("1")), '"'])
    | st.sampled_from([encoded(response).decode() for response, _ in BAD_WHEN_REPORTING]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.binary() | VALUES.map(encoded), st.booleans(), st.booleans())
def test_any_response_is_examined_and_its_outcome_stays(
    body: bytes, reporting: bool, windowed: bool
) -> None:
    for finding in of_stream(body, reporting=reporting, windowed=windowed):
        assert "\n" not in finding.text
    for messages in (MESSAGES, FIFO):
        of_queue(body, reporting=reporting, messages=messages)


@given(st.sets(st.integers(0, 3), min_size=1))
def test_a_reported_suffix_of_each_group_is_in_order_and_nothing_else_is(failed: set[int]) -> None:
    outcome = PartlyFailed(frozenset(failed))
    examined = examine_queue(outcome, b"", FIFO, reporting=True)
    in_order = all(later in failed for first in failed for later in range(first, 4, 2))
    assert (not findings(examined)) == in_order
