"""The lines with which Lambda frames what a function prints: START, END and REPORT."""

from __future__ import annotations

from datetime import UTC, datetime
from math import ceil

from poller.core.model import Instant, Seconds


def start_line(request_id: str, version: str) -> str:
    return f"START RequestId: {request_id} Version: {version}"


def end_line(request_id: str) -> str:
    return f"END RequestId: {request_id}"


def report_line(
    request_id: str,
    *,
    duration: Seconds,
    memory: int | None,
    memory_used: int | None = None,
    init_duration: Seconds | None = None,
) -> str:
    """`memory` and `memory_used` are MB; what is None is not known and left out."""
    milliseconds = duration * 1000
    fields = [
        f"REPORT RequestId: {request_id}",
        f"Duration: {milliseconds:.2f} ms",
        f"Billed Duration: {ceil(milliseconds)} ms",
    ]
    if memory is not None:
        fields.append(f"Memory Size: {memory} MB")
    if memory_used is not None:
        fields.append(f"Max Memory Used: {memory_used} MB")
    if init_duration is not None:
        fields.append(f"Init Duration: {init_duration * 1000:.2f} ms")
    return "\t".join(fields) + "\t"


def timeout_line(request_id: str, *, at: Instant, message: str) -> str:
    """`message`: that the task timed out, and after how long."""
    time = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return f"{time.replace('+00:00', 'Z')} {request_id} {message}"
