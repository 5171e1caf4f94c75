"""A handler for tests: it forwards its event to FORWARD_TO and returns what that says.

What it knows of its context goes along in the header X-Context, its process in X-Runtime; a reply
with X-Amz-Function-Error is raised.  Without FORWARD_TO it waits for WAIT_MS milliseconds.
"""

import json
import os
import time
import urllib.request

CONTEXT = (
    "function_name",
    "function_version",
    "memory_limit_in_mb",
    "log_group_name",
    "log_stream_name",
    "aws_request_id",
    "invoked_function_arn",
)


def handler(event, context):
    url = os.environ.get("FORWARD_TO")
    if url is None:
        time.sleep(float(os.environ.get("WAIT_MS", "0")) / 1000)
        return None
    headers = {"X-Runtime": str(os.getpid()), "X-Context": json.dumps(context_of(context))}
    request = urllib.request.Request(url, json.dumps(event).encode(), headers)
    with urllib.request.urlopen(request) as reply:
        text = reply.read().decode()
        if "X-Amz-Function-Error" in reply.headers:
            raise RuntimeError(text)
    return json.loads(text) if text else None


def context_of(context):
    client = context.client_context
    return {name: getattr(context, name) for name in CONTEXT} | {
        "remaining": context.get_remaining_time_in_millis(),
        "trace_id": os.environ.get("_X_AMZN_TRACE_ID"),
        "identity": [
            context.identity.cognito_identity_id,
            context.identity.cognito_identity_pool_id,
        ],
        "client_context": client
        and {
            "custom": client.custom,
            "env": client.env,
            "app_title": client.client and client.client.app_title,
        },
    }
