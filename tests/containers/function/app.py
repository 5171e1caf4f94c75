"""The function of these tests: notes each record once it is done with it, which takes a while."""

import base64
import json
import os
import subprocess
import time

SEEN = os.environ.get("SEEN", "/seen/records")
SECONDS = float(os.environ.get("SECONDS_EACH", "0.2"))  # of an invocation


def handler(event, context):
    time.sleep(SECONDS)
    lines = [
        json.dumps(
            [each["kinesis"]["partitionKey"], int(base64.b64decode(each["kinesis"]["data"]))]
        )
        for each in event["Records"]
    ]
    with open(SEEN, "a") as file:
        file.write("".join(f"{line}\n" for line in lines))
    return {"batchItemFailures": []}


def leaving_children_behind(event, context):
    subprocess.run(["/bin/sh", "-c", "sleep 0.1 & sleep 0.2 &"], check=True)
    return handler(event, context)
