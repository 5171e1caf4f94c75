"""The operations of the Lambda API on tags, of which only event source mappings have any here."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from poller.core.lifecycle import State
from poller.errors import StateError
from poller.wire.constraints import constraint, validation_errors
from poller.wire.descriptions import mapping_arn
from poller.wire.fields import Fields
from poller.wire.tags import read_tags

from .refusals import CONFLICT, NOT_FOUND, SERVICE, VALIDATION, Refusal, refusal_of
from .registry import Entry, Registry

# As AWS recites it (recorded, test_tag_exceptions).
RESOURCE_PATTERN = (
    r"arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:"
    r"(function:[a-zA-Z0-9-_]+(:(\$LATEST|[a-zA-Z0-9-_]+))?|layer:([a-zA-Z0-9-_]+)|"
    r"code-signing-config:csc-[a-z0-9]{17}|event-source-mapping:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-"
    r"[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|capacity-provider:[a-zA-Z0-9-_]+)"
)
_RESOURCE = re.compile(RESOURCE_PATTERN)


class Tagging:
    """Every method takes the ARN of a mapping and raises Refusal."""

    def __init__(self, registry: Registry, file: str) -> None:
        self._registry = registry
        self._file = file

    def tags(self, arn: str) -> dict[str, str]:
        return dict(self._find(arn).config.tags)

    async def tag(self, arn: str, request: Mapping[str, Any]) -> None:
        """Add the tags that `request` has under "Tags", or replace their values."""
        async with self._registry.lock:
            entry = self._find(arn)
            fields = Fields(request)
            if not fields.has("Tags"):
                raise _null("Tags")
            given = read_tags(fields)
            if not fields.problems:
                fields = Fields({"Tags": {**entry.config.tags, **given}})
                given = read_tags(fields)
            if fields.problems:
                raise refusal_of(fields.problems)
            await self._write(entry, given)

    async def untag(self, arn: str, keys: Collection[str]) -> None:
        """Remove the tags with these keys, as far as there are any."""
        async with self._registry.lock:
            entry = self._find(arn)
            if not keys:
                raise _null("TagKeys")
            left = {key: value for key, value in entry.config.tags.items() if key not in keys}
            await self._write(entry, left)

    def _find(self, arn: str) -> Entry:
        if not _RESOURCE.fullmatch(arn):
            rule = f"satisfy regular expression pattern: {RESOURCE_PATTERN}"
            raise Refusal(VALIDATION, validation_errors([constraint(("Resource",), arn, rule)]))
        kind, _, name = arn.split(":", 5)[5].partition(":")
        if kind != "event-source-mapping":
            raise Refusal(NOT_FOUND, f"Nothing with tags here: {arn}")
        entry = self._registry.find(name.lower())
        gone = entry is None or self._registry.state(entry.stored.uuid) is State.DELETING
        if entry is None or gone or mapping_arn(name, entry.stored.function_arn) != arn:
            raise Refusal(NOT_FOUND, f"Event source mapping not found: {arn}")
        return entry

    async def _write(self, entry: Entry, tags: Mapping[str, str]) -> None:
        if entry.of_file:
            raise Refusal(
                CONFLICT,
                f"The event source mapping with UUID {entry.stored.uuid} is declared in "
                f"{self._file}: change its tags there.",
            )
        request = {**entry.stored.request, "Tags": dict(tags)}
        changed = Entry(replace(entry.stored, request=request), replace(entry.config, tags=tags))
        try:
            await self._registry.note(changed)
        except StateError as error:
            raise Refusal(SERVICE, str(error)) from None


def _null(name: str) -> Refusal:
    return Refusal(VALIDATION, validation_errors([constraint((name,), None, "not be null")]))
