"""The functions of a template: Python runs from its folder as a `handler` does, and the program
`bootstrap` of a custom runtime as a `command`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from poller.settings.functions import read_function
from poller.settings.nodes import Block, Entry, Node, Scalar
from poller.settings.values import FunctionConfig
from poller.targets.runtime_environment import HANDLER_VARIABLE
from poller.wire.arns import is_role
from poller.wire.problems import Path, Problem, one_line

from .asynchronous import asynchronous, place_of
from .blocks import block_at
from .intrinsics import called
from .resources import LABEL_UNKNOWN, SAM_FUNCTION, Resource
from .stack import Stack
from .unknown import Unknown

PYTHON = "python"
CUSTOM = "provided"
BOOTSTRAP = "bootstrap"
FOLDER_DEFAULT = "."  # as `sam build` has it
REMOTE = "s3://"

# The property that each key of a config's function is.
_PROPERTIES = {
    "handler": ("Handler",),
    "command": ("CodeUri",),
    "path": ("CodeUri",),
    "timeout": ("Timeout",),
    "memory": ("MemorySize",),
    "concurrency": ("ReservedConcurrentExecutions",),
    "environment": ("Environment", "Variables"),
    "role": ("Role",),
}


class _Wrong(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.problem = problem


def read_template_function(
    stack: Stack, logical: str, *, name: str, account: str, environ: Mapping[str, str]
) -> FunctionConfig | None:
    """The function `logical` of the template, known as `name`; None where it cannot run here,
    which is noted in the template's file."""
    resource = stack.resources.get(logical)
    assert resource is not None
    path = ("Resources", logical, "Properties")
    try:
        block = _Reading(stack, logical, resource, name).block()
    except _Wrong as wrong:
        stack.note(wrong.problem.below(*path))
        return None
    function = read_function(
        name, block, resource.line, folder=stack.folder, account=account, environ=environ
    )
    if isinstance(function, FunctionConfig):
        return function
    for problem in function:
        stack.note(_placed(problem, resource).below(*path))
    return None


def _placed(problem: Problem, resource: Resource) -> Problem:
    """A problem of a config's function as one of the template's."""
    key, *rest = problem.path or ("",)
    if key == "async" and rest:
        return replace(problem, path=place_of(str(rest[0]), resource.kind))
    there = _PROPERTIES.get(str(key), ())
    if key in {"path", "command"} and resource.kind != SAM_FUNCTION:
        there = ("Code",)
    return replace(problem, path=(*there, *rest))


