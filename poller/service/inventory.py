"""What an account or an emulator has: the event source mappings of functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiobotocore.config import AioConfig

from poller.aws.refusals import CallErrors, code_of, reason_of
from poller.aws.sessions import AwsSession, AwsSettings
from poller.core.model import Instant
from poller.errors import ConfigError, PollerError
from poller.settings.exporting import Export, KnownFunction
from poller.wire.arns import ArnError, parse_function
from poller.wire.listed import Listed, read_listed

MAPPINGS_MAX = 10_000
NO_SUCH_OPERATION = "UnknownOperationException"  # what a poller answers
_CONFIG = AioConfig(connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 3})


@dataclass(slots=True)
class _Found:
    mappings: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # by UUID
    remarks: list[str] = field(default_factory=list)
    mappings_only: bool = False  # there are no functions, as in another poller


async def take_inventory(
    functions: list[str], *, region: str | None, endpoint_url: str | None, now: Instant
) -> Export:
    """The mappings of `functions`, each a name, NAME:ALIAS or ARN, which may say the region.

    Raises PollerError where there are none, and where they cannot be listed.
    """
    region = region or next(filter(None, map(_region, functions)), None)
    async with AwsSession(AwsSettings(region=region, endpoint_url=endpoint_url)) as session:
        client = await session.client("lambda", config=_CONFIG)
        place = f"{session.region} at {session.endpoint_url('lambda') or 'AWS'}"
        found = _Found()
        for function in functions:
            await _list(client, function, place, found)
        if not found.mappings:
            raise PollerError(found.remarks[0])
        listed = [await _listed(client, each, now, found) for each in found.mappings.values()]
        arns = {_key(each.function_arn): each.function_arn for each in listed}
        known = [await _function(client, arn, found) for arn in arns.values()]
        return Export(
            session.region,
            endpoint_url,
            known,
            listed,
            list(dict.fromkeys(found.remarks)),
            found.mappings_only,
        )


async def _list(client: Any, function: str, place: str, found: _Found) -> None:
    before = len(found.mappings)
    pages = client.get_paginator("list_event_source_mappings")
    try:
        async for page in pages.paginate(FunctionName=function):
            for description in page.get("EventSourceMappings", ()):
                found.mappings[str(description.get("UUID"))] = description
            if len(found.mappings) > MAPPINGS_MAX:
                raise PollerError(f"more than {MAPPINGS_MAX} event source mappings")
    except CallErrors as error:
        if code_of(error) != "ResourceNotFoundException":
            reason = reason_of(error)
            raise PollerError(f"listing the mappings of {function} in {place}: {reason}") from None
    if len(found.mappings) == before:
        found.remarks.append(f"{function} has no event source mappings in {place}")


async def _listed(
    client: Any, description: Mapping[str, Any], now: Instant, found: _Found
) -> Listed:
    """A mapping with what a listing does not have: its tags, and filters that a key encrypts."""
    if description.get("KMSKeyArn"):
        try:
            description = await client.get_event_source_mapping(UUID=description["UUID"])
        except CallErrors as error:
            found.remarks.append(f"encrypted filters are not known: {reason_of(error)}")
    tags: Mapping[str, str] = {}
    if arn := description.get("EventSourceMappingArn"):
        try:
            tags = (await client.list_tags(Resource=arn)).get("Tags") or {}
        except CallErrors as error:
            found.remarks.append(f"tags of mappings are not known: {reason_of(error)}")
    known = {key: value for key, value in description.items() if key != "ResponseMetadata"}
    return read_listed(known, tags, now=now)


def _region(function: str) -> str | None:
    try:
        return parse_function(function).region
    except ArnError as error:
        raise ConfigError(f"--function: {error.message}; {error.remedy}") from None


def _key(function_arn: str) -> str:
    """What declares the function of a mapping in a config."""
    try:
        return parse_function(function_arn).key
    except ArnError as error:
        raise PollerError(f"the function of a mapping: {error.message}") from None


async def _function(client: Any, arn: str, found: _Found) -> KnownFunction:
    """What is known of a function; nothing of it keeps a config from being made."""
    try:
        config = await client.get_function_configuration(FunctionName=arn)
    except CallErrors as error:
        if code_of(error) == NO_SUCH_OPERATION:
            found.mappings_only = True
        return KnownFunction(arn=arn, why_unknown=reason_of(error))
    try:
        reserved = await client.get_function_concurrency(FunctionName=parse_function(arn).name)
    except CallErrors:
        reserved = {}
    return KnownFunction(
        arn=arn,
        handler=config.get("Handler"),
        runtime=config.get("Runtime"),
        timeout=config.get("Timeout"),
        concurrency=reserved.get("ReservedConcurrentExecutions") or None,
    )
