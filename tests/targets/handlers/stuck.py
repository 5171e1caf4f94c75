"""A handler whose runtime hangs behind its first answer."""

import os
import time

from awslambdaric.lambda_runtime_client import LambdaRuntimeClient

wait_next_invocation = LambdaRuntimeClient.wait_next_invocation
events = []


def wait_once(client):
    if events:
        time.sleep(60)
    return wait_next_invocation(client)


LambdaRuntimeClient.wait_next_invocation = wait_once


def handler(event, context):
    events.append(event)
    return os.getpid()
