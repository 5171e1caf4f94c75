"""Lambda's Invoke over real connections: functions of these tests behind the real routes."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import ClientSession
from hypothesis import example, given
from hypothesis import strategies as st

from poller.control.admission import Admission
from poller.control.invoke_api import invoke_routes
from poller.control.invoke_requests import check_event
from poller.control.invoking import Callee, Invoking
from poller.control.refusals import Refusal
from poller.control.server import make_app, serve
from poller.core.policy import PAYLOAD_BYTES_MAX
from poller.errors import QueueFull, StateError
from poller.interfaces import EVENT_BYTES_MAX, Errored, Invocation, NotReached, Ran, Reply
from poller.targets.limited import OWN_REASON, TOTAL_REASON
from poller.wire.arns import FunctionReference
from tests.waiting import soon

ARN = "arn:aws:lambda:us-east-1:123456789012:function:"
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@dataclass
class Function:
    """A Target; `reply` is what it comes to, once it is `opened`."""

    reply: Reply = field(default_factory=lambda: Ran(b'{"ok": true}'))
    got: list[Invocation] = field(default_factory=list)
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    ended: int = 0

    async def invoke(self, invocation: Invocation) -> Reply:
        self.got.append(invocation)
        await self.opened.wait()
        self.ended += 1
        return self.reply


@dataclass
class Queue:
    """AsyncInvocations in memory."""

    accepted: list[tuple[str, Invocation]] = field(default_factory=list)
    failure: Exception | None = None

    async def accept(self, function: str, invocation: Invocation) -> None:
        if self.failure is not None:
            raise self.failure
        self.accepted.append((function, invocation))


@dataclass(frozen=True)
class Told:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def refusal(self) -> tuple[int, str, Any]:
        return self.status, self.headers["x-amzn-ErrorType"], json.loads(self.body)


class Plane:
    """`orders`, `orders:live` and `orders:2`, which are one function here."""

    def __init__(self) -> None:
        self.function, self.queue = Function(), Queue()
        self.function.opened.set()
        self.ready = asyncio.Event()
        self.ready.set()
        self.admission = Admission(requests_max=3, bytes_max=2 * PAYLOAD_BYTES_MAX)
        self.invoking = Invoking(self._find, self.queue, now=lambda: 1_700_000_000.0)
        self._address = ("", 0)

    def _find(self, named: FunctionReference) -> Callee:
        declared = named.key in {"orders", "orders:live", "orders:2"}
        ours = named.account in {None, "123456789012"}
        arn = named.arn(region="us-east-1", account=named.account or "123456789012")
        return Callee(arn, self.function if declared and ours else None)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Plane]:
        routes = invoke_routes(self.invoking, self.admission, self.ready.wait)
        async with serve(make_app(routes, loopback=True), "127.0.0.1", 0) as self._address:
            yield self

    async def invoke(
        self, name: str = "orders", body: Any = b"", query: str = "", **headers: str
    ) -> Told:
        path = f"/2015-03-31/functions/{name}/invocations{query}"
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        host, port = self._address
        async with (
            ClientSession() as session,
            session.post(f"http://{host}:{port}{path}", data=body, headers=named) as reply,
        ):
            return Told(reply.status, dict(reply.headers), await reply.read())


@pytest.fixture
async def plane() -> AsyncIterator[Plane]:
    async with Plane().serving() as plane:
        yield plane


# What runs.


async def test_what_the_function_returned_is_the_body_byte_for_byte(plane: Plane) -> None:
    plane.function.reply = Ran(b' {"a" : 1.0,\n"b":"\xc3\xa9"} ')
    told = await plane.invoke(body=b' {"n": 1e400}\n', X_Amzn_Trace_Id=TRACE)
    (got,) = plane.function.got

    assert got == Invocation(b' {"n": 1e400}\n', got.request_id, f"{ARN}orders", TRACE)
    assert (told.status, told.body) == (200, b' {"a" : 1.0,\n"b":"\xc3\xa9"} ')
    assert {name: told.headers[name] for name in told.headers if name.lower().startswith("x-")} == {
        "x-amzn-RequestId": got.request_id,
        "X-Amzn-Trace-Id": TRACE,
        "X-Amz-Executed-Version": "$LATEST",
    }
    assert UUID.fullmatch(got.request_id)


@pytest.mark.parametrize(
    ("reply", "body"),
    [
        (
            Errored("E", "no", payload=b'{"errorType":"E","stackTrace":[]}'),
            {"errorType": "E", "stackTrace": []},
        ),
        (
            Errored("Sandbox.Timedout", "Task timed out after 3.00 seconds"),
            {
                "errorType": "Sandbox.Timedout",
                "errorMessage": "Task timed out after 3.00 seconds",
            },
        ),
    ],
)
async def test_a_function_error_is_a_200_with_its_header_and_the_whole_error(
    plane: Plane, reply: Errored, body: object
) -> None:
    plane.function.reply = reply
    told = await plane.invoke()

    assert (told.status, told.headers["X-Amz-Function-Error"]) == (200, "Unhandled")
    assert json.loads(told.body) == body
    assert told.headers["X-Amz-Executed-Version"] == "$LATEST"


async def test_without_an_event_the_function_gets_an_empty_object(plane: Plane) -> None:
    await plane.invoke()
    assert plane.function.got[0].event == b"{}"


async def test_a_trace_header_that_is_none_is_replaced(plane: Plane) -> None:
    for header in ("garbage", "Root=", "Root=1-\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9"):
        told = await plane.invoke(X_Amzn_Trace_Id=header)
        trace = plane.function.got[-1].trace_id
        assert trace == told.headers["X-Amzn-Trace-Id"]
        assert trace.startswith("Root=1-6553f100-")


@pytest.mark.parametrize(
    ("name", "query", "arn", "version"),
    [
        ("orders", "", "orders", "$LATEST"),
        ("orders", "?Qualifier=", "orders", "$LATEST"),
        ("orders:$LATEST", "", "orders:$LATEST", "$LATEST"),
        ("orders", "?Qualifier=%24LATEST", "orders:$LATEST", "$LATEST"),
        ("orders:live", "", "orders:live", "$LATEST"),
        ("orders%3Alive", "?Qualifier=live", "orders:live", "$LATEST"),
        ("orders", "?Qualifier=2", "orders:2", "2"),
        ("123456789012:function:orders", "", "orders", "$LATEST"),
        (f"{ARN}orders", "?Qualifier=live", "orders:live", "$LATEST"),
        (f"{ARN}orders:2".replace(":", "%3A"), "", "orders:2", "2"),
    ],
)
async def test_a_function_has_the_names_that_it_has_on_aws(
    plane: Plane, name: str, query: str, arn: str, version: str
) -> None:
    told = await plane.invoke(name, query=query)
    assert told.status == 200
    assert plane.function.got[0].function_arn == ARN + arn
    assert told.headers["X-Amz-Executed-Version"] == version


async def test_the_path_may_end_in_a_slash(plane: Plane) -> None:
    assert (await plane.invoke(query="/")).status == 200
    assert (await plane.invoke(query="/?Qualifier=live")).status == 200


async def test_the_log_tail_is_the_last_4_kb_of_what_the_target_knows(plane: Plane) -> None:
    plane.function.reply = Ran(b"1", log=b"START" + b"x" * 5000 + b"END")
    without = await plane.invoke(X_Amz_Log_Type="None")
    told = await plane.invoke(X_Amz_Log_Type="Tail")

    assert "X-Amz-Log-Result" not in without.headers
    assert base64.b64decode(told.headers["X-Amz-Log-Result"]) == b"x" * 4093 + b"END"
    assert [got.log_tail for got in plane.function.got] == [False, True]


async def test_a_target_without_output_has_the_frame_lines_alone(plane: Plane) -> None:
    told = await plane.invoke("orders:2", X_Amz_Log_Type="Tail")
    request_id = told.headers["x-amzn-RequestId"]
    lines = base64.b64decode(told.headers["X-Amz-Log-Result"]).decode().splitlines()

    assert lines[:2] == [
        f"START RequestId: {request_id} Version: 2",
        f"END RequestId: {request_id}",
    ]
    assert lines[2].startswith(f"REPORT RequestId: {request_id}\tDuration: ")
    assert len(lines) == 3


async def test_a_client_context_reaches_the_function_as_it_came(plane: Plane) -> None:
    context = base64.b64encode(b'{"custom": {"a": "b"}}').decode()
    await plane.invoke(X_Amz_Client_Context=context)
    assert plane.function.got[0].client_context == context


@pytest.mark.proves("S12.1.dry-run")
async def test_a_dry_run_finds_the_function_and_runs_nothing(plane: Plane) -> None:
    told = await plane.invoke("orders:live", b"{}", X_Amz_Invocation_Type="DryRun")
    unknown = await plane.invoke("nobody", b"{}", X_Amz_Invocation_Type="DryRun")

    assert (told.status, told.body, unknown.status) == (204, b"", 404)
    assert told.headers["X-Amz-Executed-Version"] == "$LATEST"
    assert plane.function.got == []


# What is queued.


@pytest.mark.proves("S12.4.durable")
async def test_an_event_is_taken_once_it_is_durable_and_has_no_client_context(plane: Plane) -> None:
    told = await plane.invoke(
        f"{ARN}orders:live",
        b"[1]",
        X_Amz_Invocation_Type="Event",
        X_Amz_Log_Type="Tail",
        X_Amz_Client_Context=base64.b64encode(b"{}").decode(),
        X_Amzn_Trace_Id=TRACE,
    )
    request_id = told.headers["x-amzn-RequestId"]

    assert (told.status, told.body) == (202, b"")
    assert plane.queue.accepted == [
        ("orders:live", Invocation(b"[1]", request_id, f"{ARN}orders:live", TRACE))
    ]
    assert plane.function.got == []


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (
            QueueFull("full"),
            (
                429,
                "TooManyRequestsException",
                {"Reason": TOTAL_REASON, "Type": "User", "message": "Rate Exceeded."},
            ),
        ),
        (
            StateError("the disk is full"),
            (500, "ServiceException", {"Type": "Service", "Message": "the disk is full"}),
        ),
    ],
)
async def test_an_event_that_cannot_be_kept_is_refused(
    plane: Plane, failure: Exception, expected: object
) -> None:
    plane.queue.failure = failure
    told = await plane.invoke(X_Amz_Invocation_Type="Event")
    assert told.refusal == expected


# What is refused.


@pytest.mark.parametrize(
    ("reply", "retry_after", "expected"),
    [
        (NotReached("full", True, None, OWN_REASON), "1", {"Reason": OWN_REASON}),
        (NotReached("full", True, 2.5, TOTAL_REASON), "3", {"Reason": TOTAL_REASON}),
        (NotReached("it answered 503", throttled=True), "1", {}),
    ],
)
async def test_a_throttle_is_a_429_with_its_reason(
    plane: Plane, reply: NotReached, retry_after: str, expected: dict[str, str]
) -> None:
    plane.function.reply = reply
    told = await plane.invoke()
    body = {**expected, "Type": "User", "message": "Rate Exceeded."}
    assert told.refusal == (429, "TooManyRequestsException", body)
    assert told.headers["Retry-After"] == retry_after


async def test_a_function_that_cannot_be_reached_is_a_500_that_says_why(plane: Plane) -> None:
    plane.function.reply = NotReached("cannot connect to 127.0.0.1:1: refused\n")
    told = await plane.invoke()
    message = r"cannot connect to 127.0.0.1:1: refused\x0a"
    assert told.refusal == (500, "ServiceException", {"Type": "Service", "Message": message})


Refused = tuple[int, str, dict[str, str]]


def not_found(message: str) -> Refused:
    return 404, "ResourceNotFoundException", {"Type": "User", "Message": message}


def invalid(message: str) -> Refused:
    return 400, "InvalidParameterValueException", {"Type": "User", "message": message}


def bad_content(message: str) -> Refused:
    return 400, "InvalidRequestContentException", {"Type": "User", "message": message}


def violations(*rules: str) -> Refused:
    noun = "error" if len(rules) == 1 else "errors"
    text = f"{len(rules)} validation {noun} detected: {'; '.join(rules)}"
    return 400, "ValidationException", {"message": text}


OTHER_ACCOUNT = "210987654321:function:orders"
FAILED = "failed to satisfy constraint: Member must satisfy"
NO_CONTEXT = bad_content("Client context must be a valid Base64-encoded JSON object.")


@pytest.mark.parametrize(
    ("name", "query", "expected"),
    [
        ("nobody", "", not_found(f"Function not found: {ARN}nobody")),
        (
            OTHER_ACCOUNT,
            "",
            not_found(f"Function not found: arn:aws:lambda:us-east-1:{OTHER_ACCOUNT}"),
        ),
        (
            "orders",
            "?Qualifier=3",
            not_found(
                f"Function not found: {ARN}orders:3. Function does not exist under this qualifier: "
                "declare orders:3."
            ),
        ),
        (
            "orders:live",
            "?Qualifier=2",
            invalid(
                "The derived qualifier from the function name does not match the specified "
                "qualifier."
            ),
        ),
        (
            "orders",
            "?Qualifier=a.b",
            violations(
                f"Value 'a.b' at 'qualifier' {FAILED} regular expression pattern: "
                "(|[a-zA-Z0-9$_-]+)"
            ),
        ),
    ],
)
@pytest.mark.proves("S12.1.refused")
async def test_a_function_that_is_not_declared_is_refused_as_on_aws(
    plane: Plane, name: str, query: str, expected: Refused
) -> None:
    assert (await plane.invoke(name, b"{}", query)).refusal == expected
    assert plane.function.got == []


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (
            {"X_Amz_Invocation_Type": "Sync", "X_Amz_Log_Type": "All"},
            violations(
                f"Value 'Sync' at 'invocationType' {FAILED} enum value set: "
                "[Event, RequestResponse, DryRun]",
                f"Value 'All' at 'logType' {FAILED} enum value set: [None, Tail]",
            ),
        ),
        ({"X_Amz_Client_Context": "e30"}, NO_CONTEXT),
        ({"X_Amz_Client_Context": "e30=\u00e9"}, NO_CONTEXT),
        ({"X_Amz_Client_Context": "MQ=="}, NO_CONTEXT),
        ({"X_Amz_Client_Context": "fQ=="}, NO_CONTEXT),
        (
            {"X_Amz_Client_Context": "e" * 3584},
            bad_content("Client context must be at most 3583 bytes."),
        ),
        (
            {"X_Amz_Tenant_Id": "blue"},
            invalid(
                "The invoked function is not enabled for tenancy configuration. Remove the tenant "
                "ID from your request and try again."
            ),
        ),
        (
            {"X_Amz_Durable_Execution_Name": "once"},
            invalid(
                "The invoked function is not a durable function. Remove the durable execution name "
                "from your request and try again."
            ),
        ),
    ],
)
async def test_a_header_that_cannot_be_followed_is_refused_as_on_aws(
    plane: Plane, headers: dict[str, str], expected: Refused
) -> None:
    assert (await plane.invoke(body=b"{}", **headers)).refusal == expected
    assert plane.function.got == []


@pytest.mark.parametrize("name", ["a%20b", "a%2Fb", "a.b", "n" * 65, "%00", "arn:aws:lambda"])
async def test_what_is_no_name_of_a_function_is_refused(plane: Plane, name: str) -> None:
    status, code, body = (await plane.invoke(name)).refusal
    assert (status, code) == (400, "ValidationException")
    assert "at 'functionName' failed to satisfy constraint" in body["message"]


@pytest.mark.parametrize("body", [b" ", b"x", b'{"a":1,}', b"[" * 5000, b'"\xff"', b"1 2"])
@pytest.mark.proves("S12.1.refused")
async def test_an_event_that_is_not_json_is_refused(plane: Plane, body: bytes) -> None:
    for kind in ("RequestResponse", "Event", "DryRun"):
        told = await plane.invoke(body=body, X_Amz_Invocation_Type=kind)
        status, code, refusal = told.refusal
        assert (status, code) == (400, "InvalidRequestContentException")
        assert refusal["message"].startswith("Could not parse request body into json: ")
    assert plane.function.got == []


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("kind", "limit"), [("RequestResponse", PAYLOAD_BYTES_MAX), ("Event", EVENT_BYTES_MAX)]
)
@pytest.mark.proves("S12.1.refused")
async def test_an_event_may_have_6_mb_or_1_mb_if_it_is_queued_and_no_more(
    plane: Plane, kind: str, limit: int, chunked: bool
) -> None:
    def body(size: int) -> Any:
        event = b'"' + b"x" * (size - 2) + b'"'
        return _pieces(event) if chunked else io.BytesIO(event)

    largest = await plane.invoke(body=body(limit), X_Amz_Invocation_Type=kind)
    told = await plane.invoke(body=body(limit + 1), X_Amz_Invocation_Type=kind)

    assert largest.status in {200, 202}
    message = f"Request must be smaller than {limit} bytes for the InvokeFunction operation"
    assert told.refusal == (413, "RequestTooLargeException", {"Type": "User", "message": message})
    assert len(plane.function.got) + len(plane.queue.accepted) == 1


async def _pieces(event: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(event), 100_000):
        yield event[start : start + 100_000]


async def test_an_event_that_the_function_finds_too_large_is_a_413(plane: Plane) -> None:
    plane.function.reply = NotReached("it takes up to 1 MB", too_large=True)
    told = await plane.invoke()
    body = {"Type": "User", "message": "it takes up to 1 MB"}
    assert told.refusal == (413, "RequestTooLargeException", body)


# Who asks.


async def test_a_request_waits_until_the_functions_are_there(plane: Plane) -> None:
    plane.ready.clear()
    asked = asyncio.ensure_future(plane.invoke())
    done, _ = await asyncio.wait([asked], timeout=0.05)
    assert not done
    plane.ready.set()
    assert (await asked).status == 200


async def test_what_was_asked_for_goes_on_when_the_client_has_gone(plane: Plane) -> None:
    plane.function.opened.clear()
    asked = asyncio.ensure_future(plane.invoke())
    await soon(lambda: len(plane.function.got) == 1)
    asked.cancel()
    await asyncio.wait([asked])
    assert (await plane.invoke("nobody")).status == 404  # the server has seen it go, by now
    plane.function.opened.set()
    await soon(lambda: plane.function.ended == 1)


async def test_a_body_that_breaks_off_runs_nothing_and_frees_its_place(plane: Plane) -> None:
    host, port = plane._address
    for _ in range(4):
        _, writer = await asyncio.open_connection(host, port)
        head = "POST /2015-03-31/functions/orders/invocations HTTP/1.1\r\nHost: localhost\r\n"
        writer.write(f'{head}Content-Length: 9\r\n\r\n{{"a"'.encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    await soon(lambda: plane.admission.requests == 0)
    assert (await plane.invoke()).status == 200
    assert [got.event for got in plane.function.got] == [b"{}"]


async def test_more_requests_than_can_be_held_are_throttled_and_the_others_run_on(
    plane: Plane,
) -> None:
    plane.function.opened.clear()
    asked = [asyncio.ensure_future(plane.invoke()) for _ in range(3)]
    await soon(lambda: len(plane.function.got) == 3)
    told = await plane.invoke()
    plane.function.opened.set()

    body = {"Reason": TOTAL_REASON, "Type": "User", "message": "Rate Exceeded."}
    assert told.refusal == (429, "TooManyRequestsException", body)
    assert [each.status for each in await asyncio.gather(*asked)] == [200] * 3
    assert (await plane.invoke()).status == 200


async def test_events_together_have_a_bound_in_bytes(plane: Plane) -> None:
    plane.function.opened.clear()
    event = b'"' + b"x" * (PAYLOAD_BYTES_MAX - 2) + b'"'
    asked = [asyncio.ensure_future(plane.invoke(body=io.BytesIO(event))) for _ in range(2)]
    await soon(lambda: len(plane.function.got) == 2)
    told = await plane.invoke(body=b"{}")
    plane.function.opened.set()

    assert told.refusal[:2] == (429, "TooManyRequestsException")
    assert [each.status for each in await asyncio.gather(*asked)] == [200] * 2
    assert (await plane.invoke(body=b"{}")).status == 200


async def test_once_closed_nothing_new_runs_and_what_runs_is_waited_for(plane: Plane) -> None:
    plane.function.opened.clear()
    asked = asyncio.ensure_future(plane.invoke())
    await soon(lambda: len(plane.function.got) == 1)
    closed = asyncio.ensure_future(plane.admission.close())
    await asyncio.sleep(0)
    told = await plane.invoke()
    waits = not closed.done()
    plane.function.opened.set()
    await closed

    message = "poller is stopping: nothing is invoked any more."
    assert told.refusal == (500, "ServiceException", {"Type": "Service", "Message": message})
    assert waits
    assert (await asked).status == 200


async def test_what_runs_ends_as_ever_when_the_end_is_waited_for_no_more(plane: Plane) -> None:
    plane.function.opened.clear()
    asked = asyncio.ensure_future(plane.invoke())
    await soon(lambda: len(plane.function.got) == 1)
    closed = asyncio.ensure_future(plane.admission.close())
    await asyncio.sleep(0)
    closed.cancel()
    plane.function.opened.set()

    assert (await asked).status == 200


# Events.

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside),
    max_leaves=10,
)


def written(value: Any) -> bytes:
    return json.dumps(value).encode()


WRITERS = st.sampled_from(
    [
        written,
        lambda value: json.dumps(value, ensure_ascii=False, indent=1).encode(),
    ]
)


def is_taken(event: bytes) -> bool:
    try:
        check_event(event)
    except Refusal:
        return False
    return True


def is_json(event: bytes) -> bool:
    def no_constants(name: str) -> None:
        raise ValueError(name)

    try:
        json.loads(event.decode(), parse_constant=no_constants)
    except ValueError:
        return False
    return True


@given(JSON, WRITERS)
@example("\ud83d", written)
@example("\\\udc00\\ud83d", written)
@example("\ud83d\ud83d", lambda value: written(value).replace(b"ud8", b"uD8"))
def test_all_json_is_taken(value: Any, write: Callable[[Any], bytes]) -> None:
    assert is_taken(write(value))


@given(JSON, WRITERS, st.data())
@example(1, lambda value: b"\xc3\xa9", None)
@example(1, lambda value: b'"\xc3"', None)
@example(1, lambda value: b'"\\\xc3\xa9"', None)
@example(1, lambda value: b'"\\u12\xc3\xa9"', None)
@example(1, lambda value: b'{\xc3\xa9": 1}', None)
@example(1, lambda value: "\u00a01".encode(), None)
@example(1, lambda value: b'"\\\\ud"', None)
@example(1, lambda value: b'"\\ud"', None)
@example(1, lambda value: b"\\ud800", None)
def test_what_is_taken_is_json(value: Any, write: Callable[[Any], bytes], data: Any) -> None:
    event = bytearray(write(value))
    if data is not None:
        for _ in range(data.draw(st.integers(0, 3))):
            place = data.draw(st.integers(0, len(event)))
            event[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    if is_taken(bytes(event)):
        assert is_json(bytes(event))