class _Reading:
    """Reads one function's properties into the block that a config would have for it."""

    def __init__(self, stack: Stack, logical: str, resource: Resource, name: str) -> None:
        self._stack = stack
        self._name = name
        self._logical = logical
        self._resource = resource
        self._properties = resource.properties
        self._declare = f"declare {one_line(logical)} in CONFIG, with what runs it"

    def block(self) -> Block:
        """Raises _Wrong for the first thing that keeps it from running here."""
        self._check_package()
        custom = self._is_custom()
        handler = self._text("Handler")
        if handler is None:
            raise _Wrong(Problem(("Handler",), "is missing", "such as app.handler"))
        folder, environment = self._folder(), self._environment()
        values = {
            "handler": None if custom else handler,
            "command": self._bootstrap(folder) if custom else None,
            "path": folder,
            "timeout": self._number("Timeout"),
            "memory": self._number("MemorySize"),
            "concurrency": self._number("ReservedConcurrentExecutions"),
            "environment": _with_handler(environment, handler) if custom else environment,
            "role": self._role(),
            "async": asynchronous(self._stack, self._logical, self._resource, key=self._name),
        }
        entries = {key: Entry(node.line, node) for key, node in values.items() if node is not None}
        self._note_layers()
        return Block(entries, self._resource.line, nodes=1, depth=1)

    def _check_package(self) -> None:
        package = self._text("PackageType")
        if package is not None and package.text == "Image":
            raise self._cannot_run("PackageType", "images")

    def _is_custom(self) -> bool:
        """Whether its code brings its own runtime; else it is Python."""
        runtime = self._text("Runtime")
        if runtime is None:
            raise _Wrong(Problem(("Runtime",), "is missing", "such as python3.12"))
        custom = runtime.text.partition(".")[0] == CUSTOM
        if not custom and not runtime.text.startswith(PYTHON):
            raise self._cannot_run("Runtime", f"functions of {one_line(runtime.text)}")
        return custom

    def _bootstrap(self, folder: Scalar) -> Scalar:
        if not (self._stack.folder / folder.text / BOOTSTRAP).is_file():
            key = "CodeUri" if self._resource.kind == SAM_FUNCTION else "Code"
            remedy = "build it, and run the template of the build: .aws-sam/build/template.yaml"
            raise _Wrong(Problem((key,), f"has no program {BOOTSTRAP}", remedy))
        return Scalar(f"./{BOOTSTRAP}", folder.line, plain=False)

    def _folder(self) -> Scalar:
        if self._resource.kind == SAM_FUNCTION:
            if "InlineCode" in self._properties.entries:
                raise self._cannot_run("InlineCode", "functions whose code is in the template")
            key, default = "CodeUri", Scalar(FOLDER_DEFAULT, self._resource.line, plain=False)
        else:
            key, default = "Code", None
        node = self._known((key,), self._stack.intrinsics.top)
        match node:
            case Scalar(text=text) if not text.startswith(REMOTE):
                return replace(node, plain=False)
            case None if default is not None:
                return default
            case Block(entries=entries) if "ZipFile" in entries:
                raise self._cannot_run(key, "functions whose code is in the template")
            case _:
                raise self._cannot_run(key, "functions whose code is not in a folder here")

    def _environment(self) -> Node | None:
        variables = block_at(self._properties, "Environment", "Variables")
        entries: dict[str, Entry] = {}
        for name, entry in variables.entries.items():
            path = ("Environment", "Variables", name)
            try:
                node = self._stack.intrinsics.top(entry.node)
                if node is None:
                    continue
                text = self._stack.intrinsics.text(node)
            except Unknown as unknown:
                raise _Wrong(unknown.at(path)) from None
            if LABEL_UNKNOWN in text:
                remedy = f"give it: --parameter {_stream_of(entry.node)}=ARN"
                raise _Wrong(Problem(path, "only the running table knows its stream's ARN", remedy))
            entries[name] = Entry(entry.line, Scalar(text, entry.line, plain=False))
        return Block(entries, variables.line, nodes=1, depth=1) if entries else None

    def _role(self) -> Scalar | None:
        """It is only told to the function, so one that is not known does not matter."""
        entry = self._properties.entries.get("Role")
        try:
            role = self._stack.intrinsics.text(entry.node) if entry else ""
        except Unknown:
            return None
        return Scalar(role, self._resource.line, plain=False) if is_role(role) else None

    def _text(self, key: str) -> Scalar | None:
        node = self._known((key,), self._stack.intrinsics.top)
        if node is not None and not isinstance(node, Scalar):
            raise _Wrong(Problem((key,), "must be text"))
        return replace(node, plain=False) if node is not None else None

    def _number(self, key: str) -> Node | None:
        node = self._known((key,), self._stack.intrinsics.top)
        return replace(node, plain=True) if isinstance(node, Scalar) else node

    def _known(self, path: Path, read: Callable[[Node], Node | None]) -> Node | None:
        """What `read` makes of a property; None where it is not there."""
        entry = self._properties.entries.get(str(path[0]))
        try:
            return read(entry.node) if entry else None
        except Unknown as unknown:
            raise _Wrong(unknown.at(path)) from None

    def _cannot_run(self, key: str, what: str) -> _Wrong:
        message = f"{one_line(self._logical)}: {what} cannot run here yet"
        return _Wrong(Problem((key,), message, self._declare))

    def _note_layers(self) -> None:
        if "Layers" in self._properties.entries:
            path = ("Resources", self._logical, "Properties", "Layers")
            self._stack.say(path, "are not loaded: install what they have where poller runs")


def _with_handler(environment: Node | None, handler: Scalar) -> Block:
    """What a program of its own is told, too."""
    entries = dict(environment.entries) if isinstance(environment, Block) else {}
    entries[HANDLER_VARIABLE] = Entry(handler.line, handler)
    return Block(entries, handler.line, nodes=1, depth=1)


def _stream_of(node: Node) -> str:
    """How --parameter names the attribute that `node` has, as well as can be said."""
    match called(node):
        case "Fn::GetAtt", Scalar(text=text):
            return one_line(text)
        case _:
            return "TABLE.StreamArn"
