"""The mappings of a config file: AWS's rules, and a declared function for each."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from poller.core.model import Instant
from poller.wire.arns import ArnError, FunctionReference, mapping_uuid, parse_function
from poller.wire.mappings import MappingConfig, Rejected, parse_mapping
from poller.wire.problems import Problem
from poller.wire.warnings import warnings_about

from .file import ConfigFile
from .nodes import Block, Items, Node, plain
from .values import AwsConfig, MappingSettings

DECLARED_SHOWN_MAX = 10
FUNCTION_UNKNOWN = "Function does not exist"  # spec 1.2


def read_mappings(
    file: ConfigFile,
    node: Node | None,
    *,
    aws: AwsConfig,
    declared: Collection[str],
    now: Instant,
) -> tuple[MappingSettings, ...]:
    """The valid ones of the mappings under `node`; what is wrong is noted in `file`.

    `declared`: the keys of the functions in the file, valid or not.
    """
    if node is None:
        return ()
    if not isinstance(node, Items):
        remedy = "begin each mapping with -"
        file.note(Problem(("mappings",), "must be a list of mappings", remedy))
        return ()
    first: dict[str, MappingSettings] = {}
    for index, item in enumerate(node.items):
        mapping = _read(file, index, item, aws=aws, declared=declared, now=now)
        if mapping is None:
            continue
        if mapping.uuid in first:
            line = first[mapping.uuid].line
            message = f"has the source and the function of the mapping on line {line}"
            file.note(Problem(("mappings", index), message, "keep one of them"))
        else:
            first[mapping.uuid] = mapping
    return tuple(first.values())


def _read(
    file: ConfigFile,
    index: int,
    node: Node,
    *,
    aws: AwsConfig,
    declared: Collection[str],
    now: Instant,
) -> MappingSettings | None:
    where = ("mappings", index)
    if not isinstance(node, Block):
        file.note(Problem(where, "must be a block of keys", "such as EventSourceArn: ARN"))
        return None
    raw = plain(node)
    problems = list(_function_problems(raw, aws, declared))
    match parse_mapping(raw, now=now):
        case Rejected(problems=found):
            file.note(*(problem.below(*where) for problem in (*found, *problems)))
            return None
        case MappingConfig() as config:
            file.note(*(problem.below(*where) for problem in problems))
            file.warn(*(warning.below(*where) for warning in warnings_about(config)))
    return settings_of(config, aws, node.line)


def _function_problems(
    raw: Mapping[str, Any], aws: AwsConfig, declared: Collection[str]
) -> Iterator[Problem]:
    """Why the function of a mapping is none of this file's; its form is not looked at here."""
    name = raw.get("FunctionName")
    if not isinstance(name, str):
        return
    try:
        function = parse_function(name)
    except ArnError:
        return
    if function.key not in declared:
        yield unknown_function(declared)
    elif problem := misplaced_function(function, aws):
        yield problem


def unknown_function(declared: Collection[str]) -> Problem:
    """FunctionName is none of `declared`."""
    names = sorted(declared)[:DECLARED_SHOWN_MAX]
    more = ", ..." if len(declared) > DECLARED_SHOWN_MAX else ""
    remedy = f"declared under functions: {', '.join(names) or 'none'}{more}"
    return Problem(("FunctionName",), FUNCTION_UNKNOWN, remedy)


def misplaced_function(function: FunctionReference, aws: AwsConfig) -> Problem | None:
    """Why a FunctionName has the account or the region of no function here."""
    if function.account not in {None, aws.account_id}:
        remedy = f"functions here have account {aws.account_id}: write {function.qualified}, or "
        return Problem(("FunctionName",), FUNCTION_UNKNOWN, f"{remedy}set aws.account_id")
    if function.region is not None and aws.region not in {None, function.region}:
        remedy = f"functions here are in {aws.region}: write {function.qualified}, or set "
        return Problem(("FunctionName",), FUNCTION_UNKNOWN, f"{remedy}aws.region")
    return None


def settings_of(config: MappingConfig, aws: AwsConfig, line: int) -> MappingSettings:
    arn = aws.function_arn(config.function, config.source.region)
    return MappingSettings(
        uuid=mapping_uuid(config.source.arn, arn),
        function=config.function.key,
        function_arn=arn,
        config=config,
        line=line,
    )
