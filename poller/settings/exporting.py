"""A config file made of mappings that are somewhere else, for a person to go on with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from poller.wire.arns import ArnError, parse_function
from poller.wire.listed import LeftOut, Listed
from poller.wire.problems import one_line

from .writing import INDENT, write_entries, write_entry, write_item

PLACEHOLDER_URL = "http://127.0.0.1:8080/"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFunction:
    """A function as its account knows it; None is not known, or without limit."""

    arn: str
    handler: str | None = None
    runtime: str | None = None
    timeout: int | None = None
    concurrency: int | None = None
    why_unknown: str = ""


@dataclass(frozen=True, slots=True)
class Export:
    """What is to be written; `remarks` are lines about what could not be found out.

    `mappings_only`: what is at `endpoint_url` has mappings, as another poller does, and neither
    functions nor sources.
    """

    region: str
    endpoint_url: str | None
    functions: Sequence[KnownFunction]
    mappings: Sequence[Listed]
    remarks: Sequence[str] = ()
    mappings_only: bool = False


def write_config(export: Export) -> str:
    """The text of a config in which everything that does not work here is a comment."""
    return "\n".join(_lines(export)) + "\n"


def _lines(export: Export) -> Iterator[str]:
    yield "# Made by `poller import`.  Say under functions where each of them runs; then"
    yield "# `poller check` says what else is wrong, and `poller run` runs it."
    for remark in export.remarks:
        yield f"# {_remark(remark)}"
    yield "aws:"
    place = {"region": export.region}
    if account := _account(export):
        place["account_id"] = account
    if export.endpoint_url is not None and not export.mappings_only:
        place["endpoint_url"] = export.endpoint_url
    yield from write_entries(place, INDENT)
    if export.mappings_only:
        yield f"{INDENT}# endpoint_url: where the streams and queues are, if that is not AWS"
    yield "functions:"
    for function in export.functions:
        yield from _function(function)
    if all(mapping.refused for mapping in export.mappings):
        yield "mappings: []"
    else:
        yield "mappings:"
    for mapping in export.mappings:
        yield from _mapping(mapping)


def _account(export: Export) -> str | None:
    for function in export.functions:
        try:
            return parse_function(function.arn).account
        except ArnError:
            continue
    return None


def _function(function: KnownFunction) -> Iterator[str]:
    inside = INDENT * 2
    yield f"{INDENT}{_key(function.arn)}:"
    known = [
        f"{what} {one_line(value)}"
        for what, value in (("handler", function.handler), ("runtime", function.runtime))
        if value
    ]
    there = f"  There: {', '.join(known)}." if known else ""
    deployed = _key(function.arn)
    yield f"{inside}# Write its address; or instead of it a handler: or command: with its path:, or"
    yield f"{inside}# lambda: {deployed}, which calls it where it is.{there}"
    if function.why_unknown:
        yield f"{inside}# Its timeout is not known: {_remark(function.why_unknown)}"
    yield f"{inside}url: {PLACEHOLDER_URL}"
    numbers = {"timeout": function.timeout, "concurrency": function.concurrency}
    given = {key: value for key, value in numbers.items() if value is not None}
    yield from write_entries(given, inside)


def _mapping(mapping: Listed) -> Iterator[str]:
    yield f"{INDENT}# {one_line(mapping.uuid)}"
    lines = list(write_item(dict(mapping.request), INDENT))
    left_out = [line for each in mapping.left_out for line in _left_out(each)]
    if mapping.refused is None:
        yield from lines
        yield from left_out
    else:
        yield f"{INDENT}# does not run here: {_remark(str(mapping.refused))}"
        yield from (f"{INDENT}# {line.removeprefix(INDENT)}" for line in lines)
        yield from left_out


def _left_out(left_out: LeftOut) -> Iterator[str]:
    """Comments that become the setting when their signs are taken away."""
    inside = INDENT * 2
    why = replace(left_out.why, path=left_out.why.path[1:], remedy="")
    yield f"{inside}# not used here: {_remark(str(why))}"
    for line in write_entry(left_out.name, left_out.value):
        yield f"{inside}# {line}"


def _key(arn: str) -> str:
    (line,) = write_entry(parse_function(arn).key, 0)
    return line.removesuffix(": 0")


def _remark(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
