"""Lambda's START, END and REPORT lines."""

from __future__ import annotations

from poller.targets.log_frames import end_line, report_line, start_line

ID = "8f5a3c1e-0000-4000-8000-000000000000"


def test_lines_are_lambdas() -> None:
    assert start_line(ID, "$LATEST") == f"START RequestId: {ID} Version: $LATEST"
    assert end_line(ID) == f"END RequestId: {ID}"
    assert report_line(ID, duration=0.0123, memory=128, memory_used=35, init_duration=0.1) == (
        f"REPORT RequestId: {ID}\tDuration: 12.30 ms\tBilled Duration: 13 ms\tMemory Size: 128 MB"
        "\tMax Memory Used: 35 MB\tInit Duration: 100.00 ms\t"
    )


def test_what_is_not_known_is_left_out() -> None:
    line = report_line(ID, duration=1.0, memory=None)
    assert line == f"REPORT RequestId: {ID}\tDuration: 1000.00 ms\tBilled Duration: 1000 ms\t"
