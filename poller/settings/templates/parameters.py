"""The parameters of a template, and AWS's own: what Ref of them gives."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from poller.settings.nodes import Block, Items, Node, Scalar
from poller.wire.arns import partition_of
from poller.wire.problems import one_line, shown

from .blocks import text_at
from .unknown import Unknown

REGION, ACCOUNT = "AWS::Region", "AWS::AccountId"
SHOWN_MAX = 8  # of the values that are allowed
_CHINA = "cn-"
_OF_A_STACK = ("AWS::StackName", "AWS::StackId", "AWS::NotificationARNs")
GIVABLE = (REGION, ACCOUNT, *_OF_A_STACK)


@dataclass(frozen=True, slots=True)
class Place:
    """Where what the template names is."""

    region: str
    account: str

    @property
    def partition(self) -> str:
        return partition_of(self.region)

    @property
    def url_suffix(self) -> str:
        return "amazonaws.com.cn" if self.region.startswith(_CHINA) else "amazonaws.com"


class Parameters:
    """`section` declares them; `given` has the values of the command line, also of AWS's own."""

    def __init__(self, section: Block, given: Mapping[str, str], place: Place) -> None:
        self._section = section
        self._given = given
        self._own = {
            REGION: place.region,
            ACCOUNT: place.account,
            "AWS::Partition": place.partition,
            "AWS::URLSuffix": place.url_suffix,
        }

    @property
    def names(self) -> Collection[str]:
        """Those that the template declares."""
        return self._section.entries.keys()

    def has(self, name: str) -> bool:
        return name in self._section.entries or name.startswith("AWS::")

    def value(self, name: str) -> Node:
        """What Ref of one of them gives.  Raises Unknown."""
        if name in self._own:
            return Scalar(self._own[name], 1, plain=False)
        declared = self._section.entries.get(name)
        if declared is None:
            if name in _OF_A_STACK and name in self._given:
                return Scalar(self._given[name], 1, plain=False)
            raise _not_given(name)
        block = declared.node
        if not isinstance(block, Block):
            raise Unknown(f"the parameter {one_line(name)} must be a block of keys")
        kind, text = text_at(block, "Type") or "String", self._text(name, block)
        _check(name, block, text)
        if "List<" in kind or kind == "CommaDelimitedList":
            parts = (Scalar(part.strip(), declared.line, plain=False) for part in text.split(","))
            return Items(tuple(parts), declared.line, nodes=1, depth=1)
        return Scalar(text, declared.line, plain=False)

    def _text(self, name: str, block: Block) -> str:
        if name in self._given:
            return self._given[name]
        if (text_at(block, "Type") or "").startswith("AWS::SSM::"):
            raise _not_given(name, "is kept in SSM")
        default = text_at(block, "Default")
        if default is None:
            raise _not_given(name)
        return default


def _check(name: str, block: Block, text: str) -> None:
    allowed = block.entries.get("AllowedValues")
    if allowed is None or not isinstance(allowed.node, Items):
        return
    values = [item.text for item in allowed.node.items if isinstance(item, Scalar)]
    if text not in values:
        more = ", ..." if len(values) > SHOWN_MAX else ""
        some = ", ".join(one_line(value) for value in values[:SHOWN_MAX])
        raise Unknown(f"the parameter {one_line(name)} is {shown(text)}", f"allowed: {some}{more}")


def _not_given(name: str, why: str = "has no value") -> Unknown:
    shown_name = one_line(name)
    return Unknown(f"the parameter {shown_name} {why}", f"give it: --parameter {shown_name}=VALUE")
