"""Lambda's API at a poller that runs: as boto3 sees it, as bytes, and what AWS would reply.

api = aws("lambda", running.address)
made = api.create_event_source_mapping(EventSourceArn=queue.arn, FunctionName="orders")
assert told(made, 202) == queue_mapping(made, queue.arn, "orders", State="Creating")
assert refused(api.get_event_source_mapping, UUID=NOBODY) == user_error(404, ...)
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from tests.waiting import TIMEOUT, eventually

REGION, ACCOUNT = "us-east-1", "000000000000"
MAPPINGS = "/2015-03-31/event-source-mappings"
TAGS = "/2017-03-31/tags"
NOBODY = "00000000-0000-4000-8000-000000000000"  # the UUID of no mapping
NOT_FOUND = "The resource you requested does not exist."
CLOCK_SLACK = 120.0
REPLY_TIMEOUT = 60.0

Reply = Mapping[str, Any]


def function_arn(name: str) -> str:
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"


def mapping_arn(uuid: str) -> str:
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:event-source-mapping:{uuid}"


# Replies of boto3.


def told(reply: Reply, status: int) -> dict[str, Any]:
    """What a reply of this status says."""
    assert reply["ResponseMetadata"]["HTTPStatusCode"] == status
    return {name: value for name, value in reply.items() if name != "ResponseMetadata"}


def refused(call: Callable[..., Any], **parameters: Any) -> dict[str, Any]:
    """What boto3 makes of the error reply, with its status."""
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    response: Reply = caught.value.response
    status = response["ResponseMetadata"]["HTTPStatusCode"]
    return {**told(response, status), "status": status}


def user_error(status: int, code: str, message: str) -> dict[str, Any]:
    """An error as recorded and modelled: the message's key differs from error to error."""
    key = (
        "Message" if code in {"ResourceNotFoundException", "ResourceInUseException"} else "message"
    )
    error = {"Code": code, "Message": message}
    return {"Error": error, "Type": "User", key: message, "status": status}


def invalid(message: str) -> dict[str, Any]:
    return user_error(400, "InvalidParameterValueException", message)


def violation(message: str) -> dict[str, Any]:
    """ValidationException has no Type."""
    return {"Error": {"Code": "ValidationException", "Message": message}, "status": 400}


def stream_mapping(reply: Reply, source: str, function: str, **changed: Any) -> dict[str, Any]:
    """The 18 fields of a stream's mapping; `reply` says what only it can know."""
    return {
        **_of_any(reply, source, function),
        "BatchSize": 100,
        "BisectBatchOnFunctionError": False,
        "DestinationConfig": {"OnFailure": {}},
        "LastProcessingResult": "No records processed",
        "MaximumRecordAgeInSeconds": -1,
        "MaximumRetryAttempts": -1,
        "ParallelizationFactor": 1,
        "StartingPosition": "TRIM_HORIZON",
        "StateTransitionReason": "User action",
        "TumblingWindowInSeconds": 0,
        **changed,
    }


def queue_mapping(reply: Reply, source: str, function: str, **changed: Any) -> dict[str, Any]:
    """The 10 fields of a queue's mapping."""
    return {
        **_of_any(reply, source, function),
        "BatchSize": 10,
        "StateTransitionReason": "USER_INITIATED",
        **changed,
    }


def _of_any(reply: Reply, source: str, function: str) -> dict[str, Any]:
    assert abs(reply["LastModified"].timestamp() - time.time()) < CLOCK_SLACK
    return {
        "EventSourceArn": source,
        "EventSourceMappingArn": mapping_arn(reply["UUID"]),
        "FunctionArn": function_arn(function),
        "FunctionResponseTypes": [],
        "LastModified": reply["LastModified"],
        "MaximumBatchingWindowInSeconds": 0,
        "UUID": reply["UUID"],
    }


# Waiting, as Terraform does.


def await_state(api: Any, uuid: str, state: str, timeout: float = TIMEOUT) -> dict[str, Any]:
    """What Get says once the mapping is in this state."""

    def reached() -> dict[str, Any] | None:
        found = told(api.get_event_source_mapping(UUID=uuid), 200)
        return found if found["State"] == state else None

    reached.__qualname__ = f"mapping that is {state}"
    return eventually(reached, timeout)


def await_gone(api: Any, uuid: str, timeout: float = TIMEOUT) -> None:
    """Return once Get says that there is no such mapping; until then it is Deleting."""

    def gone() -> bool:
        try:
            state = api.get_event_source_mapping(UUID=uuid)["State"]
        except api.exceptions.ResourceNotFoundException:
            return True
        assert state == "Deleting"
        return False

    eventually(gone, timeout)


def listed(api: Any, **parameters: Any) -> list[dict[str, Any]]:
    """All pages."""
    pages = api.get_paginator("list_event_source_mappings").paginate(**parameters)
    return [mapping for page in pages for mapping in page["EventSourceMappings"]]


def uuids(api: Any, **parameters: Any) -> list[str]:
    return [mapping["UUID"] for mapping in listed(api, **parameters)]


# Bytes.


@dataclass(frozen=True, slots=True)
class Raw:
    """A reply as it was sent."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        assert self.headers["content-type"].partition(";")[0] == "application/json"
        return json.loads(self.body)


def raw(
    address: str, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] = {}
) -> Raw:
    """The reply to one request on a connection of its own."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=REPLY_TIMEOUT)
    try:
        connection.request(method, path, body or None, dict(headers))
        reply = connection.getresponse()
        named = {name.lower(): value for name, value in reply.getheaders()}
        return Raw(reply.status, named, reply.read())
    finally:
        connection.close()
