"""A handler in a package: what it was given and told, back again."""

import os


def handler(event, context):
    return {
        "event": event,
        "request_id": context.aws_request_id,
        "arn": context.invoked_function_arn,
        "remaining_ms": context.get_remaining_time_in_millis(),
        "name": context.function_name,
        "version": context.function_version,
        "memory": context.memory_limit_in_mb,
        "log_group": context.log_group_name,
        "log_stream": context.log_stream_name,
        "folder": os.getcwd(),
        "pid": os.getpid(),
        "environment": dict(os.environ),
    }
