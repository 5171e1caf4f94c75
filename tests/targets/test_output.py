"""What is written of the output of functions."""

from __future__ import annotations

import json

import pytest

from poller.targets.output import IDLE, INIT, StderrOutput

ID = "8f5a3c1e-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("line", "written"),
    [
        ("plain é", "plain é"),
        ("tab\tkept", "tab\tkept"),
        ("\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"),
        ("\x1b]0;title\x07", "\ufffd]0;title\ufffd"),
        ("\x1b[2J\x00\x7f\x9b", "\ufffd[2J\ufffd\ufffd\ufffd"),
    ],
)
def test_text_keeps_colours_and_nothing_else_that_a_terminal_obeys(
    line: str, written: str, capsys: pytest.CaptureFixture[str]
) -> None:
    StderrOutput().printed("orders", ID, [line, "next"])

    assert capsys.readouterr().err == f"[orders {ID}] {written}\n[orders {ID}] next\n"


def test_json_is_an_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    output = StderrOutput("json")
    output.printed("orders", INIT, ["one"])
    output.framed("orders", ID, ["\x1btwo\n"])
    output.printed("orders", IDLE, ["three"])

    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert all(each.pop("time").endswith("Z") for each in said)
    same = {"level": "info", "logger": "poller.function", "function": "orders"}
    assert said == [
        {**same, "phase": "init", "message": "one"},
        {**same, "requestId": ID, "message": "\x1btwo\n"},
        {**same, "phase": "idle", "message": "three"},
    ]


def test_lambda_s_own_lines_may_be_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    output = StderrOutput(frames=False)
    output.framed("orders", ID, ["START"])
    output.printed("orders", ID, ["said"])

    assert capsys.readouterr().err == f"[orders {ID}] said\n"
