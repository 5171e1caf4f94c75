"""What a message says beside its body: of a dead letter the error, of a record the trace."""

from __future__ import annotations

from typing import Any

from poller.interfaces import Failure


def attributes(failure: Failure) -> dict[str, Any]:
    """The MessageAttributes of a message, as a member of SendMessage and Publish; perhaps none."""
    if failure.notice is None or not failure.notice.attributes:
        return {}
    return {
        "MessageAttributes": {
            name: {"DataType": kind, "StringValue": value}
            for name, kind, value in failure.notice.attributes
        }
    }


def trace(failure: Failure) -> dict[str, Any]:
    """AWSTraceHeader, which records carry to a queue; dead letters do not."""
    notice = failure.notice
    if notice is None or notice.dead_letter or not notice.trace_id:
        return {}
    header = {"DataType": "String", "StringValue": notice.trace_id}
    return {"MessageSystemAttributes": {"AWSTraceHeader": header}}
