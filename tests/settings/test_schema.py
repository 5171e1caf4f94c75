"""What the blocks of a function say, before it is known which keys go together."""

from __future__ import annotations

from dataclasses import fields

import pytest

from poller.settings.document import parse
from poller.settings.nodes import Block
from poller.settings.readers import read_entry
from poller.settings.schema import FunctionEntry, RuntimeApiEntry


def read(text: str) -> dict[str, object] | list[str]:
    """What is given in a function's block, or what is wrong with it."""
    root = parse(text).root
    assert isinstance(root, Block)
    match read_entry(FunctionEntry, root):
        case FunctionEntry() as entry:
            values = {each.name: getattr(entry, each.name) for each in fields(entry)}
            return {name: value for name, value in values.items() if value is not None}
        case problems:
            return [str(problem) for problem in problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("command: ./bootstrap", {"command": ("./bootstrap",)}),
        ("command: node 'my app.mjs' --x", {"command": ("node", "my app.mjs", "--x")}),
        ("command: [node, my app.mjs, 1]", {"command": ("node", "my app.mjs", "1")}),
        ("runtime_api: 127.0.0.1:9001", {"runtime_api": RuntimeApiEntry(listen="127.0.0.1:9001")}),
        ("runtime_api: {listen: '[::1]:9001'}",
         {"runtime_api": RuntimeApiEntry(listen="[::1]:9001")}),
        ("runtime_api: {listen: 0.0.0.0:9001, allow: [10.0.0.0/8, 10.1.2.3, 'fd00::/8']}",
         {"runtime_api": RuntimeApiEntry(
             listen="0.0.0.0:9001", allow=("10.0.0.0/8", "10.1.2.3/32", "fd00::/8"))}),
        ("lambda: orders:live", {"lambda_": "orders:live"}),
        ("lambda: arn:aws:lambda:us-east-1:123456789012:function:orders:2",
         {"lambda_": "arn:aws:lambda:us-east-1:123456789012:function:orders:2"}),
    ],
)  # fmt: skip
def test_each_kind_says_what_runs(text: str, expected: dict[str, object]) -> None:
    assert read(text) == expected


ARGUMENTS = "command: must be a program with its arguments, as text or as a list"
NETWORKS = "must be a list of networks, such as [10.0.0.0/8]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("command: ''", [ARGUMENTS]),
        ("command: []", [ARGUMENTS]),
        ("command: ['', x]", [ARGUMENTS]),
        ("command: {a: b}", [ARGUMENTS]),
        ("command: node 'x", ["command: cannot be split into arguments: No closing quotation"]),
        ('command: [a, "\\0"]',
         ["command[1]: has a NUL character, which no program can be given"]),
        ("runtime_api: 9001", ["runtime_api: must be HOST:PORT, such as 127.0.0.1:9001"]),
        ("runtime_api: 127.0.0.1:0",
         ["runtime_api: must name a port, which the runtimes are told"]),
        ("runtime_api: {listen: 127.0.0.1:x}",
         ["runtime_api.listen: must be HOST:PORT, such as 127.0.0.1:9001"]),
        ("runtime_api: {}", ["runtime_api: has no listen; such as listen: 127.0.0.1:9001"]),
        ("runtime_api: 0.0.0.0:9001",
         ["runtime_api: whoever connects receives records, so beyond this machine it needs the "
          "networks that runtimes come from; such as {listen: 0.0.0.0:9001, allow: [10.0.0.0/8]}"]),
        ("runtime_api: {listen: 127.0.0.1:9001, allow: 10.0.0.0/8}",
         [f"runtime_api.allow: {NETWORKS}"]),
        ("runtime_api: {listen: 127.0.0.1:9001, allow: [10.0.0.1/8]}",
         ["runtime_api.allow[0]: must be a network, such as 10.0.0.0/8 or 10.1.2.3"]),
        ("lambda: a b",
         ['lambda: "a b" names no function; write NAME, NAME:QUALIFIER or the function\'s ARN; a '
          "name has up to 64 letters, digits, - and _"]),
    ],
)  # fmt: skip
def test_what_cannot_run_is_told(text: str, expected: list[str]) -> None:
    assert read(text) == expected
