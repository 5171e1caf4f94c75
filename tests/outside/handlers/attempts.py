"""A handler that notes its pid and its records in a folder, and hangs in its first invocation."""

import base64
import json
import os
import pathlib
import time


def handler(event, context):
    folder = pathlib.Path(os.environ["ATTEMPTS"])
    number = len(list(folder.glob("*.json")))
    items = [base64.b64decode(record["kinesis"]["data"]).decode() for record in event["Records"]]
    print("got", *items, flush=True)
    part = folder / "part"
    part.write_text(json.dumps({"pid": os.getpid(), "items": items, "id": context.aws_request_id}))
    part.rename(folder / f"{number}.json")
    if number == 0:
        time.sleep(300)
