"""The headers of an invocation: nothing that comes from outside adds a line or breaks one."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.interfaces import Invocation
from poller.targets.runtime_headers import client_context, invocation_headers

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(), some, max_size=3),
    max_leaves=8,
)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_an_invocation_has_the_headers_of_lambda() -> None:
    context = '{"custom": {"a": "b"}}'
    what = Invocation(b"{}", "id-1", "arn:1", "Root=1-a;Sampled=1", encoded(context))

    assert invocation_headers(what, 1234) == (
        "Lambda-Runtime-Aws-Request-Id: id-1\r\n"
        "Lambda-Runtime-Deadline-Ms: 1234\r\n"
        "Lambda-Runtime-Invoked-Function-Arn: arn:1\r\n"
        "Lambda-Runtime-Trace-Id: Root=1-a;Sampled=1\r\n"
        f"Lambda-Runtime-Client-Context: {context}\r\n"
    )


@given(JSON, st.sampled_from([None, 2]), st.booleans())
def test_a_client_context_is_one_line_of_the_same_json(
    value: Any, indent: int | None, ascii_only: bool
) -> None:
    header = client_context(encoded(json.dumps(value, indent=indent, ensure_ascii=ascii_only)))

    assert json.loads(header) == value
    assert header.isascii()
    assert header.isprintable()


@pytest.mark.parametrize(
    "given_", ["no base64", encoded("no JSON"), "/w==", encoded("[" * 100_000)]
)
def test_what_is_no_client_context_is_left_out(given_: str) -> None:
    assert client_context(given_) == ""
    assert "Client-Context" not in invocation_headers(Invocation(b"", "1", "a", "", given_), 1)
