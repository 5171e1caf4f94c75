"""Variables in a config file: where they are replaced, and what their values become."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.settings.document import SyntaxProblem, parse
from poller.settings.nodes import plain
from poller.settings.variables import hide, substitute
from poller.wire.problems import Problem

ENVIRON = {"NAME": "orders", "SIZE": "10", "EMPTY": "", "YAML": "a: [1, 2] # x", "TRUE": "true"}


def read(text: str, environ: dict[str, str] = ENVIRON) -> tuple[Any, list[str]]:
    problems: list[Problem] = []
    root = substitute(parse(hide(text)).root, environ, (), problems)
    return plain(root), [str(problem) for problem in problems]


@pytest.mark.parametrize(
    ("written", "becomes"),
    [
        ("${NAME}", "orders"),
        ("x-${NAME}-${SIZE}", "x-orders-10"),
        ("${SIZE}", 10),  # without quotes the value is read anew
        ("${SIZE}0", 100),
        ('"${SIZE}"', "10"),  # in quotes it stays text
        ("'${SIZE}'", "10"),
        ("${TRUE}", True),
        ("${EMPTY}", None),
        ('"${EMPTY}"', ""),
        ("${UNSET:-default}", "default"),
        ("${EMPTY:-default}", "default"),
        ("${NAME:-default}", "orders"),
        ("${UNSET:-}", None),
        ("${UNSET:-5}", 5),
        ("${UNSET:-http://127.0.0.1:80/a?b=c#d}", "http://127.0.0.1:80/a?b=c#d"),
        ("${UNSET:-a, b: c}", "a, b: c"),
        ("${UNSET:-{x}", "{x"),
        ("${YAML}", "a: [1, 2] # x"),  # nothing in the environment is YAML
        ("$${NAME}", "${NAME}"),
        ('"a$${NAME}b"', "a${NAME}b"),
        ("$$${NAME}", "$${NAME}"),
        ("$NAME {NAME} $", "$NAME {NAME} $"),
        ("|\n  ${NAME}\n  ${SIZE}\n", "orders\n10\n"),
    ],
)
def test_a_value_is_replaced(written: str, becomes: Any) -> None:
    assert read(f"key: {written}") == ({"key": becomes}, [])


@pytest.mark.parametrize(
    "text",
    [
        "{key: ${NAME}, other: ${UNSET:-a, b}, last: $${x}}",
        '{"key": "${NAME}", "other": "${UNSET:-a, b}", "last": "$${x}"}',
        "key: ${NAME} # not ${A_COMMENT}\nother: ${UNSET:-a, b}\nlast: $${x}\n",
    ],
)
def test_a_variable_may_stand_wherever_a_value_may(text: str) -> None:
    assert read(text) == ({"key": "orders", "other": "a, b", "last": "${x}"}, [])


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        (
            "${UNSET}",
            "key: the environment variable UNSET is not set; set it, or write ${UNSET:-DEFAULT}",
        ),
        (
            '"${UN-SET}"',
            "key: ${ begins no variable; write ${VAR} or ${VAR:-DEFAULT}, or $${ for ${ itself",
        ),
        (
            '"${"',
            "key: ${ begins no variable; write ${VAR} or ${VAR:-DEFAULT}, or $${ for ${ itself",
        ),
        (
            '"${NAME"',
            "key: ${ begins no variable; write ${VAR} or ${VAR:-DEFAULT}, or $${ for ${ itself",
        ),
        ('"${A:-${NAME}}"', "key: a default cannot have a variable in it"),
    ],
)
def test_what_cannot_be_replaced_is_told(written: str, problem: str) -> None:
    assert read(f"key: {written}")[1] == [problem]


def test_keys_are_left_alone() -> None:
    assert read("${NAME}: 1") == ({"${NAME}": 1}, [])


def test_every_place_of_an_unset_variable_is_told() -> None:
    _, problems = read("- &x ${A}\n- *x\n- {b: '${B}'}")
    assert [problem.partition(":")[0] for problem in problems] == ["[0]", "[1]", "[2].b"]


def test_a_file_with_the_private_characters_is_refused() -> None:
    with pytest.raises(SyntaxProblem, match=r"U\+E041 may not be in a file") as error:
        hide("a: 1\nb: \ue041\n")
    assert error.value.line == 2


@given(st.text(max_size=40).filter(lambda text: "\0" not in text))
def test_a_variable_in_quotes_is_its_value_whatever_that_is(text: str) -> None:
    assert read('{key: "${X}", other: ["${X}"]}', {"X": text}) == (
        {"key": text, "other": [text]},
        [],
    )
