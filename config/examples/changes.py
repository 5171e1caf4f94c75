"""A function for a table's stream: prints each change, and stops at the first without keys."""

from typing import Any


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    for record in event["Records"]:
        change = record["dynamodb"]
        if not change.get("Keys"):
            return {"batchItemFailures": [{"itemIdentifier": change["SequenceNumber"]}]}
        print(record["eventName"], change["Keys"])  # noqa: T201 - its output is the point
    return {"batchItemFailures": []}
