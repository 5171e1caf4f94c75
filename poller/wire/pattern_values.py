"""What one field of an event pattern accepts: values and operators, any of which may match.

| in the list                             | accepts                                                |
| --------------------------------------- | ------------------------------------------------------ |
| "Alice", true, null                     | the same value                                         |
| 300                                     | the same number: 300, 300.0, 3e2                       |
| {"equals-ignore-case": "alice"}         | the same text in any case                              |
| {"prefix": "us-"}, {"suffix": ".png"}   | text that begins, ends so                              |
| {"prefix": {"equals-ignore-case": "u"}} | the same in any case                                   |
| {"anything-but": "a"}, ["a", "b"], 5    | any other value: of any type, and null                 |
| {"numeric": [">", 10, "<=", 20]}        | numbers, never text that looks like one                |
| {"exists": true}                        | any value                                              |
| {"exists": false}                       | that there is none                                     |

Mappings have no other operators (spec 9.2).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from poller.errors import PollerError

from .problems import Path, dotted, shown

Value = str | int | float | bool | None  # what stands at a leaf of an event
Test = Callable[[Any], bool]

_ELSEWHERE = frozenset({"wildcard", "cidr", "exactly"})  # operators of EventBridge's rules alone
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class PatternError(PollerError):
    """A pattern that mappings do not take: `where` in it, and what is wrong there."""

    def __init__(self, where: Path, reason: str) -> None:
        super().__init__(f"{dotted(where)} {reason}" if where else f"the pattern {reason}")
        self.where = where
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Values:
    """`accepts`: whether a value of the field matches.  `absent`: whether its absence does.

    `wanted`: all of it in words.
    """

    accepts: Test
    absent: bool
    wanted: str


def parse_values(raw: Sequence[Any], where: Path) -> Values:
    """The list that stands at a leaf of a pattern.  Raises PatternError."""
    if not raw:
        raise PatternError(where, "must list at least one value")
    plain: list[Value] = []
    tests: list[Test] = []
    wanted: list[str] = []
    absent = False
    for index, item in enumerate(raw):
        place = (*where, index)
        if isinstance(item, dict):
            test, words = _operator(item, place)
            absent = absent or test is _never
            tests.append(test)
            wanted.append(words)
        elif isinstance(item, list):
            raise PatternError(place, "must be a value or an operator, not a list")
        else:
            plain.append(_finite(item, place))
            wanted.append(shown_value(item))
    if plain:
        tests += _equality(plain)
    return Values(_any_of([test for test in tests if test is not _never]), absent, _or(wanted))


def shown_value(value: Value) -> str:
    """A value as it stands in JSON, on one line and cut to a length."""
    return "null" if value is None else shown(value)


def _never(_: Any) -> bool:
    return False


def _always(_: Any) -> bool:
    return True


def _any_of(tests: Sequence[Test]) -> Test:
    if _always in tests:
        return _always
    if len(tests) < 2:
        return tests[0] if tests else _never
    return lambda value: any(test(value) for test in tests)


def _equality(values: Sequence[Value]) -> list[Test]:
    """One look-up for all texts, one for all numbers: true is no number here, as in JSON."""
    tests: list[Test] = []
    texts = frozenset(value for value in values if isinstance(value, str))
    if texts:
        tests.append(texts.__contains__)
    numbers = frozenset(value for value in values if _is_number(value))
    if numbers:
        tests.append(lambda value: type(value) is not bool and value in numbers)
    constants = [each for each in (True, False, None) if any(value is each for value in values)]
    if constants:
        tests.append(lambda value: any(value is constant for constant in constants))
    return tests


def _operator(raw: dict[str, Any], where: Path) -> tuple[Test, str]:
    if len(raw) != 1:
        raise PatternError(where, "must have exactly one operator, such as prefix")
    ((name, argument),) = raw.items()
    place = (*where, name)
    if name in _ELSEWHERE:
        raise PatternError(place, "is an operator that event source mappings do not have")
    read = _OPERATORS.get(name)
    if read is None:
        raise PatternError(place, f"is no operator; there are {', '.join(_OPERATORS)}")
    return read(argument, place)


def _ignore_case(argument: Any, where: Path) -> tuple[Test, str]:
    text = _text(argument, where).lower()
    return (
        lambda value: type(value) is str and value.lower() == text,
        f"{shown(argument)} in any case",
    )


def _prefix(argument: Any, where: Path) -> tuple[Test, str]:
    text, any_case = _affix(argument, where)
    if any_case:
        return (
            lambda value: type(value) is str and value.lower().startswith(text),
            f"prefix {shown(text)} in any case",
        )
    return (lambda value: type(value) is str and value.startswith(text), f"prefix {shown(text)}")


def _suffix(argument: Any, where: Path) -> tuple[Test, str]:
    text, any_case = _affix(argument, where)
    if any_case:
        return (
            lambda value: type(value) is str and value.lower().endswith(text),
            f"suffix {shown(text)} in any case",
        )
    return (lambda value: type(value) is str and value.endswith(text), f"suffix {shown(text)}")


def _affix(argument: Any, where: Path) -> tuple[str, bool]:
    """The text, and whether it matches in any case; it is in lower case then."""
    if isinstance(argument, dict):
        if list(argument) != ["equals-ignore-case"]:
            raise PatternError(where, "must be text, or equals-ignore-case with text")
        return _text(argument["equals-ignore-case"], (*where, "equals-ignore-case")).lower(), True
    return _text(argument, where), False


def _anything_but(argument: Any, where: Path) -> tuple[Test, str]:
    if isinstance(argument, dict):
        reason = "must be text, a number or a list of them; operators inside it are EventBridge's"
        raise PatternError(where, reason)
    values = argument if isinstance(argument, list) else [argument]
    if not values:
        raise PatternError(where, "must name at least one value")
    texts = [value for value in values if isinstance(value, str)]
    numbers = [_finite(value, where) for value in values if _is_number(value)]
    if len(texts) != len(values) and len(numbers) != len(values):
        raise PatternError(where, "must be all text or all numbers")
    words = f"anything but {_or([shown_value(value) for value in values])}"
    if texts:
        unwanted = frozenset(texts)
        return (lambda value: value not in unwanted), words
    excluded = frozenset(numbers)
    return (lambda value: type(value) is bool or value not in excluded), words


def _numeric(argument: Any, where: Path) -> tuple[Test, str]:
    if not isinstance(argument, list) or len(argument) not in {2, 4}:
        raise PatternError(where, 'must be a list such as ["=", 100] or [">", 10, "<=", 20]')
    terms = [_term(argument[at], argument[at + 1], where) for at in range(0, len(argument), 2)]
    words = " and ".join(f"{name} {shown(bound)}" for name, bound in terms)
    (first, low), *rest = terms
    compare = _COMPARISONS[first]
    if not rest:
        return (lambda value: _is_number(value) and compare(value, low)), words
    ((second, high),) = rest
    if first not in {">", ">="} or second not in {"<", "<="}:
        raise PatternError(where, "must be a lower bound and then an upper one, or one of them")
    if low >= high:
        raise PatternError(where, "must have a lower bound that is below the upper one")
    below = _COMPARISONS[second]
    return (
        lambda value: _is_number(value) and compare(value, low) and below(value, high),
        words,
    )


def _term(name: Any, bound: Any, where: Path) -> tuple[str, int | float]:
    if not isinstance(name, str) or name not in _COMPARISONS:
        raise PatternError(where, f"compares by {', '.join(_COMPARISONS)}, not {shown(name)}")
    if not _is_number(bound):
        raise PatternError(where, f"must have a number after {name}, not {shown(bound)}")
    return name, _finite(bound, where)


def _exists(argument: Any, where: Path) -> tuple[Test, str]:
    if not isinstance(argument, bool):
        raise PatternError(where, f"must be true or false, not {shown(argument)}")
    return (_always, "any value") if argument else (_never, "no value")


def _text(argument: Any, where: Path) -> str:
    if not isinstance(argument, str):
        raise PatternError(where, f"must be text, not {shown(argument)}")
    return argument


def _finite(value: Any, where: Path) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise PatternError(where, "must be a number that a double can hold")
    return value


def _is_number(value: Any) -> bool:
    kind = type(value)
    return kind is int or kind is float


def _or(words: Sequence[str]) -> str:
    return " or ".join(words)


_OPERATORS: dict[str, Callable[[Any, Path], tuple[Test, str]]] = {
    "equals-ignore-case": _ignore_case,
    "prefix": _prefix,
    "suffix": _suffix,
    "anything-but": _anything_but,
    "numeric": _numeric,
    "exists": _exists,
}
