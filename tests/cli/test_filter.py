"""`poller filter`: what it says of each event, and the exit code."""

from __future__ import annotations

import argparse
import base64
import io
import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from poller.cli import filter as filtering
from poller.errors import ConfigError


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command with a pattern and what stands on standard input; what it printed."""

    def run(pattern: Any, stdin: bytes | str, *arguments: str) -> tuple[list[str], str]:
        parser = argparse.ArgumentParser()
        common = argparse.ArgumentParser(add_help=False)
        filtering.add_parser(parser.add_subparsers(), common)
        text = pattern if isinstance(pattern, str) else json.dumps(pattern)
        options = parser.parse_args(["filter", text, *arguments])
        raw = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(raw)))
        assert options.run(options) == 0
        printed = capsys.readouterr()
        return printed.out.splitlines(), printed.err

    return run


def sqs(body: str) -> dict[str, Any]:
    return {"messageId": "m", "body": body, "eventSource": "aws:sqs"}


def kinesis(data: bytes) -> dict[str, Any]:
    inner = {"partitionKey": "k", "data": base64.b64encode(data).decode()}
    return {"eventSource": "aws:kinesis", "kinesis": inner}


def dynamodb(new: Any) -> dict[str, Any]:
    change = {"Keys": {"id": {"S": "1"}}, "NewImage": new}
    return {"eventSource": "aws:dynamodb", "eventName": "INSERT", "dynamodb": change}


TAGS = {"tags": [{"k": "a", "v": 1}, {"k": "b", "v": 2}]}
SAID = [
    (sqs('{"n": 101}'), {"body": {"n": [{"numeric": [">", 100]}]}}, "match"),
    (sqs('{"n": 99}'), {"body": {"n": [{"numeric": [">", 100]}]}},
     "no match: body.n is 99, wanted > 100"),
    (sqs("{}"), {"body": {"n": [1, "x", None]}},
     'no match: body.n is missing, wanted 1 or "x" or null'),
    (sqs("plain"), {"body": {"n": [1], "m": [2]}}, "no match: body is no JSON object"),
    (sqs("{}"), {"body": ["plain"]}, "no match: body is JSON, not text"),
    (sqs("plain"), {"body": [{"prefix": "p"}, {"suffix": "q"}]}, "match"),
    (sqs("other"), {"body": [{"prefix": "p"}, {"suffix": {"equals-ignore-case": "q"}}]},
     'no match: body is "other", wanted prefix "p" or suffix "q" in any case'),
    ({"body": '{"n": 99}'}, {"body": {"n": [{"numeric": [">", 100]}]}},
     "no match: body.n is 99, wanted > 100"),
    ({"body": '{"n": 101}', "attributes": {}}, {"body": {"n": [101]}}, "match"),
    ({"body": '{"n": 101}', "headers": {}}, {"body": {"n": [101]}},
     "no match: body.n is missing, wanted 101"),
    (kinesis(b'{"city": "Paris"}'), {"data": {"city": ["Rome"]}, "partitionKey": ["k"]},
     'no match: data.city is "Paris", wanted "Rome"'),
    (kinesis(b"\xff"), {"data": {"city": ["Rome"]}}, "no match: data is no JSON object"),
    (kinesis(b"\xff"), {"partitionKey": [{"anything-but": ["k", "l"]}]},
     'no match: partitionKey is "k", wanted anything but "k" or "l"'),
    (dynamodb({"p": {"S": "v"}}), {"dynamodb": {"NewImage": {"p": ["v"]}}},
     'no match: dynamodb.NewImage.p has no value of its own, wanted "v"'),
    (dynamodb({"p": {"S": "v"}}), {"dynamodb": {"NewImage": {"p": {"S": ["v"]}}}}, "match"),
    (dynamodb({"n": {"N": "101"}}), {"dynamodb": {"NewImage": {"n": {"N": [
        {"numeric": [">=", 1, "<", 9]}]}}}},
     'no match: dynamodb.NewImage.n.N is "101", wanted >= 1 and < 9'),
    ({"a": 1}, {"a": [{"exists": False}], "b": [{"exists": True}]},
     "no match: a is 1, wanted no value; b is missing, wanted any value"),
    ({"a": [1, 2, 3, 4]}, {"a": [5]}, "no match: a is 1, 2, 3, ..., wanted 5"),
    ({"a": {"b": "x\ny\x1b"}}, {"a.b": ["x"]}, 'no match: a.b is "x\\x0ay\\x1b", wanted "x"'),
    (TAGS, {"tags": {"k": ["a"], "v": [2]}},
     "no match: tags.v matches, but not in the list element where the other fields do"),
    ({"a": 1}, {"$or": [{"a": [2], "b": [3]}, {"c": [{"equals-ignore-case": "x"}]}]},
     'no match: no branch of $or: a is 1, wanted 2 and b is missing, wanted 3 | c is missing, '
     'wanted "x" in any case'),
]  # fmt: skip


@pytest.mark.parametrize(("event", "pattern", "said"), SAID, ids=lambda value: repr(value)[:50])
def test_an_event_that_does_not_match_names_the_field(
    event: Any, pattern: Any, said: str, run: Any
) -> None:
    lines, summary = run(pattern, json.dumps(event))
    assert lines == [f"1: {said}"]
    assert summary == f"{int(said == 'match')} of 1 events match\n"


ONE, TWO = {"a": 1}, {"a": 2}
BOTH = ["1: match", "2: no match: a is 2, wanted 1"]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"Records": [ONE, TWO]}),
        json.dumps({"Records": [ONE, TWO]}, indent=2),
        json.dumps([ONE, TWO]),
        json.dumps([{"Records": [ONE]}, TWO], indent=1),
        f"{json.dumps(ONE)}\n\n{json.dumps(TWO)}\r\n",
        f"{json.dumps([ONE])}\n{json.dumps({'Records': [TWO]})}",
    ],
)
def test_events_come_as_one_document_or_as_json_lines(text: str, tmp_path: Path, run: Any) -> None:
    assert run({"a": [1]}, text)[0] == BOTH
    (tmp_path / "events").write_text(text)
    assert run({"a": [1]}, "", str(tmp_path / "events"))[0] == BOTH


def test_a_pattern_may_stand_in_a_file(tmp_path: Path, run: Any) -> None:
    (tmp_path / "pattern.json").write_text('{"a": [1]}\n')
    assert run(f"@{tmp_path}/pattern.json", '{"a": 1}\n{"a": 2}')[0] == BOTH


def test_no_events_are_no_mistake(run: Any) -> None:
    assert run({"a": [1]}, "\n") == ([], "0 of 0 events match\n")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b'{"a": 1}\n{"a": }\n', "standard input:2: this is no JSON: Expecting value at column 7"),
        (b'\n{"a": 1,\n "b" 2}', "standard input:3: this is no JSON: Expecting ':' delimiter at "
         "column 6"),
        (b'{"a": NaN}', "standard input:1: this is no JSON: NaN is no JSON"),
        (b'{"a": 1}\n\xff\n', "standard input:2: this is no UTF-8 text"),
        (b'{"a": 1}\n5\n', "standard input:2: an event must be an object"),
        (b'{"Records": [1]}', "standard input:1: a list of events must hold objects"),
        (b"[" * 100_000, "standard input:1: this nests too deeply"),
    ],
)  # fmt: skip
def test_what_is_no_event_is_one_line_with_its_line(text: bytes, error: str, run: Any) -> None:
    with pytest.raises(ConfigError) as refused:
        run({"a": [1]}, text)
    assert str(refused.value) == error


@pytest.mark.parametrize(
    ("pattern", "event", "error"),
    [
        ('{"a": 1}', "{}", "PATTERN: a must list its values, as in [1], or be an object"),
        ('{"data": ["x"]}', json.dumps(kinesis(b"x")),
         "PATTERN: data must be an object: Kinesis data is matched as JSON, field by field"),
    ],
)  # fmt: skip
def test_what_is_no_pattern_for_the_events_is_one_line(
    pattern: str, event: str, error: str, run: Any
) -> None:
    with pytest.raises(ConfigError) as refused:
        run(pattern, event)
    assert str(refused.value) == error


def test_a_pattern_that_is_probably_not_meant_is_warned_about(
    run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        run('{"body": {"a": [1], "a": [2]}, "Body": ["x"]}', json.dumps(sqs("{}")))
    twice, unknown = caplog.messages
    assert twice == '"a" comes twice in one object; the last one counts'
    assert unknown.startswith('no SQS record has "Body"; there are body, messageId')
