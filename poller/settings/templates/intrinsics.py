"""CloudFormation's intrinsic functions: what stands in a template becomes values.

Only what is asked for is looked at, so that what cannot be known of the rest does not matter.
However a template is made, the work and the texts that it makes are bounded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from poller.settings.nodes import Block, Entry, Items, Node, Scalar, plain
from poller.wire.problems import one_line, shown

from .conditions import Conditions
from .unknown import Unknown

NESTED_MAX = 80  # functions, and what they lead to, inside one another
TEXT_MAX = 65_536  # characters of a text that functions make
WORK_MAX = 2_000_000  # characters and items, for a whole template
STEP_WORK = 10  # of looking at one node

_FUNCTIONS = (
    *("And", "Base64", "Cidr", "Equals", "FindInMap", "GetAtt", "GetAZs", "If", "ImportValue"),
    *("Join", "Length", "Not", "Or", "Select", "Split", "Sub", "ToJsonString", "Transform"),
)
SHORT_TAGS = {
    "!Ref": "Ref",
    "!Condition": "Condition",
    **{f"!{name}": f"Fn::{name}" for name in _FUNCTIONS},
}
NO_VALUE = "AWS::NoValue"

LookUp = Callable[[str, str | None], Node]
"""What Ref of a name gives, or GetAtt of a name and an attribute.  Raises Unknown."""

_PIECE = re.compile(r"\$\{(?P<literal>!)?(?P<name>[^}]*)\}")


class Intrinsics:
    """The functions of one template; `mappings` and `conditions` are its sections."""

    def __init__(self, look_up: LookUp, *, mappings: Block, conditions: Block) -> None:
        self._look_up = look_up
        self._mappings = mappings
        self.conditions = Conditions(conditions, self.text)
        self._nested = 0
        self._work = 0
        self._apply: dict[str, Callable[[Node], Node | None]] = {
            "Ref": self._ref,
            "Fn::FindInMap": self._find_in_map,
            "Fn::GetAtt": self._get_att,
            "Fn::If": self._if,
            "Fn::Join": self._join,
            "Fn::Select": self._select,
            "Fn::Split": self._split,
            "Fn::Sub": self._sub,
            "Fn::ToJsonString": self._to_json,
        }

    def top(self, node: Node) -> Node | None:
        """`node` without functions on its top; what is inside is as it was.

        None: AWS::NoValue, as if it were not there.  Raises Unknown.
        """
        with self._deeper():
            name, argument = called(node)
            if argument is None:
                return node
            if name not in self._apply:
                raise Unknown(f"{one_line(name)} cannot be known here", "write what it gives")
            return self._apply[name](argument)

    def value(self, node: Node) -> Node | None:
        """`node` without any functions in it.  Raises Unknown."""
        with self._deeper():
            match self.top(node):
                case Items() as items:
                    found = (self.value(item) for item in items.items)
                    return _items(tuple(item for item in found if item is not None), items.line)
                case Block() as block:
                    values = {key: self.value(each.node) for key, each in block.entries.items()}
                    entries = {
                        key: Entry(block.entries[key].line, each)
                        for key, each in values.items()
                        if each is not None
                    }
                    return Block(entries, block.line, nodes=1, depth=1)
                case other:
                    return other

    def text(self, node: Node) -> str:
        """The text that `node` is.  Raises Unknown where it is none."""
        match self.top(node):
            case Scalar(text=text):
                return text
            case None:
                raise Unknown("is AWS::NoValue where there must be text")
            case _:
                raise Unknown("must be text")

    def items(self, node: Node) -> tuple[Node, ...]:
        """The items of the list that `node` is, which may have functions in them."""
        match self.top(node):
            case Items(items=items):
                return items
            case _:
                raise Unknown("must be a list")

    @contextmanager
    def _deeper(self) -> Iterator[None]:
        if self._nested >= NESTED_MAX:
            raise Unknown("functions lead to one another, or are too many inside one another")
        self._nested += 1
        self._spend(STEP_WORK)
        try:
            yield
        finally:
            self._nested -= 1

    def _spend(self, work: int) -> None:
        self._work += work
        if self._work > WORK_MAX:
            raise Unknown("the template's functions are too much work")

    def _made(self, text: str, node: Node) -> Scalar:
        self._spend(len(text))
        if len(text) > TEXT_MAX:
            raise Unknown(f"is a text of more than {TEXT_MAX} characters")
        return Scalar(text, node.line, plain=False)

    # One method for each function.

    def _ref(self, node: Node) -> Node | None:
        name = _literal(node, "Ref")
        return None if name == NO_VALUE else self._look_up(name, None)

    def _get_att(self, node: Node) -> Node:
        if isinstance(node, Items):
            first, second = arguments(node, 2, 2, "Fn::GetAtt", "[RESOURCE, ATTRIBUTE]")
            return self._look_up(_literal(first, "Fn::GetAtt"), self.text(second))
        name, dot, attribute = _literal(node, "Fn::GetAtt").partition(".")
        if not dot:
            raise Unknown("Fn::GetAtt must be RESOURCE.ATTRIBUTE")
        return self._look_up(name, attribute)

    def _sub(self, node: Node) -> Node:
        own: dict[str, Entry] = {}
        if isinstance(node, Items):
            node, block = arguments(node, 2, 2, "Fn::Sub", "[TEXT, {NAME: VALUE}]")
            if not isinstance(block, Block):
                raise Unknown("Fn::Sub must be [TEXT, {NAME: VALUE}]")
            own = block.entries

        def value(match: re.Match[str]) -> str:
            if match["literal"]:
                return f"${{{match['name']}}}"
            name = match["name"].strip()
            resource, dot, attribute = name.partition(".")
            found = own[name].node if name in own else None
            text = self.text(found or self._look_up(resource, attribute if dot else None))
            self._spend(STEP_WORK + len(text))
            return text

        return self._made(_PIECE.sub(value, _literal(node, "Fn::Sub")), node)

    def _join(self, node: Node) -> Node:
        between, listed = arguments(node, 2, 2, "Fn::Join", "[TEXT, LIST]")
        tops = [self.top(item) for item in self.items(listed)]
        texts = [self.text(item) for item in tops if item is not None]
        separator = self.text(between)
        self._spend(sum(len(text) + len(separator) for text in texts))
        return self._made(separator.join(texts), node)

    def _split(self, node: Node) -> Node:
        between, text = arguments(node, 2, 2, "Fn::Split", "[TEXT, TEXT]")
        separator = self.text(between)
        if not separator:
            raise Unknown("Fn::Split must have a separator")
        parts = self.text(text).split(separator)
        self._spend(STEP_WORK * len(parts))
        return _items(tuple(Scalar(part, node.line, plain=False) for part in parts), node.line)

    def _select(self, node: Node) -> Node | None:
        index, listed = arguments(node, 2, 2, "Fn::Select", "[INDEX, LIST]")
        number, items = self.text(index), self.items(listed)
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            raise Unknown(f"Fn::Select: {shown(number)} is no index")
        if int(number) >= len(items):
            raise Unknown(f"Fn::Select: the list has {len(items)} items, and none at {number}")
        return self.top(items[int(number)])

    def _find_in_map(self, node: Node) -> Node | None:
        form = "[MAP, KEY, KEY]"
        name, first, second, *default = arguments(node, 3, 4, "Fn::FindInMap", form)
        found: Node = self._mappings
        for key in (self.text(name), self.text(first), self.text(second)):
            if isinstance(found, Block) and key in found.entries:
                found = found.entries[key].node
            elif default and isinstance(default[0], Block) and default[0].entries:
                return self.top(next(iter(default[0].entries.values())).node)
            else:
                raise Unknown(f"Fn::FindInMap: Mappings have no {shown(key)} there")
        return found

    def _if(self, node: Node) -> Node | None:
        name, then, otherwise = arguments(node, 3, 3, "Fn::If", "[CONDITION, VALUE, VALUE]")
        return self.top(then if self.conditions.holds(_literal(name, "Fn::If")) else otherwise)

    def _to_json(self, node: Node) -> Node:
        value = self.value(node)
        return self._made(json.dumps(None if value is None else plain(value)), node)


def called(node: Node) -> tuple[str, Node | None]:
    """The function that `node` calls, and with what; None: it calls none."""
    if isinstance(node, Block) and len(node.entries) == 1:
        ((name, entry),) = node.entries.items()
        if name == "Ref" or name.startswith("Fn::"):
            return name, entry.node
    return "", None


def arguments(node: Node, low: int, high: int, name: str, form: str) -> tuple[Node, ...]:
    """The items of the list that a function takes; `form` shows it."""
    if not isinstance(node, Items) or not low <= len(node.items) <= high:
        raise Unknown(f"{name} must be {form}")
    return node.items


def _literal(node: Node, name: str) -> str:
    """Text in which no functions may stand."""
    if not isinstance(node, Scalar):
        raise Unknown(f"{name} must have a name as text")
    return node.text


def _items(items: tuple[Node, ...], line: int) -> Items:
    return Items(items, line, nodes=1, depth=1)
