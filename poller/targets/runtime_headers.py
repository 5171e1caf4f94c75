"""The headers with which an invocation is handed to a runtime (spec 12.2)."""

from __future__ import annotations

import base64
import binascii
import json

from poller.interfaces import Invocation


def invocation_headers(invocation: Invocation, deadline_ms: int) -> str:
    """Whole lines, each with its CRLF.

    There is no Lambda-Runtime-Cognito-Identity: only callers of AWS itself have one.
    """
    headers = (
        f"Lambda-Runtime-Aws-Request-Id: {invocation.request_id}\r\n"
        f"Lambda-Runtime-Deadline-Ms: {deadline_ms}\r\n"
        f"Lambda-Runtime-Invoked-Function-Arn: {invocation.function_arn}\r\n"
    )
    trace_id = invocation.trace_id
    if trace_id and trace_id.isprintable():  # it comes from outside: no line of its own
        headers += f"Lambda-Runtime-Trace-Id: {trace_id}\r\n"
    if invocation.client_context:
        context = client_context(invocation.client_context)
        headers += f"Lambda-Runtime-Client-Context: {context}\r\n" if context else ""
    return headers


def client_context(given: str) -> str:
    """The JSON that `given` is the base64 of, fit for one line; empty if it is none.

    It is handed on as it is where it is plain text, else as the same JSON in ASCII.
    """
    try:
        text = base64.b64decode(given, validate=True).decode()
        read = json.loads(text)
    except (binascii.Error, ValueError, RecursionError):
        return ""
    return text if text.isascii() and text.isprintable() else json.dumps(read)
