"""YAML text to a tree of nodes.

YAML 1.2's idea of values (`yes` and `on` are text, `010` is ten), anchors, aliases and `<<`; one
document, and no tags but those that are asked for.  Size, depth and what aliases add up to are
bounded, so that no file can fill the memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from poller.wire.problems import Path, Problem, one_line

from .nodes import Block, Entry, Items, Node, Scalar

NODES_MAX = 100_000  # with every alias counted as what it stands for
DEPTH_MAX = 40
TOO_DEEP = f"more than {DEPTH_MAX} blocks inside one another"

MERGE_KEY = "<<"

# libyaml where PyYAML was built with it: faster, and it takes tabs between JSON's tokens.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class SyntaxProblem(Exception):
    """Why a text is no document: one line without the place, and the place."""

    def __init__(self, message: str, line: int, column: int | None = None) -> None:
        super().__init__(message)
        self.line = line
        self.column = column

    def __str__(self) -> str:
        message = super().__str__()
        return message if self.column is None else f"column {self.column}: {message}"


@dataclass(frozen=True, slots=True)
class Document:
    """`twice`: keys that are there more than once, each with its line; the first one counts."""

    root: Node
    twice: tuple[tuple[int, Problem], ...]


def parse(text: str, *, tags: Mapping[str, str] | None = None) -> Document:
    """The document that `text` is.  Raises SyntaxProblem.

    `tags`: the key that each tag stands for; `!Ref x` is read as the block `{Ref: x}` then.
    """
    if found := _UNPRINTABLE.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise SyntaxProblem(f"the character U+{ord(found[0]):04X} may not be in a file", line)
    builder = _Builder(tags or {})
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        words = " ".join(filter(None, (error.problem, error.context))) or "this is not YAML"
        raise SyntaxProblem(one_line(words), line, column) from None
    except RecursionError:
        raise SyntaxProblem(TOO_DEEP, 1) from None
    return Document(builder.root or Scalar("", 1), tuple(builder.twice))


@dataclass(slots=True)
class _Open:
    """A block or a list that has begun; a block waits for a key while `key` is None."""

    event: Any
    items: list[Node] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    merged: list[Block] = field(default_factory=list)
    key: Scalar | None = None

    @property
    def line(self) -> int:
        return int(self.event.start_mark.line) + 1

    @property
    def is_block(self) -> bool:
        return isinstance(self.event, yaml.MappingStartEvent)

    def children(self) -> Iterator[Node]:
        yield from self.items
        for entry in self.entries.values():
            yield entry.node


class _Builder:
    """Takes the parser's events and has the tree at `root` when they end; it never recurses."""

    def __init__(self, tags: Mapping[str, str]) -> None:
        self.root: Node | None = None
        self._tags = tags
        self.twice: list[tuple[int, Problem]] = []
        self._open: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._documents = 0

    def take(self, event: Any) -> None:
        line = event.start_mark.line + 1
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise SyntaxProblem("a second document begins; one file has one", line)
            case yaml.ScalarEvent():
                self._check_tag(event)
                node = Scalar(event.value, line, plain=event.implicit[0])
                self._add(self._tagged(event, node), event.anchor)
            case yaml.AliasEvent():
                if event.anchor not in self._anchors:
                    raise SyntaxProblem(f"*{event.anchor} stands for nothing yet", line)
                self._add(self._anchors[event.anchor], None)
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                self._check_tag(event)
                self._open.append(_Open(event))
                if len(self._open) > DEPTH_MAX:
                    raise SyntaxProblem(TOO_DEEP, line)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                self._close()
            case _:
                pass

    def _check_tag(self, event: Any) -> None:
        if event.tag is not None and event.tag not in self._tags:
            line = event.start_mark.line + 1
            if self._tags:
                raise SyntaxProblem(f"{one_line(event.tag)} is no tag of a template", line)
            raise SyntaxProblem("tags (!...) are not supported; a template is for --template", line)

    def _tagged(self, event: Any, node: Node) -> Node:
        if event.tag is None:
            return node
        entry = Entry(node.line, node)
        return Block({self._tags[event.tag]: entry}, node.line, _nodes(node) + 1, _depth(node) + 1)

    def _close(self) -> None:
        done = self._open.pop()
        for block in done.merged:
            done.entries = block.entries | done.entries
        nodes = 1 + sum(_nodes(child) for child in done.children())
        depth = 1 + max((_depth(child) for child in done.children()), default=0)
        node: Node
        if done.is_block:
            node = Block(done.entries, done.line, nodes, depth)
        else:
            node = Items(tuple(done.items), done.line, nodes, depth)
        node = self._tagged(done.event, node)
        if _nodes(node) > NODES_MAX:
            raise SyntaxProblem(f"more than {NODES_MAX} values, aliases resolved", done.line)
        if _depth(node) > DEPTH_MAX:
            raise SyntaxProblem(TOO_DEEP, done.line)
        self._add(node, done.event.anchor)

    def _add(self, node: Node, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._open:
            self.root = node
            return
        top = self._open[-1]
        if not top.is_block:
            top.items.append(node)
        elif top.key is None:
            top.key = self._as_key(node)
        else:
            self._add_entry(top, top.key, node)
            top.key = None

    def _as_key(self, node: Node) -> Scalar:
        if not isinstance(node, Scalar):
            raise SyntaxProblem("a key must be text", node.line)
        return node

    def _add_entry(self, top: _Open, key: Scalar, node: Node) -> None:
        if key.plain and key.text == MERGE_KEY:
            top.merged += _mergeable(node)
        elif key.text in top.entries:
            first = top.entries[key.text].line
            problem = Problem(self._path(), f"is there twice, first on line {first}", "keep one")
            self.twice.append((key.line, problem))
        else:
            top.entries[key.text] = Entry(key.line, node)

    def _path(self) -> Path:
        return tuple(top.key.text if top.key is not None else len(top.items) for top in self._open)


def _mergeable(node: Node) -> list[Block]:
    """What `<<` brings in; of several blocks the first wins."""
    blocks = node.items if isinstance(node, Items) else (node,)
    found = [block for block in blocks if isinstance(block, Block)]
    if len(found) < len(blocks):
        raise SyntaxProblem("<< takes a block of keys or a list of them", node.line)
    return found


def _nodes(node: Node) -> int:
    return 1 if isinstance(node, Scalar) else node.nodes


def _depth(node: Node) -> int:
    return 0 if isinstance(node, Scalar) else node.depth
