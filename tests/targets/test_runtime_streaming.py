"""Responses that runtimes stream: they are collected, and their trailers can fail them."""

from __future__ import annotations

import base64

import pytest

from poller.interfaces import Errored, Ran, Reply
from poller.targets.runtime_http import BODY_BYTES_MAX
from tests.targets.attached import attaching, taken
from tests.targets.runtimes import Answer, connected, invocation, response_path

STREAMING = "Lambda-Runtime-Function-Response-Mode: streaming\r\n"
FOR_HTTP = "Content-Type: application/vnd.awslambda.http-integration-response\r\n"
ERROR = b'{"errorType": "Late", "errorMessage": "half of it was sent", "stackTrace": []}'
TRAILERS = (
    b"Lambda-Runtime-Function-Error-Type: Runtime.Late\r\n"
    b"Lambda-Runtime-Function-Error-Body: " + base64.b64encode(ERROR) + b"\r\n"
)


async def streamed(
    *chunks: bytes, headers: str = STREAMING, trailers: bytes = b"", piece: int = 1 << 20
) -> tuple[Reply, Answer]:
    """What an invocation comes to that is answered so, sent in pieces of so many bytes."""
    what = invocation()
    async with attaching() as place, connected(place.address) as runtime:
        task = await taken(place.function, runtime, what)
        head = f"POST {response_path(what.request_id)} HTTP/1.1\r\nHost: x\r\n{headers}"
        sent = head.encode() + b"Transfer-Encoding: chunked\r\n\r\n"
        for chunk in chunks:
            sent += f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n"
        sent += b"0\r\n" + trailers + b"\r\n"
        for start in range(0, len(sent), piece):
            runtime.send(sent[start : start + piece])
            await runtime.writer.drain()
        return await task, await runtime.answer()


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
@pytest.mark.proves("S12.2.streaming")
async def test_a_streamed_response_is_taken_as_a_whole(piece: int) -> None:
    reply, answer = await streamed(b'{"batch', b'ItemFailures":', b"[]}", piece=piece)

    assert reply == Ran(b'{"batchItemFailures":[]}')
    assert answer.status == 202


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
async def test_an_error_in_the_middle_of_a_stream_is_a_function_error(piece: int) -> None:
    reply, answer = await streamed(b"half", trailers=TRAILERS, piece=piece)

    assert reply == Errored("Late", "half of it was sent", payload=ERROR)
    assert answer.status == 202


@pytest.mark.parametrize(
    ("trailers", "expected"),
    [
        (b"Lambda-Runtime-Function-Error-Type: Runtime.Late\r\n", Errored("Runtime.Late", "")),
        (
            b"Lambda-Runtime-Function-Error-Type: A\r\n"
            b"Lambda-Runtime-Function-Error-Body: no base64\r\n",
            Errored("A", "no base64", payload=b"no base64"),
        ),
        (b"Origin: http://evil.example\r\nX: y\r\n", Ran(b"half")),
    ],
)
async def test_trailers_may_be_anything(trailers: bytes, expected: Reply) -> None:
    reply, answer = await streamed(b"half", trailers=trailers)

    assert reply == expected
    assert answer.status == 202


@pytest.mark.parametrize(
    ("sent", "body"),
    [
        ([b'{"statusCode": 200}', bytes(8), b"body", b"\0 more"], b"body\0 more"),
        ([b'{"statusCode": 200}' + bytes(8)], b""),
        ([b"no prelude"], b"no prelude"),
    ],
)
async def test_the_prelude_for_an_http_front_is_no_part_of_the_response(
    sent: list[bytes], body: bytes
) -> None:
    reply, _ = await streamed(*sent, headers=STREAMING + FOR_HTTP)

    assert reply == Ran(body)


@pytest.mark.proves("S12.2.streaming")
async def test_a_stream_may_be_as_large_as_a_response_and_no_larger() -> None:
    half = b"x" * (BODY_BYTES_MAX // 2)

    assert (await streamed(half, half))[0] == Ran(half + half)
    reply, answer = await streamed(half, half, b"x")
    assert (answer.status, answer.error) == (413, "RequestEntityTooLarge")
    assert isinstance(reply, Errored)
    assert reply.error_type == "Function.ResponseSizeTooLarge"


async def test_a_response_mode_that_there_is_not_fails_the_invocation() -> None:
    mode = "Lambda-Runtime-Function-Response-Mode: buffered\r\n"
    reply, answer = await streamed(b"{}", headers=mode)

    assert (answer.status, answer.error) == (400, "InvalidFunctionResponseMode")
    message = "Invalid function response mode"
    assert reply == Errored("Runtime.InvalidResponseModeHeader", message)
