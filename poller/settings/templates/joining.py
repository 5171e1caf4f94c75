"""A config and a template become one; what the config declares goes before the template's."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from poller.core.model import Instant
from poller.settings.mappings import misplaced_function, settings_of, unknown_function
from poller.settings.values import (
    AwaitedMapping,
    AwsConfig,
    FunctionConfig,
    MappingSettings,
    Template,
)
from poller.wire.arns import FunctionReference
from poller.wire.mappings import MappingConfig, parse_mapping
from poller.wire.problems import Problem
from poller.wire.warnings import warnings_about

from .events import Request, requests
from .functions import read_template_function
from .parameters import ACCOUNT, REGION, Place
from .resources import FUNCTION, LABEL_UNKNOWN, SAM_FUNCTION
from .stack import Stack
from .unknown import Unknown

REGION_DEFAULT = "us-east-1"
ENDPOINT_VARIABLE = "AWS_ENDPOINT_URL"


class Joining:
    """Adds a template's mappings and their functions to those of a config.

    `declared`: the keys of the functions in the config, valid or not.
    """

    def __init__(self, template: Template, aws: AwsConfig, declared: Collection[str]) -> None:
        """Raises InvalidConfig where there is no template."""
        place = Place(aws.region or REGION_DEFAULT, aws.account_id)
        self.stack = Stack.read(template.path, template.parameters, place)
        self._aws = aws
        self._declared = declared
        self._logical = dict(self._functions())
        # By the keys of functions that mappings have: the logical id, and what declares them.
        self._used: dict[str, tuple[str, str | None]] = {}

    @property
    def offered(self) -> Collection[str]:
        """The names of the template's functions, whether or not they can run here."""
        return self._logical.keys()

    def mappings(
        self, of_config: tuple[MappingSettings, ...], now: Instant
    ) -> tuple[tuple[MappingSettings, ...], tuple[AwaitedMapping, ...]]:
        """The mappings of both, and those whose source is known only to the running table."""
        found = {mapping.uuid: mapping for mapping in of_config}
        first: dict[str, MappingSettings] = {}
        asked = list(requests(self.stack))
        if not asked:
            self.stack.say(("Resources",), "have no event source mappings")
        for request in asked:
            mapping = self._mapping(request, now)
            if mapping is None:
                continue
            if mapping.uuid in first:
                message = "has the source and the function of the mapping on line"
                problem = Problem(request.path, f"{message} {first[mapping.uuid].line}")
                self.stack.note(problem)
            elif mapping.uuid in found:
                self.stack.say(request.path, "the mapping of CONFIG goes before this one")
            else:
                first[mapping.uuid] = mapping
        awaited = [each for each in first.values() if _is_awaited(each)]
        ready = [each for each in first.values() if not _is_awaited(each)]
        return (
            (*of_config, *ready),
            tuple(AwaitedMapping(table=each.config.source.name, mapping=each) for each in awaited),
        )

    def functions(
        self, of_config: Mapping[str, FunctionConfig], environ: Mapping[str, str]
    ) -> Mapping[str, FunctionConfig]:
        """The functions that mappings of the template have, by their keys.

        What the config declares under the name or the logical id goes before the template's.
        """
        found: dict[str, FunctionConfig] = {}
        for key, (logical, declared) in self._used.items():
            if declared is not None:
                function = of_config.get(declared)
            else:
                account = self._aws.account_id
                function = read_template_function(
                    self.stack, logical, name=key, account=account, environ=environ
                )
            if function is not None:
                found[key] = replace(function, name=key)
        return found

    def use(self, of_config: Collection[MappingSettings]) -> None:
        """Mappings of the config may have functions of the template, too."""
        for mapping in of_config:
            if mapping.function not in self._declared:
                self._use(mapping.config.function)

    def note_defaults(self, environ: Mapping[str, str]) -> None:
        """Say what was taken for granted of where the template is deployed."""
        aws = self._aws
        if aws.region is None:
            remedy = "set AWS_REGION, or aws.region in CONFIG"
            self.stack.say((), f"{REGION} is taken to be {REGION_DEFAULT}: {remedy}")
        emulated = (
            aws.endpoint_url
            or aws.endpoints
            or any(name.startswith(ENDPOINT_VARIABLE) for name in environ)
        )
        if not emulated and not aws.account_id.strip("0"):
            remedy = f"--parameter {ACCOUNT}=ID, or aws.account_id in CONFIG, says otherwise"
            self.stack.say((), f"{ACCOUNT} is taken to be {aws.account_id}: {remedy}")

    def _functions(self) -> Iterator[tuple[str, str]]:
        """Name and logical id of each function whose name can be known."""
        for logical, resource in self.stack.resources.of_kind(FUNCTION, SAM_FUNCTION):
            try:
                if self.stack.resources.is_there(resource):
                    yield self.stack.resources.name(logical), logical
            except Unknown:
                continue

    def _mapping(self, request: Request, now: Instant) -> MappingSettings | None:
        if request.function is not None:
            self._name_function(request, request.function)
        config = parse_mapping(request.raw, now=now)
        if not isinstance(config, MappingConfig):
            for problem in config.problems:
                self._note(request, problem)
            return None
        if request.unknown:
            return None
        if not self._use(config.function, request.function):
            self._note(request, unknown_function({*self._declared, *self.offered}))
        elif misplaced := misplaced_function(config.function, self._aws):
            self._note(request, misplaced)
        for warning in warnings_about(config):
            if placed := request.place(warning):
                self.stack.file.warn(placed)
        return settings_of(config, self._aws, request.line)

    def _name_function(self, request: Request, logical: str) -> None:
        """The function of an event is the one that has it, or the alias that SAM publishes."""
        try:
            alias = self.stack.resources.alias(logical)
            name = self.stack.resources.name(logical)
        except Unknown as unknown:
            self.stack.note(unknown.at(("Resources", logical, "Properties", "FunctionName")))
            request.unknown.add("FunctionName")
        else:
            request.raw["FunctionName"] = name if alias is None else f"{name}:{alias}"

    def _use(self, function: FunctionReference, logical: str | None = None) -> bool:
        """Have the function of a mapping among those that run; False if there is none.

        An alias of one of the template's functions is that function.
        """
        logical = logical or self._logical.get(function.name, function.name)
        alias = function.key.removeprefix(function.name)
        for declared in (function.key, logical + alias, function.name, logical):
            if declared in self._declared:
                self._used[function.key] = logical, declared
                return True
        if function.name in self._logical:
            self._used[function.key] = logical, None
            return True
        return False

    def _note(self, request: Request, problem: Problem) -> None:
        placed = request.place(problem)
        if placed is not None:
            self.stack.note(placed)


def _is_awaited(mapping: MappingSettings) -> bool:
    return mapping.config.source.arn.endswith(f"/{LABEL_UNKNOWN}")
