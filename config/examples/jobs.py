"""A function for a queue: prints each message, and reports those that it cannot read."""

import json
import os
from typing import Any

GREETING = os.environ.get("GREETING", "job")


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    failed = []
    for message in event["Records"]:
        try:
            print(GREETING, json.loads(message["body"]))  # noqa: T201 - its output is the point
        except ValueError:
            failed.append({"itemIdentifier": message["messageId"]})
    return {"batchItemFailures": failed}
