"""What each response of an HTTP function means, row by row of the contract."""

from __future__ import annotations

import json
from collections.abc import Mapping
from email.utils import formatdate

import pytest

from poller.interfaces import Errored, NotReached, Ran, Reply
from poller.targets.http_replies import RETRY_AFTER_MAX, read_emulator_reply, read_reply
from poller.transport.http1 import HttpReply

NOW = 1_700_000_000.0
ERROR = json.dumps({"errorType": "ValueError", "errorMessage": "no", "stackTrace": []}).encode()


EXITED = b'{"errorType":"Runtime.ExitError","errorMessage":"exit status 1"}'


def throttled(status: int, retry_after: float | None = None) -> NotReached:
    return NotReached(f"the endpoint throttles (status {status})", True, retry_after)


ROWS: list[tuple[int, Mapping[str, str], bytes, Reply]] = [
    (200, {}, b'{"a":1}', Ran(b'{"a":1}')),
    (200, {}, b"", Ran(b"")),
    (200, {}, ERROR, Ran(ERROR)),  # it may well return such an object
    (204, {}, b"", Ran(b"")),
    (299, {}, b"x", Ran(b"x")),
    (200, {"x-amz-function-error": "Unhandled"}, ERROR, Errored("ValueError", "no", payload=ERROR)),
    (200, {"x-amz-function-error": "Handled"}, ERROR,
     Errored("ValueError", "no", "Handled", payload=ERROR)),
    (200, {"x-amz-function-error": ""}, b"",
     Errored("Unhandled", "the endpoint answered with status 200")),
    (200, {"x-amz-function-error": "x"}, b"it\nbroke", Errored("Unhandled", "it broke", "x")),
    (200, {"x-amz-function-error": "x"}, b'["errorType","errorMessage"]',
     Errored("Unhandled", '["errorType","errorMessage"]', "x")),
    (200, {"x-amz-function-error": "x"}, b'{"errorType""errorMessage"',
     Errored("Unhandled", '{"errorType""errorMessage"', "x")),
    (302, {"location": "/"}, b"",
     Errored("Endpoint.Status302", "the endpoint answered with status 302")),
    (400, {}, b"bad", Errored("Endpoint.Status400", "bad")),
    (404, {}, b"\xff", Errored("Endpoint.Status404", "\ufffd")),
    (500, {}, ERROR, Errored("ValueError", "no", payload=ERROR)),
    (502, {}, b"", Errored("Endpoint.Status502", "the endpoint answered with status 502")),
    (504, {}, b"x" * 5000, Errored("Endpoint.Status504", "x" * 1000)),
    (429, {}, b"", throttled(429)),
    (503, {}, b"busy", throttled(503)),
    (429, {"retry-after": "7"}, b"", throttled(429, 7.0)),
    (503, {"retry-after": "0"}, b"", throttled(503, 0.0)),
    (503, {"retry-after": formatdate(NOW + 30, usegmt=True)}, b"", throttled(503, 30.0)),
    (503, {"retry-after": formatdate(NOW - 30, usegmt=True)}, b"", throttled(503, 0.0)),
    (503, {"retry-after": "9" * 400}, b"", throttled(503, RETRY_AFTER_MAX)),
    (503, {"retry-after": "soon"}, b"", throttled(503)),
    (503, {"retry-after": "-1"}, b"", throttled(503)),
    (503, {"retry-after": "1.5"}, b"", throttled(503)),
]  # fmt: skip

EMULATOR_ROWS: list[tuple[int, bytes, Reply]] = [
    (200, b'{"a":1}', Ran(b'{"a":1}')),
    (200, b"", Ran(b"")),
    (200, ERROR, Errored("ValueError", "no", payload=ERROR)),
    (200, b'{"errorMessage":"no"}', Ran(b'{"errorMessage":"no"}')),
    (200, b'[{"errorType":"a","errorMessage":"b"}]',
     Ran(b'[{"errorType":"a","errorMessage":"b"}]')),
    (200, b'{"x":{"errorType":"a","errorMessage":"b"}}',
     Ran(b'{"x":{"errorType":"a","errorMessage":"b"}}')),
    (200, b"Task timed out after 3.00 seconds",
     Errored("Sandbox.Timedout", "Task timed out after 3.00 seconds")),
    (200, b'"Task timed out after 3.00 seconds"', Ran(b'"Task timed out after 3.00 seconds"')),
    (400, b"", NotReached("the emulator is busy with another invocation", True)),
    (429, b"", throttled(429)),
    (500, b"", Errored("Endpoint.Status500", "the endpoint answered with status 500")),
    (502, EXITED, Errored("Runtime.ExitError", "exit status 1", payload=EXITED)),
    (502, b"", Errored("Runtime.ExitError", "the runtime exited before it was ready")),
    (504, b"", NotReached("the emulator could not begin the invocation (status 504)")),
]  # fmt: skip


@pytest.mark.parametrize(("status", "headers", "body", "expected"), ROWS)
def test_a_response_means_what_the_contract_says(
    status: int, headers: Mapping[str, str], body: bytes, expected: Reply
) -> None:
    assert read_reply(HttpReply(status, headers, body), NOW) == expected


@pytest.mark.parametrize(("status", "body", "expected"), EMULATOR_ROWS)
def test_an_emulators_response_means_what_emulators_mean(
    status: int, body: bytes, expected: Reply
) -> None:
    assert read_emulator_reply(HttpReply(status, {}, body), NOW) == expected
