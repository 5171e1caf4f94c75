"""The Extensions API over real sockets: extensions start, are told of invocations and the end."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from poller.interfaces import Ran
from poller.targets import runtime_extensions
from tests.targets.attached import NOW, Place, attaching, taken
from tests.targets.runtimes import ARN, Answer, Runtime, connected, invocation, response_path

REGISTER = "/2020-01-01/extension/register"
NEXT_EVENT = "/2020-01-01/extension/event/next"
INIT_ERROR = "/2020-01-01/extension/init/error"
EXIT_ERROR = "/2020-01-01/extension/exit/error"
TELEMETRY = "/2022-07-01/telemetry"
LOGS = "/2020-08-15/logs"
NAME = "Lambda-Extension-Name: watcher\r\n"
TYPE = "Lambda-Extension-Function-Error-Type: Extension.Broken\r\n"
UNKNOWN = f"Lambda-Extension-Identifier: {uuid.UUID(int=1)}\r\n"
BOTH = b'{"events": ["INVOKE", "SHUTDOWN"]}'


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with attaching(timeout=3.0) as opened:
        yield opened


async def registered(extension: Runtime, events: bytes = BOTH) -> str:
    """The header by which it is known."""
    answer = await extension.call("POST", REGISTER, events, NAME)
    return f"Lambda-Extension-Identifier: {answer.headers['lambda-extension-identifier']}\r\n"


async def test_an_extension_learns_what_it_extends(place: Place) -> None:
    async with connected(place.address) as extension:
        answer = await extension.call("POST", REGISTER, BOTH, NAME)

    assert answer.status == 200
    assert json.loads(answer.body) == {
        "functionName": "orders",
        "functionVersion": "$LATEST",
        "handler": "",
    }
    assert uuid.UUID(answer.headers["lambda-extension-identifier"])


@pytest.mark.proves("S12.2.extensions")
async def test_an_extension_is_told_of_invocations_and_of_the_end() -> None:
    what = invocation()
    async with AsyncExitStack() as later:
        async with attaching(timeout=3.0) as place:
            extension = await later.enter_async_context(connected(place.address))
            runtime = await later.enter_async_context(connected(place.address))
            header = await registered(extension)
            extension.ask("GET", NEXT_EVENT, headers=header)
            task = await taken(place.function, runtime, what)
            told = await extension.answer()
            await runtime.call("POST", response_path(what.request_id))
            assert await task == Ran(b"")
            extension.ask("GET", NEXT_EVENT, headers=header)
            await runtime.call("GET", "/ping")
        end = await extension.answer()
        assert await extension.end() == b""

    assert uuid.UUID(told.headers["lambda-extension-event-identifier"])
    assert json.loads(told.body) == {
        "eventType": "INVOKE",
        "deadlineMs": int((NOW + 3) * 1000),
        "requestId": what.request_id,
        "invokedFunctionArn": ARN,
        "tracing": {"type": "X-Amzn-Trace-Id", "value": what.trace_id},
    }
    assert json.loads(end.body) == {
        "eventType": "SHUTDOWN",
        "deadlineMs": int((NOW + 2) * 1000),
        "shutdownReason": "spindown",
    }


async def test_events_wait_for_an_extension_that_is_busy_up_to_a_bound(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime_extensions, "EVENTS_MAX", 2)
    whats = [invocation() for _ in range(3)]
    async with connected(place.address) as extension, connected(place.address) as runtime:
        header = await registered(extension)
        for what in whats:
            task = await taken(place.function, runtime, what)
            await runtime.call("POST", response_path(what.request_id))
            await task
        told = [await extension.call("GET", NEXT_EVENT, headers=header) for _ in range(2)]

    said = [json.loads(answer.body)["requestId"] for answer in told]
    assert said == [what.request_id for what in whats[1:]]


async def test_an_extension_is_told_of_nothing_that_it_did_not_ask_for() -> None:
    what = invocation()
    async with AsyncExitStack() as later:
        async with attaching() as place, connected(place.address) as runtime:
            extension = await later.enter_async_context(connected(place.address))
            header = await registered(extension, b'{"events": ["SHUTDOWN"]}')
            extension.ask("GET", NEXT_EVENT, headers=header)
            task = await taken(place.function, runtime, what)
            await runtime.call("POST", response_path(what.request_id))
            await task
        event = json.loads((await extension.answer()).body)

    assert event["eventType"] == "SHUTDOWN"


async def test_an_extension_that_asks_anew_is_answered_there(place: Place) -> None:
    what = invocation()
    async with connected(place.address) as first, connected(place.address) as second:
        header = await registered(first)
        first.ask("GET", NEXT_EVENT, headers=header)
        await second.call("GET", "/ping")
        second.ask("GET", NEXT_EVENT, headers=header)
        assert await first.end() == b""
        async with connected(place.address) as runtime:
            task = await taken(place.function, runtime, what)
            event = json.loads((await second.answer()).body)
            await runtime.call("POST", response_path(what.request_id))
            await task

    assert event["requestId"] == what.request_id


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status", "error"),
    [
        ("POST", REGISTER, "", BOTH, 403, "Extension.InvalidExtensionName"),
        ("POST", REGISTER, NAME, b"", 403, "InvalidRequestFormat"),
        ("POST", REGISTER, NAME, b"[" * 100_000, 403, "InvalidRequestFormat"),
        ("POST", REGISTER, NAME, b'{"events": [1]}', 403, "InvalidRequestFormat"),
        ("POST", REGISTER, NAME, b'{"configurationKeys": ["a"]}', 403, "InvalidRequestFormat"),
        ("POST", REGISTER, NAME, b'{"events": ["RESTORE"]}', 403, "Extension.InvalidEventType"),
        ("GET", REGISTER, NAME, b"", 405, "MethodNotAllowed"),
        ("GET", NEXT_EVENT, "", b"", 403, "Extension.MissingExtensionIdentifier"),
        ("GET", NEXT_EVENT, "Lambda-Extension-Identifier: x\r\n", b"", 403,
         "Extension.InvalidExtensionIdentifier"),
        ("GET", NEXT_EVENT, UNKNOWN, b"", 403, "Extension.UnknownExtensionIdentifier"),
        ("POST", NEXT_EVENT, UNKNOWN, b"", 405, "MethodNotAllowed"),
        ("POST", INIT_ERROR, UNKNOWN + TYPE, b"", 403, "Extension.UnknownExtensionIdentifier"),
        ("POST", EXIT_ERROR, "", b"", 403, "Extension.MissingExtensionIdentifier"),
        ("PUT", TELEMETRY, UNKNOWN, b"{}", 202, "Telemetry.NotSupported"),
        ("PUT", LOGS, UNKNOWN, b"{}", 202, "Logs.NotSupported"),
        ("GET", LOGS, UNKNOWN, b"", 405, "MethodNotAllowed"),
        ("GET", "/2020-01-01/extension/else", UNKNOWN, b"", 404, "NotFound"),
    ],
)  # fmt: skip
async def test_a_wrong_request_is_told_so_in_the_words_of_aws(
    place: Place, *, method: str, path: str, headers: str, body: bytes, status: int, error: str
) -> None:
    async with connected(place.address) as extension:
        answer = await extension.call(method, path, body, headers)

    assert (answer.status, answer.error) == (status, error)


@pytest.mark.proves("S12.2.telemetry")
async def test_errors_of_extensions_are_told_and_end_them(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(place.address) as extension:
        header = await registered(extension)
        answers = [
            await extension.call("POST", INIT_ERROR, b"", header),
            await extension.call("POST", INIT_ERROR, b"", header + TYPE),
            await extension.call("POST", EXIT_ERROR, b"", header + TYPE),
            await extension.call("GET", NEXT_EVENT, b"", header),
            await extension.call("PUT", TELEMETRY, b"{}", header),
            await extension.call("PUT", TELEMETRY, b"{}", header),
        ]

    assert [outcome(answer) for answer in answers] == [
        (403, "Extension.MissingHeader"),
        (202, ""),
        (403, "Extension.InvalidExtensionState"),
        (403, "Extension.InvalidExtensionState"),
        (202, "Telemetry.NotSupported"),
        (202, "Telemetry.NotSupported"),
    ]
    assert [record.getMessage() for record in caplog.records] == [
        "function orders: the extension 'watcher' reports InitError: 'Extension.Broken'",
        "function orders: an extension asks for the Telemetry API, which there is not here",
    ]


async def test_extensions_are_bounded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_extensions, "EXTENSIONS_MAX", 1)
    async with connected(place.address) as first, connected(place.address) as second:
        forgotten = await registered(first)
        first.ask("GET", NEXT_EVENT, headers=forgotten)
        await registered(second)
        assert await first.end() == b""
        answer = await second.call("GET", NEXT_EVENT, headers=forgotten)

    assert answer.error == "Extension.UnknownExtensionIdentifier"


def outcome(answer: Answer) -> tuple[int, str]:
    accepted = answer.body == b'{"status":"OK"}\n'
    return answer.status, "" if accepted else answer.error
