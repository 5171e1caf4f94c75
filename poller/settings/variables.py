"""`${VAR}`, `${VAR:-default}` and `$${` in the values of a config file.

A value is replaced after YAML is parsed, so that nothing in the environment can be YAML; what was
written without quotes is then read anew, so that `BatchSize: ${SIZE}` is a number.  For YAML a
brace ends a value inside of `{...}`: while it parses, variables are hidden from it in a range of
private characters, one for one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from poller.wire.problems import Path, Problem

from .document import SyntaxProblem
from .nodes import Block, Entry, Items, Node, Scalar

_HIDDEN_FROM = 0xE000
_HIDE = {code: _HIDDEN_FROM + code for code in range(0x20, 0x7F)}
_REVEAL = {hidden: code for code, hidden in _HIDE.items()}
_HIDDEN = re.compile(f"[{chr(_HIDDEN_FROM + 0x20)}-{chr(_HIDDEN_FROM + 0x7E)}]")

_NAME = "[A-Za-z_][A-Za-z0-9_]*"
_VARIABLE = re.compile(rf"\$?\$\{{{_NAME}(?::-[^}}\"'\r\n]*)?\}}")
_PIECE = re.compile(rf"(?P<escape>\$\$\{{)|\$\{{(?P<name>{_NAME})(?P<or>:-(?P<default>[^}}]*))?\}}")


def hide(text: str) -> str:
    """`text` of the same length, in which YAML sees no variables.  Raises SyntaxProblem."""
    if found := _HIDDEN.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise SyntaxProblem(f"the character U+{ord(found[0]):04X} may not be in a file", line)
    return _VARIABLE.sub(lambda match: match[0].translate(_HIDE), text)


def substitute(node: Node, environ: Mapping[str, str], path: Path, problems: list[Problem]) -> Node:
    """`node` with its variables replaced; what cannot be is noted and left as it was written."""
    match node:
        case Scalar():
            return _substitute_scalar(node, environ, path, problems)
        case Items(items=items):
            replaced = (
                substitute(item, environ, (*path, index), problems)
                for index, item in enumerate(items)
            )
            return replace(node, items=tuple(replaced))
        case Block(entries=entries):
            revealed = {key.translate(_REVEAL): entry for key, entry in entries.items()}
            return replace(
                node,
                entries={
                    key: Entry(entry.line, substitute(entry.node, environ, (*path, key), problems))
                    for key, entry in revealed.items()
                },
            )


def _substitute_scalar(
    node: Scalar, environ: Mapping[str, str], path: Path, problems: list[Problem]
) -> Scalar:
    text = node.text.translate(_REVEAL)
    if "${" not in text:
        return replace(node, text=text)

    def value(match: re.Match[str]) -> str:
        if match["escape"]:
            return "${"
        found = environ.get(match["name"])
        if match["or"]:
            if "${" in match["default"]:
                problems.append(Problem(path, "a default cannot have a variable in it"))
            return found or match["default"]
        if found is None:
            name = match["name"]
            remedy = f"set it, or write ${{{name}:-DEFAULT}}"
            problems.append(Problem(path, f"the environment variable {name} is not set", remedy))
        return found or ""

    if "${" in _PIECE.sub("", text):
        remedy = "write ${VAR} or ${VAR:-DEFAULT}, or $${ for ${ itself"
        problems.append(Problem(path, "${ begins no variable", remedy))
    return replace(node, text=_PIECE.sub(value, text), substituted=True)
