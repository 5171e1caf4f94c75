"""The conditions of a template, and the functions that only they may have."""

from __future__ import annotations

from collections.abc import Callable

from poller.settings.nodes import Block, Items, Node, Scalar
from poller.wire.problems import one_line

from .unknown import Unknown

DEEP_MAX = 40  # conditions inside one another, by name or not
MANY_MAX = 10  # what Fn::And and Fn::Or take


class Conditions:
    """`section`: the conditions by name; `text` is what a node with functions in it says."""

    def __init__(self, section: Block, text: Callable[[Node], str]) -> None:
        self._section = section
        self._text = text
        self._known: dict[str, bool | Unknown] = {}
        self._deep = 0

    def holds(self, name: str) -> bool:
        """Whether the condition `name` is true.  Raises Unknown."""
        if name not in self._known:
            if name not in self._section.entries:
                raise Unknown(f"the template has no condition {one_line(name)}")
            self._known[name] = Unknown(f"the condition {one_line(name)} leads to itself")
            self._known[name] = self._find(self._section.entries[name].node)
        known = self._known[name]
        if isinstance(known, Unknown):
            raise Unknown(known.message, known.remedy)
        return known

    def _find(self, node: Node) -> bool | Unknown:
        try:
            return self._is_true(node)
        except Unknown as unknown:
            return unknown

    def _is_true(self, node: Node) -> bool:
        if self._deep >= DEEP_MAX:
            raise Unknown("conditions are too many inside one another")
        self._deep += 1
        try:
            return self._judge(node)
        finally:
            self._deep -= 1

    def _judge(self, node: Node) -> bool:
        if not isinstance(node, Block) or len(node.entries) != 1:
            raise Unknown("a condition must be one function, such as Fn::Equals")
        ((name, entry),) = node.entries.items()
        match name, entry.node:
            case "Condition", Scalar(text=other):
                return self.holds(other)
            case "Fn::Equals", Items(items=(one, other)):
                return self._text(one) == self._text(other)
            case "Fn::Not", Items(items=(one,)):
                return not self._is_true(one)
            case "Fn::And", Items(items=some) if 0 < len(some) <= MANY_MAX:
                return all(self._is_true(one) for one in some)
            case "Fn::Or", Items(items=some) if 0 < len(some) <= MANY_MAX:
                return any(self._is_true(one) for one in some)
        raise Unknown(f"{one_line(name)} is no condition, or not written as one")
