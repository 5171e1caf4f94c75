"""Events and responses of tumbling windows, byte for byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.core.model import Failed, Outcome, PartlyFailed, Succeeded, WindowTurn
from poller.core.policy import PAYLOAD_BYTES_MAX
from poller.wire.responses import STATE_BYTES_MOST, window_outcome
from poller.wire.windows import FRAME_BYTES_MAX, in_window
from tests.wire.test_responses import BATCH, REPORT, response

ARN = "arn:aws:kinesis:us-east-1:123456789012:stream/lambda-stream"
SHARD = "shardId-000000000006"
START = 1_607_497_440.0  # 2020-12-09T07:04:00Z, as in AWS's sample


def turn(state: bytes = b"{}", **flags: bool) -> WindowTurn:
    return WindowTurn(START, START + 120, state, **flags)


def test_the_event_of_a_window_has_awss_members_in_awss_order() -> None:
    state = b'{ "1":282, "2": 715 }'
    assert in_window(b'{"Records":[{}]}', turn(state), shard=SHARD, source_arn=ARN) == (
        b'{"Records":[{}],'
        b'"window":{"start":"2020-12-09T07:04:00Z","end":"2020-12-09T07:06:00Z"},'
        b'"state":{ "1":282, "2": 715 },'
        b'"shardId":"shardId-000000000006",'
        b'"eventSourceARN":"arn:aws:kinesis:us-east-1:123456789012:stream/lambda-stream",'
        b'"isFinalInvokeForWindow":false,'
        b'"isWindowTerminatedEarly":false}'
    )


def test_the_final_invocation_says_so_and_has_an_empty_list_of_records() -> None:
    event = in_window(b'{"Records":[]}', turn(final=True, early=True), shard="s", source_arn=ARN)
    assert json.loads(event)["Records"] == []
    assert event.endswith(b'"isFinalInvokeForWindow":true,"isWindowTerminatedEarly":true}')


def test_what_a_window_adds_to_an_event_has_been_reserved() -> None:
    longest = {
        "shard": "s" * 128,
        "source_arn": "arn:aws-us-gov:dynamodb:us-gov-east-1:123456789012:table/" + "t" * 255
        + "/stream/2015-05-11T21:21:33.291",
    }  # fmt: skip
    event = b'{"Records":[]}'
    assert len(in_window(event, turn(), **longest)) - len(event) < FRAME_BYTES_MAX


# Responses.


def of(body: bytes, *, reporting: bool = False) -> Outcome:
    return window_outcome(body, BATCH, reporting=reporting, report=REPORT)


@pytest.mark.parametrize(
    ("body", "state"),
    [
        (b'{"state":{}}', b"{}"),
        (b' { "state" : { "a" : 1.50 , "b":["\\u00e9"] } } ', b'{ "a" : 1.50 , "b":["\\u00e9"] }'),
        ('{"other":[1],"state":{"é":"☃"}}'.encode(), '{"é":"☃"}'.encode()),
        (b'{"state":[1, 2]}', b"[1, 2]"),
        (b'{"state":"x"}', b'"x"'),
        (b'{"state":0}', b"0"),
        (b'{"state":12345678901234567890123456789}', b"12345678901234567890123456789"),
        (b'{"state":1,"state":2}', b"2"),  # as every JSON parser has it
    ],
)  # fmt: skip
def test_a_state_is_kept_as_the_function_wrote_it(body: bytes, state: bytes) -> None:
    assert of(body) == Succeeded(state)
    assert of(body, reporting=True) == Succeeded(state)


NO_STATE = (
    "the response has no state, which every invocation of a tumbling window must return, the final"
    " one too"
)
NO_OBJECT = "the response must be an object with the state of the window"
NO_JSON = "the response must be an object with a state, and is not JSON"


@pytest.mark.proves("S4.2.no-state")
@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"{}", NO_STATE),
        (b'{"batchItemFailures":[]}', NO_STATE),
        (b'{"state":null}', NO_STATE),
        (b'{"State":{}}', NO_STATE),
        (response("102"), NO_STATE),
        (b"null", NO_OBJECT),
        (b"[]", NO_OBJECT),
        (b'""', NO_OBJECT),
        (b'"{\\"state\\":{}}"', NO_OBJECT),
        (b"", NO_JSON),
        (b"{", NO_JSON),
        (b'{"state":{}} {}', NO_JSON),
        (b'{"state":NaN}', NO_JSON),
        (b'{"state":"\xff"}', NO_JSON),
        (b'{"state":' + b"[" * 100_000, NO_JSON),
    ],
)
def test_a_response_without_a_state_is_a_function_error(body: bytes, error: str) -> None:
    for reporting in (False, True):
        assert of(body, reporting=reporting) == Failed(error, bisectable=True, report=REPORT)


def with_failures(state: Any, *identifiers: Any) -> bytes:
    return json.dumps({"state": state, **json.loads(response(*identifiers))}).encode()


def test_failures_come_with_a_state_if_they_are_asked_for() -> None:
    body = with_failures({"sum": 3}, "104", "103")
    assert of(body) == Succeeded(b'{"sum": 3}')
    expected = PartlyFailed(frozenset({2}), REPORT, b'{"sum": 3}')
    assert of(body, reporting=True) == expected


@pytest.mark.parametrize("failures", [None, []])
def test_no_failures_beside_a_state_are_success(failures: Any) -> None:
    body = json.dumps({"state": {}, "batchItemFailures": failures}).encode()
    assert of(body, reporting=True) == Succeeded(b"{}")


def test_bad_failures_condemn_the_batch_without_bisecting_it() -> None:
    assert of(with_failures({}, "999"), reporting=True) == Failed(
        'the response reports "999", which is not in the batch', bisectable=False, report=REPORT
    )
    assert of(with_failures({}, ""), reporting=True) == Failed(
        'an itemIdentifier must name an item, not be ""', bisectable=False, report=REPORT
    )


def test_a_state_that_no_event_can_bring_back_is_a_function_error() -> None:
    fits = b'"' + b"x" * (STATE_BYTES_MOST - 2) + b'"'
    assert of(b'{"state":%b}' % fits) == Succeeded(fits)
    final = in_window(b'{"Records":[]}', turn(fits, final=True), shard=SHARD, source_arn=ARN)
    assert len(final) <= PAYLOAD_BYTES_MAX
    assert of(b'{"state":"x%b}' % fits[1:]) == Failed(
        f"a state of {STATE_BYTES_MOST + 1} bytes fits into no event", report=REPORT
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
)


@given(JSON, st.sampled_from([None, 2]))
def test_any_state_comes_back_in_the_next_event_as_it_was(value: Any, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    outcome = of(f'{{"state":\n{text}\n}}'.encode())
    if value is None:
        assert isinstance(outcome, Failed)
        return
    assert outcome == Succeeded(text.encode())
    event = in_window(b'{"Records":[]}', turn(text.encode()), shard=SHARD, source_arn=ARN)
    assert json.loads(event)["state"] == json.loads(text)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()), st.booleans())
def test_any_response_has_an_outcome(body: bytes, reporting: bool) -> None:
    assert isinstance(of(body, reporting=reporting), Succeeded | PartlyFailed | Failed)
