"""A template with values for its parameters: what it is asked for is found here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path as FilePath

from poller.settings.file import ConfigFile
from poller.settings.nodes import Block, Items, Node, Scalar
from poller.wire.problems import Path, Problem, one_line

from .blocks import block_at, empty_block, texts_at
from .intrinsics import SHORT_TAGS, Intrinsics
from .parameters import GIVABLE, Parameters, Place
from .resources import Resources

TRANSFORMS = frozenset({"AWS::Serverless-2016-10-31", "AWS::LanguageExtensions"})
NESTED_STACKS = ("AWS::CloudFormation::Stack", "AWS::Serverless::Application")
FOR_EACH = "Fn::ForEach::"


class Stack:
    """The template of `file`; `given` are the values of --parameter by name.

    What is wrong is noted in the file; `notes` are lines that are worth reading all the same.
    """

    def __init__(self, file: ConfigFile, given: Mapping[str, str], place: Place) -> None:
        root = file.root if isinstance(file.root, Block) else empty_block()
        self.file = file
        self.folder = FilePath(file.name).parent.absolute()
        self.intrinsics = Intrinsics(
            self._look_up,
            mappings=block_at(root, "Mappings"),
            conditions=block_at(root, "Conditions"),
        )
        self.section = block_at(root, "Resources")
        self.resources = Resources(
            self.section,
            self.intrinsics,
            of_functions=block_at(root, "Globals", "Function"),
            place=place,
            given=given,
        )
        self._given = given
        self._parameters = Parameters(block_at(root, "Parameters"), given, place)
        self._said: dict[Problem, None] = {}
        self._check(root)

    @classmethod
    def read(cls, path: FilePath, given: Mapping[str, str], place: Place) -> Stack:
        """Raises InvalidConfig where there is no template at `path`."""
        return cls(ConfigFile.read_template(path, SHORT_TAGS), given, place)

    @property
    def notes(self) -> Sequence[str]:
        """In the order of the file."""
        defaults = (Problem(path, text) for path, text in self.resources.notes.items())
        return self.file.as_lines((*self._said, *defaults))

    def note(self, problem: Problem) -> None:
        """Note what is wrong, in Globals where it stands there."""
        match problem.path:
            case ("Resources", _, "Properties", *rest) if not _has(self.file.root, problem.path):
                there = ("Globals", "Function", *rest)
                if _has(self.file.root, there):
                    problem = replace(problem, path=there)
        self.file.note(problem)

    def say(self, path: Path, text: str) -> None:
        """Note what is not wrong but worth a line, once."""
        self._said[Problem(path, text)] = None

    def _look_up(self, name: str, attribute: str | None) -> Node:
        key = f"{name}.{attribute}"
        if attribute is not None and key in self._given:
            return Scalar(self._given[key], 1, plain=False)
        if attribute is None and self._parameters.has(name):
            return self._parameters.value(name)
        return self.resources.value(name, attribute)

    def _check(self, root: Block) -> None:
        """What is wrong with the template as a whole, and with what the command line says."""
        resources = root.entries.get("Resources")
        if resources is None or not isinstance(resources.node, Block):
            remedy = "a SAM or CloudFormation template has Resources, each with its keys"
            self.note(Problem((), "this is no template", remedy))
        self._check_given()
        for transform in texts_at(root, "Transform"):
            if transform not in TRANSFORMS:
                self.say(("Transform",), f"{one_line(transform)} is not applied")
        for logical in self.section.entries:
            if logical.startswith(FOR_EACH):
                problem = Problem(
                    ("Resources", logical), "Fn::ForEach is not supported", "write each resource"
                )
                self.note(problem)
        for logical, _ in self.resources.of_kind(*NESTED_STACKS):
            self.say(("Resources", logical), "is a stack of its own, which is not read")

    def _check_given(self) -> None:
        known = {*GIVABLE, *self._parameters.names, *self.section.entries}
        for key in self._given:
            if key not in known and key.partition(".")[0] not in self.section.entries:
                near = get_close_matches(key[:100], known, n=1)
                remedy = f"did you mean {near[0]}?" if near else "remove it"
                message = f"--parameter {one_line(key)}: there is no parameter or resource"
                self.note(Problem((), f"{message} of this name", remedy))


def _has(node: Node, path: Path) -> bool:
    """Whether there is something at `path`."""
    for step in path:
        match node, step:
            case Block(entries=entries), str() if step in entries:
                node = entries[step].node
            case Items(items=items), int() if step < len(items):
                node = items[step]
            case _:
                return False
    return True
