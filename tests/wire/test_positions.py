"""Stored positions come back as they were, and nothing else is taken for one."""

from __future__ import annotations

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from poller.core.model import Begun, LaneMarks, Position, TumblingWindow
from poller.wire.positions import decode_position, encode_position

SEQUENCE = "49590338271490256608559692538361571095921575989136588898"

sequences = st.integers(0, 2**190).map(str)
marks = st.lists(st.none() | sequences, min_size=1, max_size=10).map(
    lambda settled: LaneMarks(len(settled), tuple(settled))
)
starts = st.floats(-1e9, 1e9)
states = st.none() | st.text(alphabet=st.characters(exclude_categories=("Cs",))).map(str.encode)
windows = st.builds(lambda start, state: TumblingWindow(start, start + 60, state), starts, states)
positions = st.builds(
    Position,
    sequence=st.none() | sequences,
    since=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    ahead=st.lists(marks, max_size=3).map(tuple),
    ended=st.booleans(),
    begun=st.none() | st.builds(Begun, sequences, st.integers(1, 10**6)),
    window=st.none() | windows,
)


@given(positions)
def test_a_position_comes_back_as_it_was(position: Position) -> None:
    assert decode_position(encode_position(position)) == position


@pytest.mark.parametrize(
    ("position", "text"),
    [
        (Position(), "{}"),
        (Position(SEQUENCE), '{"sequence":"' + SEQUENCE + '"}'),
        (Position(since=1.5), '{"since":1.5}'),
        (Position("7", ended=True), '{"sequence":"7","ended":true}'),
        (
            Position("7", ahead=(LaneMarks(2, ("9", None)),)),
            '{"sequence":"7","ahead":[{"count":2,"settled":["9",null]}]}',
        ),
        (
            Position("7", begun=Begun("9", 3)),
            '{"sequence":"7","begun":{"sequence":"9","settled":3}}',
        ),
        (
            Position("7", window=TumblingWindow(120.0, 240.0, b'{ "n":1 }')),
            '{"sequence":"7","window":{"start":120.0,"end":240.0,"state":"{ \\"n\\":1 }"}}',
        ),
        (
            Position("7", window=TumblingWindow(120.0, 240.0, None)),
            '{"sequence":"7","window":{"start":120.0,"end":240.0}}',
        ),
    ],
)
def test_the_form_of_stored_positions_stays(position: Position, text: str) -> None:
    assert encode_position(position) == text
    assert decode_position(text) == position


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '"7"',
        "{",
        "{}{}",
        '{"sequence":7}',
        '{"sequence":""}',
        '{"sequence":"x7"}',
        '{"sequence":"7\\n"}',
        '{"sequence":"-7"}',
        '{"since":"1"}',
        '{"since":NaN}',
        '{"ended":1}',
        '{"ahead":null}',
        '{"ahead":[{"count":1}]}',
        '{"ahead":[{"count":0,"settled":[]}]}',
        '{"ahead":[{"count":2,"settled":["7"]}]}',
        '{"ahead":[{"count":1,"settled":["x"]}]}',
        '{"sequence":"7","epoch":1}',
        '{"window":{"start":1.0}}',
        '{"window":{"start":2.0,"end":2.0}}',
        '{"window":{"start":1.0,"end":2.0,"state":{}}}',
        '{"window":{"start":1.0,"end":2.0,"early":true}}',
        '{"ahead":[{"count":1,"settled":["7"],"hash":"x"}]}',
        b"\xff\xfe",
        b'{"sequence":"\xff"}',
        "[" * 100_000,
    ],
)
def test_anything_else_is_refused_in_one_line(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"^not a position[^\n]*$"):
        decode_position(text)


@given(st.text() | st.binary() | st.recursive(st.none() | st.text(), st.lists).map(json.dumps))
def test_garbage_is_a_value_error_and_nothing_worse(text: str | bytes) -> None:
    assume(text not in ("{}", b"{}"))
    with pytest.raises(ValueError, match=r"^not a position"):
        decode_position(text)
