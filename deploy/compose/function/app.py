"""A Lambda function as it is deployed: prints the orders of a batch."""

import base64
import json


def handler(event, context):
    orders = [json.loads(base64.b64decode(each["kinesis"]["data"])) for each in event["Records"]]
    print(json.dumps({"request": context.aws_request_id, "orders": orders}), flush=True)
    return {"batchItemFailures": []}
