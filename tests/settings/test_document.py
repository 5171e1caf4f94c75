"""YAML: what a config file may look like, and what it may not."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from poller.settings.document import SyntaxProblem, parse
from poller.settings.nodes import line_at, plain

NO_TAGS = "tags (!...) are not supported; a template is for --template"


def value(text: str) -> Any:
    return plain(parse(text).root)


def refusal(text: str) -> tuple[int, str]:
    with pytest.raises(SyntaxProblem) as error:
        parse(text)
    return error.value.line, str(error.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("# nothing\n", None),
        ("a: 1", {"a": 1}),
        ('{"a": [1, true, null, "x"]}', {"a": [1, True, None, "x"]}),
        ('{\n\t"a":\t1\n}', {"a": 1}),  # JSON with tabs
        ("a: yes", {"a": "yes"}),
        ("a: on", {"a": "on"}),
        ("a: 010", {"a": 10}),
        ("a: 0o10", {"a": 8}),
        ("a: 0x1F", {"a": 31}),
        ("a: 12:30:45", {"a": "12:30:45"}),
        ("a: 2026-01-31", {"a": "2026-01-31"}),
        ("a: 1.5e3", {"a": 1500.0}),
        ("a: .inf", {"a": float("inf")}),
        ("a: 1_000", {"a": "1_000"}),
        ("a: '5'", {"a": "5"}),
        ('a: "true"', {"a": "true"}),
        ("a: |\n  5\n", {"a": "5\n"}),
        ("a: " + "9" * 5_000, {"a": "9" * 5_000}),
        ("1: 2", {"1": 2}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("- &x {a: 1, b: 2}\n- {<<: *x, b: 3}", [{"a": 1, "b": 2}, {"a": 1, "b": 3}]),
        ("- &x {a: 1}\n- &y {a: 2, c: 3}\n- <<: [*x, *y]", [{"a": 1}, {"a": 2, "c": 3}] * 1
         + [{"a": 1, "c": 3}]),
        ("- &x {a: 1}\n- b: 2\n  <<: *x", [{"a": 1}, {"a": 1, "b": 2}]),
        ("'<<': 1", {"<<": 1}),
        ("---\na: 1\n...\n", {"a": 1}),
    ],
)  # fmt: skip
def test_values_are_those_of_yaml_1_2(text: str, expected: Any) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\n\tb: 2", 2, "column"),
        ("a: [1, 2\nb: 3\n", 2, "column"),
        ("a: 'x\n", 2, "column"),
        ("a: 1\n--- \nb: 2\n", 2, "a second document begins; one file has one"),
        ("a: 1\nb: !x y\n", 2, NO_TAGS),
        ("a: !!python/object:os.system [x]\n", 1, NO_TAGS),
        ("a: 1\nb: *x\n", 2, "*x stands for nothing yet"),
        ("a: &x [*x]\n", 1, "*x stands for nothing yet"),
        ("[1]: 2\n", 1, "a key must be text"),
        ("a: 1\n<<: 5\n", 2, "<< takes a block of keys or a list of them"),
        ("a: 1\nb: \x00\n", 2, "the character U+0000 may not be in a file"),
        ("[" * 100, 1, "more than 40 blocks inside one another"),
        ("[" * 100_000 + "]" * 100_000, 1, "more than 40 blocks inside one another"),
        ("a: &0 [x]\n" + "".join(f"a{n}: &{n} [*{n - 1}]\n" for n in range(1, 60)), 41,
         "more than 40 blocks inside one another"),
    ],
)  # fmt: skip
def test_what_is_no_config_is_refused_with_its_line(text: str, line: int, words: str) -> None:
    found_line, message = refusal(text)
    assert found_line == line
    assert words in message
    assert "\n" not in message


def test_aliases_cannot_fill_the_memory() -> None:
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
    )
    assert refusal(laughs) == (5, "more than 100000 values, aliases resolved")


def test_a_key_that_is_there_twice_is_told_with_both_lines() -> None:
    document = parse("a:\n  - b: 1\n    c: 2\n    b: 3\na: 4\n")
    assert plain(document.root) == {"a": [{"b": 1, "c": 2}]}
    assert [(line, str(problem)) for line, problem in document.twice] == [
        (4, "a[0].b: is there twice, first on line 2; keep one"),
        (5, "a: is there twice, first on line 1; keep one"),
    ]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 2),
        (("a",), 2),
        (("a", 0), 3),
        (("a", 0, "b"), 3),
        (("a", 0, "c"), 4),
        (("a", 0, "missing"), 3),
        (("a", 1, "b"), 5),
        (("a", 9), 2),
        (("e", "f", "g"), 7),
    ],
)
def test_every_place_has_a_line(path: tuple[str | int, ...], line: int) -> None:
    root = parse("# comment\na:\n  - b: 1\n    c: 2\n  - b: 3\ne:\n  f: 1\n").root
    assert line_at(root, path) == line


@given(st.text(alphabet=st.sampled_from("ab:-? &*!|>[]{},#'\"\n\t<%@`0~$\ue041"), max_size=60))
def test_any_text_is_a_document_or_one_line(text: str) -> None:
    try:
        outcome = str(parse(text).root.line)
    except SyntaxProblem as error:
        outcome = str(error)
    assert "\n" not in outcome


def test_without_libyaml_the_values_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a: &x {b: yes, c: [1, 'x']}\nd: {<<: *x, e: ~}\nf: 1.5\n"
    expected = value(text)
    monkeypatch.setattr("poller.settings.document._LOADER", yaml.SafeLoader)
    assert value(text) == expected
    assert refusal("a: 1\n\tb: 2")[0] == 2
