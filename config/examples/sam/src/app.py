"""The function of the template: prints what it gets from each kind of source."""

import base64
import os
from typing import Any

STAGE = os.environ["STAGE"]


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    for record in event["Records"]:
        print(STAGE, text_of(record))  # noqa: T201 - its output is the point
    return {"batchItemFailures": []}


def text_of(record: dict[str, Any]) -> str:
    match record["eventSource"]:
        case "aws:kinesis":
            return "order " + base64.b64decode(record["kinesis"]["data"]).decode()
        case "aws:dynamodb":
            return "user " + str(record["dynamodb"]["Keys"]["id"]["S"])
        case _:
            return "job " + str(record["body"])
