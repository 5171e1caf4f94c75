"""Mappings made, changed and deleted through the Lambda API of a running poller, by boto3.

uuid = created(running, EventSourceArn=..., FunctionName="orders", BatchSize=5)
changed(running, uuid, Enabled=False)
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from tests.outside.lambda_api import await_gone
from tests.outside.poller_process import Running
from tests.servers import aws
from tests.waiting import eventually

SETTLED = frozenset({"Enabled", "Disabled"})
STATE_TIMEOUT = 60.0  # what runs may end first


def api(running: Running) -> Any:
    """The boto3 client of a running poller."""
    return aws("lambda", running.address)


def created(running: Running, **request: Any) -> str:
    """The UUID of a new mapping, once it is in the state that was asked for."""
    uuid = str(api(running).create_event_source_mapping(**request)["UUID"])
    settled(running, uuid)
    return uuid


def changed(running: Running, uuid: str, **request: Any) -> dict[str, Any]:
    """The mapping once the change is in force."""
    api(running).update_event_source_mapping(UUID=uuid, **request)
    return settled(running, uuid)


def settled(running: Running, uuid: str, states: Collection[str] = SETTLED) -> dict[str, Any]:
    """The mapping once it is in one of `states`."""

    def found() -> dict[str, Any] | None:
        mapping: dict[str, Any] = api(running).get_event_source_mapping(UUID=uuid)
        return mapping if mapping["State"] in states else None

    return eventually(found, STATE_TIMEOUT)


def deleted(running: Running, uuid: str) -> None:
    """Delete a mapping, and return once it is gone."""
    api(running).delete_event_source_mapping(UUID=uuid)
    await_gone(api(running), uuid, STATE_TIMEOUT)
