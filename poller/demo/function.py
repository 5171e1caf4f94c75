"""The demo's function: it keeps a ledger of what it did, and sometimes fails.

Items are `{"id": ..., "mood": ...}`; a `flaky` one fails now and then, a `poison` one always.
This is an ordinary Lambda handler, and runs in processes of its own.
"""

from __future__ import annotations

import base64
import json
import os
import random
from collections.abc import Iterable
from typing import Any

FLAKY_SHARE = 0.5  # of the tries of a flaky item


class ItemFailed(Exception):
    """One item could not be processed."""


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Process a batch of any source."""
    records = event["Records"]
    if records[0]["eventSource"] == "aws:sqs":
        return _process_messages(records)
    items = [_item(record) for record in records]
    for item in items:
        if _fails(item):
            raise ItemFailed(f"item {item['id']} is {item['mood']}")
    _note(item["id"] for item in items)
    return {}


def _process_messages(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Queues get a partial response; a FIFO batch stops at its first failure to keep order."""
    failed: list[str] = []
    for record in records:
        in_order = "MessageGroupId" in record["attributes"]
        item = json.loads(record["body"])
        if (failed and in_order) or _fails(item):
            failed.append(record["messageId"])
        else:
            _note([item["id"]])
    return {"batchItemFailures": [{"itemIdentifier": name} for name in failed]}


def _item(record: dict[str, Any]) -> dict[str, Any]:
    if record["eventSource"] == "aws:kinesis":
        item: dict[str, Any] = json.loads(base64.b64decode(record["kinesis"]["data"]))
        return item
    image = record["dynamodb"]["NewImage"]
    return {"id": image["id"]["S"], "mood": image["mood"]["S"]}


def _fails(item: dict[str, Any]) -> bool:
    mood = item["mood"]
    return mood == "poison" or (mood == "flaky" and random.random() < FLAKY_SHARE)


def _note(names: Iterable[str]) -> None:
    """Append to the ledger in one write, so that processes do not mix their lines."""
    lines = "".join(f"{name}\n" for name in names).encode()
    ledger = os.open(os.environ["DEMO_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(ledger, lines)
    finally:
        os.close(ledger)
