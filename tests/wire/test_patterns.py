"""Event patterns: which are patterns, and what they match.

`recorded/event_patterns.json` holds cases with the verdict of AWS's rule engine, as recorded by the
AWS-validated tests of LocalStack (Apache-2.0, commit 8b9a79f).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from poller.wire.pattern_fields import CHOICES_MAX
from poller.wire.pattern_values import PatternError
from poller.wire.patterns import NESTING_MAX, PATTERN_MAX, Pattern
from tests.wire.rule_engine import rule_engine_matches

RECORDED = json.loads((Path(__file__).parent / "recorded/event_patterns.json").read_text())
# What mappings do not have (spec 9.2): refused, whatever EventBridge makes of it.
NOT_OF_MAPPINGS = {"wildcard", "cidr"}
NOT_IN_ANYTHING_BUT = {"prefix", "suffix", "equals-ignore-case", "wildcard"}


def is_of_mappings(raw: Any) -> bool:
    match raw:
        case {"anything-but": dict(inner)} if inner.keys() & NOT_IN_ANYTHING_BUT:
            return False
        case dict():
            return not raw.keys() & NOT_OF_MAPPINGS and all(map(is_of_mappings, raw.values()))
        case list():
            return all(map(is_of_mappings, raw))
    return True


def matches(pattern: Any, event: Any) -> bool:
    return Pattern(pattern if isinstance(pattern, str) else json.dumps(pattern)).matches(event)


@pytest.mark.proves("D60", "FilterCriteria")
@pytest.mark.parametrize("case", RECORDED, ids=lambda case: case["id"])
def test_aws_rule_engine_and_this_one_say_the_same(case: dict[str, Any]) -> None:
    text = case.get("pattern_text") or json.dumps(case["pattern"])
    event = json.loads(case["event_text"]) if "event_text" in case else case.get("event", {})
    if case["expected"] == "exception" or not is_of_mappings(case.get("pattern")):
        with pytest.raises(PatternError):
            Pattern(text)
    else:
        assert Pattern(text).matches(event) == (case["expected"] == "match")


# Which are patterns.

LEGAL = [
    {"a": [None]},
    {"a": [""]},
    {"a": ["x", 1, True, None, 1.5, {"prefix": ""}]},
    {"a": [{"prefix": {"equals-ignore-case": "x"}}, {"suffix": {"equals-ignore-case": "x"}}]},
    {"a": [{"anything-but": ["x"]}, {"anything-but": 1}, {"anything-but": [1, 2.5]}]},
    {"a": [{"numeric": ["=", 1]}, {"numeric": ["<", 1]}, {"numeric": [">=", -1, "<", 1e9]}]},
    {"a": [{"exists": True}], "b": [{"exists": False}]},
    {"$or": [{"a": [1]}, {"b": {"$or": [{"c": [1]}, {"d": [1]}]}}], "e": [1]},
    {"$or": ["x", {"prefix": "y"}]},
    {"$or": [{"prefix": "x"}, {"suffix": "y"}]},
    {"$or": {"a": [1]}},
    {"a": ["x" * (PATTERN_MAX - 11)]},
]


@pytest.mark.proves("S9.2.operators")
@pytest.mark.parametrize("pattern", LEGAL, ids=lambda pattern: repr(pattern)[:60])
def test_what_spec_9_2_lists_is_a_pattern(pattern: Any) -> None:
    assert Pattern(json.dumps(pattern)).warnings == ()


PAIR = 'must be a list such as ["=", 100] or [">", 10, "<=", 20]'
BUT = "must be text, a number or a list of them; operators inside it are EventBridge's"
OBJECT = 'the pattern must be an object such as {"body": {"city": ["Seattle"]}}, not'
NONE_SUCH = "there are equals-ignore-case, prefix, suffix, anything-but, numeric, exists"
REFUSED = [
    ("", "the pattern is empty"),
    (" \n", "the pattern is empty"),
    ("null", f"{OBJECT} nothing"),
    ("5", f"{OBJECT} 5"),
    ('"simple string"', f'{OBJECT} "simple string"'),
    ("[]", f"{OBJECT} a list"),
    ("simple string", "the pattern is not JSON: Expecting value: line 1 column 1 (char 0), in "
                      '"simple string"'),
    ('[{"eventName": ["INSERT"=123}]', "the pattern is not JSON: Expecting ',' delimiter: line 1 "
     'column 25 (char 24), in "[{"eventName": ["INSERT"=123}]"'),
    ('{"a": [NaN]}', 'the pattern is not JSON: NaN is no number of JSON, in "{"a": [NaN]}"'),
    ("{}", "the pattern must not be an empty object"),
    ('{"a": {}}', "a must not be an empty object"),
    ('{"a": []}', "a must list at least one value"),
    ('{"a": {"b": []}}', "a.b must list at least one value"),
    ('{"eventSource": "aws:sqs"}', 'eventSource must list its values, as in ["aws:sqs"], or be an '
     "object"),
    ('{"a": null}', "a must list its values, as in [null], or be an object"),
    ('{"a": [[1]]}', "a[0] must be a value or an operator, not a list"),
    ('{"a": [1e999]}', "a[0] must be a number that a double can hold"),
    ('{"a": [{}]}', "a[0] must have exactly one operator, such as prefix"),
    ('{"a": [{"prefix": "x", "suffix": "y"}]}', "a[0] must have exactly one operator, such as "
     "prefix"),
    ('{"a": [1, {"Prefix": "x"}]}', f"a[1].Prefix is no operator; {NONE_SUCH}"),
    ('{"a": [{"exactly": "x"}]}', "a[0].exactly is an operator that event source mappings do not "
     "have"),
    ('{"a": [{"prefix": ["x"]}]}', "a[0].prefix must be text, not a list"),
    ('{"a": [{"prefix": {"suffix": "x"}}]}', "a[0].prefix must be text, or equals-ignore-case with "
     "text"),
    ('{"a": [{"suffix": {"equals-ignore-case": 1}}]}', "a[0].suffix.equals-ignore-case must be "
     "text, not 1"),
    ('{"a": [{"equals-ignore-case": null}]}', "a[0].equals-ignore-case must be text, not nothing"),
    ('{"a": [{"anything-but": []}]}', "a[0].anything-but must name at least one value"),
    ('{"a": [{"anything-but": ["x", 1]}]}', "a[0].anything-but must be all text or all numbers"),
    ('{"a": [{"anything-but": [true]}]}', "a[0].anything-but must be all text or all numbers"),
    ('{"a": [{"anything-but": null}]}', "a[0].anything-but must be all text or all numbers"),
    ('{"a": [{"anything-but": {"prefix": "x"}}]}', f"a[0].anything-but {BUT}"),
    ('{"a": [{"numeric": 1}]}', f"a[0].numeric {PAIR}"),
    ('{"a": [{"numeric": []}]}', f"a[0].numeric {PAIR}"),
    ('{"a": [{"numeric": ["="]}]}', f"a[0].numeric {PAIR}"),
    ('{"a": [{"numeric": [">", 0, "<", 1, "<", 2]}]}', f"a[0].numeric {PAIR}"),
    ('{"a": [{"numeric": ["!=", 1]}]}', 'a[0].numeric compares by =, <, <=, >, >=, not "!="'),
    ('{"a": [{"numeric": [[], 1]}]}', "a[0].numeric compares by =, <, <=, >, >=, not a list"),
    ('{"a": [{"numeric": ["=", "1"]}]}', 'a[0].numeric must have a number after =, not "1"'),
    ('{"a": [{"numeric": ["=", true]}]}', "a[0].numeric must have a number after =, not true"),
    ('{"a": [{"numeric": ["<", 1, ">", 0]}]}', "a[0].numeric must be a lower bound and then an "
     "upper one, or one of them"),
    ('{"a": [{"numeric": ["=", 1, "<", 2]}]}', "a[0].numeric must be a lower bound and then an "
     "upper one, or one of them"),
    ('{"a": [{"numeric": [">", 1, "<", 1]}]}', "a[0].numeric must have a lower bound that is below "
     "the upper one"),
    ('{"a": [{"exists": "true"}]}', 'a[0].exists must be true or false, not "true"'),
    ('{"$or": [{"a": [1]}]}', f"$or[0].a is no operator; {NONE_SUCH}"),
    ('{"$or": [{"a": [1]}, "x"]}', f"$or[0].a is no operator; {NONE_SUCH}"),
    ('{"$or": [{"a": [1]}, {"prefix": [1]}]}', f"$or[0].a is no operator; {NONE_SUCH}"),
    ('{"$or": [{"a": [1]}, {"b": {"exists": [1]}}]}', f"$or[0].a is no operator; {NONE_SUCH}"),
    ('{"$or": [{"a": [1]}, {}]}', "the pattern must not be an empty object"),
    ('{"a": ["' + "x" * PATTERN_MAX + '"]}', "the pattern has 4107 characters; 4096 are the most"),
    ('{"a":' * (NESTING_MAX + 1) + "[1]" + "}" * (NESTING_MAX + 1),
     "the pattern nests more than 100 levels deep"),
    ("[" * PATTERN_MAX, "the pattern nests more than 100 levels deep"),
    ('{"' + "a." * NESTING_MAX + 'a": [1]}', "the pattern nests more than 100 levels deep"),
]  # fmt: skip


@pytest.mark.proves("D18", "FilterCriteria", "S9.2.others")
@pytest.mark.parametrize(("text", "why"), REFUSED, ids=lambda value: value[:40])
def test_what_is_no_pattern_is_refused_with_the_place_and_the_reason(text: str, why: str) -> None:
    with pytest.raises(PatternError) as refused:
        Pattern(text)
    assert str(refused.value) == why


@pytest.mark.proves("S9.3.duplicates")
@pytest.mark.parametrize(
    ("text", "event", "matched"),
    [
        ('{"a": ["x"], "a": ["y"]}', {"a": "y"}, True),
        ('{"a": ["x"], "a": ["y"]}', {"a": "x"}, False),
        ('{"d": {"n": [1]}, "d": {"o": [2]}}', {"d": {"o": 2}}, True),
        ('{"a.b": ["x"], "a": {"b": ["y"]}}', {"a": {"b": "y"}}, True),
        ('{"a": {"b": ["y"]}, "a.b": ["x"]}', {"a": {"b": "y"}}, False),
        ('{"a": [{"prefix": "x", "prefix": "y"}]}', {"a": "y"}, True),
    ],
)
def test_of_a_name_that_comes_twice_the_last_one_counts_with_a_warning(
    text: str, event: Any, matched: bool
) -> None:
    pattern = Pattern(text)
    assert pattern.matches(event) == matched
    (warning,) = pattern.warnings
    assert warning.endswith("comes twice in one object; the last one counts")


# What they match.

TAGS = {"tags": [{"k": "a", "v": 1}, {"k": "b", "v": 2}]}
NESTED = {"o": [{"n": 1, "i": [{"x": 1, "y": 1}, {"x": 2}]}, {"n": 2, "i": [{"x": 2, "y": 2}]}]}
MATCHING = [
    # numbers: 300 is 300.0, and never text
    ({"n": [300]}, {"n": 300.0}, True),
    ({"n": [300.0]}, {"n": 3e2}, True),
    ({"n": [300]}, {"n": "300"}, False),
    ({"n": ["300"]}, {"n": 300}, False),
    ({"n": [1]}, {"n": True}, False),
    ({"n": [0]}, {"n": False}, False),
    ({"n": [True]}, {"n": 1}, False),
    ({"n": [123456789012345678]}, {"n": 123456789012345679}, False),
    ({"n": [{"numeric": [">", 0]}]}, {"n": True}, False),
    ({"n": [{"numeric": [">", 0, "<=", 5]}]}, {"n": 5.0}, True),
    ({"n": [{"numeric": [">", 0, "<=", 5]}]}, {"n": 0}, False),
    ({"n": [{"numeric": ["<", 5]}]}, {"n": float("-inf")}, True),
    ({"n": [{"numeric": ["=", 0.1]}]}, {"n": 0.1}, True),
    # text, case and all
    ({"s": [{"equals-ignore-case": "Straße"}]}, {"s": "STRAßE"}, True),
    ({"s": [{"prefix": "us-"}]}, {"s": "US-east"}, False),
    ({"s": [{"prefix": {"equals-ignore-case": "us-"}}]}, {"s": "US-east"}, True),
    ({"s": [{"suffix": ".png"}]}, {"s": ".png"}, True),
    ({"s": [{"prefix": ""}]}, {"s": 1}, False),
    ({"S": ["x"]}, {"s": "x"}, False),
    # anything but: any other value, also of another type, but not none
    ({"s": [{"anything-but": "x"}]}, {"s": 1}, True),
    ({"s": [{"anything-but": 1}]}, {"s": True}, True),
    ({"s": [{"anything-but": 1}]}, {"s": 1.0}, False),
    ({"s": [{"anything-but": ["x", "y"]}]}, {"s": None}, True),
    ({"s": [{"anything-but": ["x", "y"]}]}, {}, False),
    ({"s": [{"anything-but": "x"}]}, {"s": ["x", "y"]}, True),
    ({"s": [{"anything-but": "x"}]}, {"s": {"t": 1}}, False),
    # existence: of leaves alone
    ({"a": [{"exists": True}]}, {"a": None}, True),
    ({"a": [{"exists": True}]}, {"a": {"b": 1}}, False),
    ({"a": [{"exists": False}]}, {"a": {"b": 1}}, True),
    ({"a": [{"exists": True}]}, {"a": []}, False),
    ({"a": [{"exists": False}]}, {"a": []}, True),
    ({"a": [None]}, {"a": []}, False),
    ({"a": [None]}, {}, False),
    ({"a": [{"exists": False}]}, {"a": None}, False),
    ({"a": [{"exists": False}, "x"]}, {"a": "x"}, True),
    ({"a": [{"exists": False}, "x"]}, {"a": "y"}, False),
    ({"a": {"b": [{"exists": False}]}}, {"a": 5}, True),
    # names with dots
    ({"a.b": [1]}, {"a": {"b": 1}}, True),
    ({"a": {"b": [1]}}, {"a.b": 1}, True),
    ({"a": {"b.c": {"d": [1]}}}, {"a.b": {"c.d": 1}}, True),
    ({"a.b": [1]}, {"a": {"b": {"b": 1}}}, False),
    ({"a": {"": [1]}}, {"a.": 1}, True),
    ({"a": {"b": [1], "c": [2]}}, {"a": {"b": 1}, "a.c": 2}, True),
    # arrays: any value, and fields of the same element
    ({"a": [2]}, {"a": [1, 2]}, True),
    ({"a": [2]}, {"a": [[1, [2]]]}, True),
    ({"tags": {"k": ["a"], "v": [1]}}, TAGS, True),
    ({"tags": {"k": ["a"], "v": [2]}}, TAGS, False),
    ({"tags": {"k": ["a", "b"], "v": [2]}}, TAGS, True),
    ({"tags": {"k": ["a"]}, "tags.v": [2]}, TAGS, False),
    ({"tags": {"k": ["a"]}, "$or": [{"tags": {"v": [2]}}, {"b": [1]}]}, TAGS, False),
    ({"tags": {"k": ["a"]}, "$or": [{"tags": {"v": [1]}}, {"b": [1]}]}, TAGS, True),
    ({"a": {"x": [1]}, "b": {"y": [1]}}, {"a": [{"x": 1}], "b": [{"y": 2}, {"y": 1}]}, True),
    ({"o": {"n": [1], "i": {"x": [1], "y": [1]}}}, NESTED, True),
    ({"o": {"i": {"x": [2], "y": [1]}}}, NESTED, False),
    ({"o": {"n": [1], "i": {"x": [2], "y": [2]}}}, NESTED, False),
    ({"a": {"x": [1], "y": [1]}}, {"a": [[{"x": 1}], [{"y": 1}]]}, False),
    ({"a": {"x": [1], "y": [1]}}, {"a": [[{"x": 1, "y": 1}]]}, True),
    ({"a": [1], "a.b": [2]}, {"a": [1, {"b": 2}]}, True),
    ({"d": {"a": [1], "b": [{"exists": False}]}}, {"d": [{"a": 1}, {"a": 2, "b": 1}]}, True),
    ({"d": {"a": [2], "b": [{"exists": False}]}}, {"d": [{"a": 1}, {"a": 2, "b": 1}]}, False),
    ({"d": {"b": [{"exists": False}]}}, {"d": [{"a": 1}, {"a": 2, "b": 1}]}, False),
    ({"d": {"b": [{"exists": False}], "c": [1]}}, {"d": [{"c": 1}, {"b": 1}]}, False),
    # or
    ({"$or": [{"a": [1]}, {"b": [1]}], "c": [1]}, {"b": 1, "c": 1}, True),
    ({"$or": [{"a": [1]}, {"b": [1]}], "c": [1]}, {"c": 1}, False),
    ({"$or": ["x"]}, {"$or": "x"}, True),
    ({"$or": [{"prefix": "x"}, {"suffix": "y"}]}, {"$or": "ay"}, True),
    ({"$or": {"a": [1]}}, {"$or": {"a": 1}}, True),
]  # fmt: skip


@pytest.mark.proves("S9.2.operators", "S9.3.numbers", "S9.3.arrays")
@pytest.mark.parametrize(("pattern", "event", "matched"), MATCHING, ids=repr)
def test_what_matches(pattern: Any, event: Any, matched: bool) -> None:
    assert matches(pattern, event) == matched


NAMES = st.sampled_from(["a", "b", "c"])
VALUES = st.sampled_from(["x", "y", 1])
LEAVES = st.lists(
    VALUES | st.sampled_from([{"exists": True}, {"exists": False}, {"anything-but": "x"}]),
    min_size=1,
    max_size=2,
)
OBJECTS = st.recursive(
    LEAVES,
    lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=3),
    max_leaves=5,
)
PATTERNS = st.dictionaries(NAMES, OBJECTS, min_size=1, max_size=3)
EVENTS = st.dictionaries(
    NAMES,
    st.recursive(
        VALUES | st.none(),
        lambda inner: st.dictionaries(NAMES, inner, max_size=3) | st.lists(inner, max_size=3),
        max_leaves=12,
    ),
    max_size=3,
)


@pytest.mark.proves("S9.3.arrays")
@given(PATTERNS, EVENTS)
def test_fields_are_found_as_aws_engine_finds_them(pattern: Any, event: Any) -> None:
    """That engine goes through fields by name and tries every value that its arrays allow."""
    assert matches(pattern, event) == rule_engine_matches(pattern, event)


@given(PATTERNS, st.lists(PATTERNS, min_size=2, max_size=3), EVENTS)
def test_an_or_is_as_good_as_a_pattern_for_each_branch(
    outer: Any, branches: list[Any], event: Any
) -> None:
    """That engine makes a rule of each, in which a field of the branch takes the place of the same
    field outside; such patterns are left out here."""
    fields = [{field.name for field in Pattern(json.dumps(p)).fields} for p in (outer, *branches)]
    assume(not any(fields[0] & inside for inside in fields[1:]))
    pattern = {**outer, "$or": branches}
    assert matches(pattern, event) == rule_engine_matches(pattern, event)


# Whatever comes, in bounded time.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=3)
            | st.sampled_from(
                ["$or", "a.b", "prefix", "numeric", "anything-but", "exists", "<", "="]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(JSON | st.text(max_size=40), st.dictionaries(st.text(max_size=3), JSON, max_size=4))
def test_anything_is_a_pattern_that_tells_of_any_event_or_is_refused(raw: Any, event: Any) -> None:
    try:
        pattern = Pattern(raw if isinstance(raw, str) else json.dumps(raw))
    except PatternError as error:
        assert str(error)  # noqa: PT017 - a pattern is made more rarely than not
    else:
        assert pattern.matches(event) in {True, False}


def test_many_ors_cost_no_more_than_their_number() -> None:
    """Taken apart they would be 2 to the 80th patterns."""
    branches = [{f"p{i}": {"$or": [{"a": [1]}, {"b": [1]}]}} for i in range(80)]
    whole = {name: value for branch in branches for name, value in branch.items()}
    event: dict[str, Any] = {f"p{i}": {"b": 1} for i in range(80)}
    assert matches(whole, event)
    event["p79"] = {"b": 2}
    assert not matches(whole, event)


def test_large_arrays_side_by_side_are_not_multiplied() -> None:
    """Tried one by one they would be 10,000 to the 8th choices."""
    names = "abcdefgh"
    pattern = {name: {"x": [1], "y": [1]} for name in names}
    items = [{"x": i % 2, "y": (i + 1) % 2} for i in range(10_000)]
    event: dict[str, Any] = dict.fromkeys(names, items)
    assert not matches(pattern, event)
    items.append({"x": 1, "y": 1})
    assert matches(pattern, event)


def test_deep_arrays_and_objects_are_no_trouble() -> None:
    deep: Any = {"x": 1}
    for _ in range(900):
        deep = [deep]
    assert not matches({"a": {"x": [1]}}, {"a": deep})
    for _ in range(900):
        deep = {"a": [deep]}
    assert not matches({"a": {"x": [1]}}, deep)
    levels = NESTING_MAX - 1  # and the list
    text = '{"a":' * levels + "[1]" + "}" * levels
    assert Pattern(text).matches(json.loads(text))


def test_a_name_of_a_million_dots_is_no_trouble() -> None:
    assert not matches({"a": {"a": {"b": [1]}}}, {"a." * 1_000_000: 1})


def test_huge_numbers_are_no_trouble() -> None:
    huge = int("9" * 4000)
    assert matches({"n": [{"numeric": [">", 1e308]}]}, {"n": huge})
    assert matches({"n": [huge]}, {"n": huge})
    assert not matches({"n": [{"numeric": ["<", 1e308]}]}, {"n": huge})


def test_where_elements_differ_in_too_many_ways_any_may_match_with_any() -> None:
    """Better a record too many than one lost: each element lacks two of the ten fields."""
    names = [f"f{i}" for i in range(10)]
    pattern = {"a": {name: [1] for name in names}}
    lacking = [(i, j) for i in range(10) for j in range(i)]
    items = [{name: 1 for k, name in enumerate(names) if k not in pair} for pair in lacking]
    assert len(items) > CHOICES_MAX
    assert matches(pattern, {"a": items})
    assert not matches(pattern, {"a": items[:CHOICES_MAX]})
