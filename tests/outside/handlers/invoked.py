"""Handlers that are invoked through the API."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

PATIENCE = 30.0  # only a test that fails waits that long


def echo(event: Any, context: Any) -> dict[str, Any]:
    print("echoing")
    client = context.client_context
    return {
        "event": event,
        "request_id": context.aws_request_id,
        "arn": context.invoked_function_arn,
        "version": context.function_version,
        "custom": client.custom if client else None,
    }


def same(event: Any, context: Any) -> Any:
    return event


def fail(event: Any, context: Any) -> None:
    raise ValueError("not this one")


def hold(event: dict[str, Any], context: Any) -> str:
    """Say that it runs, and run until it is let go; records are no reason to stay."""
    if "Records" in event:
        return ""
    folder, name = Path(event["folder"]), event["name"]
    (folder / f"{name}.runs").touch()
    give_up_at = time.monotonic() + PATIENCE
    while not (folder / f"{name}.go").exists():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)
    (folder / f"{name}.ended").touch()
    return name
