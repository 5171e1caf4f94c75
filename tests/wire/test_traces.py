"""Trace headers: what is one, what is not, and which of them an invocation gets."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.wire.traces import (
    HEADER_LENGTH_MAX,
    SpanContext,
    XRayHeader,
    common_trace,
    passed_on,
    read_traceparent,
    read_xray,
    untraced,
)

ROOT = "1-5759e988-bd862e3fe1be46a994272793"
TRACE = "5759e988bd862e3fe1be46a994272793"
SPAN = "53995c3f42cd8ad8"
HEADER = f"Root={ROOT};Parent={SPAN};Sampled=1"
NOT_SAMPLED = f"Root={ROOT};Parent=00000000000000aa;Sampled=0"
OTHER = f"Root=1-5759e989-bd862e3fe1be46a994272793;Parent={SPAN};Sampled=0"
REQUEST = "8f0c3b5e-6a1d-4c2b-9e7f-0123456789ab"
NOW = 1_700_000_000.5
OWN = "Root=1-6553f100-6a1d4c2b9e7f0123456789ab;Parent=8f0c3b5e6a1d4c2b;Sampled="

CONTEXTS = st.builds(
    SpanContext,
    trace_id=st.integers(1, 2**128 - 1).map("{:032x}".format),
    span_id=st.integers(1, 2**64 - 1).map("{:016x}".format),
    sampled=st.booleans(),
    elsewhere=st.just(True),
)


@given(CONTEXTS)
def test_a_header_that_was_written_is_read_as_it_was_meant(context: SpanContext) -> None:
    header = read_xray(context.xray)
    assert header == XRayHeader(context.xray, context.trace_id, context.span_id, context.sampled)
    assert header.context == context
    assert read_traceparent(context.traceparent) == context


@given(st.one_of(st.text(), st.text(string.hexdigits + "=;-RootParentSampled")))
def test_whatever_a_producer_wrote_makes_one_bounded_line(text: str) -> None:
    read_traceparent(text)
    header = passed_on([text], REQUEST, NOW)
    assert read_xray(header)
    assert header.isprintable()
    assert len(header) <= HEADER_LENGTH_MAX


@pytest.mark.parametrize(
    ("text", "parent", "sampled"),
    [
        (HEADER, SPAN, True),
        (f"Root={ROOT.upper()};Parent={SPAN.upper()};Sampled=1", SPAN, True),
        (f"Parent={SPAN}; Sampled=0; Root={ROOT}", SPAN, False),
        (f"{HEADER};Lineage=a87bd80c:1|68fd508a:5;Self=1-2-3", SPAN, True),
        (f"Root={ROOT};Parent={SPAN};Sampled=?", SPAN, None),
        (f"Root={ROOT};Parent={SPAN}", SPAN, None),
        (f"Root={ROOT}", None, None),
    ],
)
def test_an_xray_header_is_read(text: str, parent: str | None, sampled: bool | None) -> None:
    assert read_xray(text) == XRayHeader(text, TRACE, parent, sampled)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no header",
        f"Parent={SPAN};Sampled=1",
        f"Root={ROOT}0;Parent={SPAN}",
        f"Root=2{ROOT[1:]};Parent={SPAN}",
        f"Root=1-{'0' * 8}-{'0' * 24};Parent={SPAN}",
        f"Root={ROOT};Parent={'0' * 16}",
        f"Root={ROOT};Parent=53995",
        f"{HEADER}\r\nX-Evil: 1",
        f"{HEADER};Note=\u00fc",
        f"{HEADER}\n",
        f"{HEADER};Note={'x' * HEADER_LENGTH_MAX}",
    ],
)
def test_what_is_no_xray_header_is_none(text: str) -> None:
    assert read_xray(text) is None


def test_a_span_that_nobody_decided_about_counts_as_sampled() -> None:
    undecided = read_xray(f"Root={ROOT};Parent={SPAN}")
    assert undecided is not None
    assert undecided.context == SpanContext(TRACE, SPAN, sampled=True, elsewhere=True)


@pytest.mark.parametrize(
    ("text", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-02", False),
        (f"cc-{TRACE}-{SPAN}-03-what-comes-later", True),
    ],
)
def test_a_traceparent_is_read(text: str, sampled: bool) -> None:
    assert read_traceparent(text) == SpanContext(TRACE, SPAN, sampled, elsewhere=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"cc-{TRACE}-{SPAN}-01more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_what_is_no_traceparent_is_none(text: str) -> None:
    assert read_traceparent(text) is None


@pytest.mark.parametrize(
    ("headers", "given"),
    [
        ([], f"{OWN}0"),
        ([None, None], f"{OWN}0"),
        ([HEADER], HEADER),
        ([f"{HEADER};Lineage=a:1"], f"{HEADER};Lineage=a:1"),
        ([NOT_SAMPLED], NOT_SAMPLED),
        ([f"Root={ROOT}"], f"Root={ROOT}"),
        ([NOT_SAMPLED, HEADER, HEADER], HEADER),
        ([HEADER, None], f"{OWN}1"),
        ([HEADER, OTHER], f"{OWN}1"),
        ([NOT_SAMPLED, OTHER], f"{OWN}0"),
        (["garbage", None], f"{OWN}0"),
        (["garbage", HEADER], f"{OWN}1"),
    ],
)
def test_the_header_of_an_invocation_follows_from_those_of_its_messages(
    headers: list[str | None], given: str
) -> None:
    assert passed_on(headers, REQUEST, NOW) == given


def test_an_invocation_that_nobody_traces_has_a_trace_that_begins_now() -> None:
    assert untraced(REQUEST, NOW) == f"{OWN}0"


@given(st.lists(st.none() | CONTEXTS, max_size=4), CONTEXTS)
def test_messages_go_on_with_a_trace_only_where_it_is_that_of_all(
    others: list[SpanContext | None], one: SpanContext
) -> None:
    common = common_trace([one, *others])
    traces = {None if each is None else each.trace_id for each in (one, *others)}
    assert (common is None) == (len(traces) > 1)
    assert common is None or common.trace_id == one.trace_id


def test_a_trace_goes_on_from_the_first_span_of_it_that_is_recorded() -> None:
    first = SpanContext(TRACE, SPAN, sampled=False)
    second = SpanContext(TRACE, "00000000000000aa", sampled=True)
    third = SpanContext(TRACE, "00000000000000bb", sampled=True)
    assert common_trace([first, second, third]) == second
    assert common_trace([first, first]) == first
    assert common_trace([]) is None
