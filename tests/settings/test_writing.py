"""YAML that is written is read back as the very same values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from poller.settings.document import parse
from poller.settings.nodes import plain
from poller.settings.variables import hide, substitute
from poller.settings.writing import write_entries, write_scalar

# A file may have neither surrogates nor the characters that hide variables from YAML.
texts = st.text(
    st.characters(exclude_categories=["Cs", "Co"], exclude_characters="\ufffe\uffff"), max_size=20
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False),
    texts,
    st.sampled_from(["true", "null", "~", "010", "0x1F", "1e3", "-", "", "a: b", "a #b", "${X}",
                     "$${X}", "$$${X", "'", '"', "it's \"x\"", "a:", ":a", "\n", " a", "{", "*a",
                     "\x85", "\u2028", "!x", "<<", "-1", ".5", "5."]),
)  # fmt: skip
keys = st.one_of(texts.filter(lambda text: "${" not in text), st.sampled_from(["<<", "true", "5"]))
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=15,
)


def read(text: str) -> Any:
    problems: list[Any] = []
    found = plain(substitute(parse(hide(text)).root, {}, (), problems))
    assert problems == []
    return found


@given(st.dictionaries(keys, values, min_size=1, max_size=5))
@example({"a": {}, "b": [], "c": [{}], "d": [[1, {"e": "f"}]], "g": {"h": [{"i": {"j": 5}}]}})
def test_what_is_written_is_read_back(entries: dict[str, Any]) -> None:
    assert read("\n".join(write_entries(entries))) == entries


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("arn:aws:sqs:us-east-1:000000000000:jobs", "arn:aws:sqs:us-east-1:000000000000:jobs"),
        ("000000000000", '"000000000000"'),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/"),
        ('{"body": ["x"]}', """'{"body": ["x"]}'"""),
        ("${HOME}", '"$${HOME}"'),
        ("true", '"true"'),
        (True, "true"),
        (None, "null"),
        (5, "5"),
        (1.5, "1.5"),
    ],
)
def test_a_value_is_written_as_a_person_would(value: Any, text: str) -> None:
    assert write_scalar(value) == text
