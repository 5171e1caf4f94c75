"""What the bytes of a response mean, however they are cut into pieces."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.transport.response import (
    HEAD_BYTES_MAX,
    QUIET_BYTES_MAX,
    HttpReply,
    Malformed,
    Response,
    TooLarge,
)

BODY_BYTES_MAX = 1000
PIECE_BYTES = 65536  # about what one read of a socket brings


def parsed(
    pieces: Sequence[bytes], *, is_head: bool = False, closed: bool = False
) -> tuple[HttpReply, bool] | str | None:
    """The reply and whether the connection goes on; the error's name; None: not yet complete."""
    response = Response(is_head=is_head, body_bytes_max=BODY_BYTES_MAX)
    try:
        for piece in pieces:
            if piece and response.feed(piece):
                return response.reply, response.keep_alive
    except (Malformed, TooLarge) as error:
        return type(error).__name__
    if closed and response.end():
        return response.reply, response.keep_alive
    return None


def ok(body: bytes = b"", status: int = 200, **headers: str) -> HttpReply:
    return HttpReply(
        status, {name.replace("_", "-"): value for name, value in headers.items()}, body
    )


COMPLETE = {
    "length": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        (ok(b"hi", content_length="2"), True),
    ),
    "chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"
        b"2;x=y\r\nhi\r\n3\r\n123\r\n0\r\n\r\n",
        (ok(b"hi123", transfer_encoding="Chunked"), True),
    ),
    "trailers are not headers": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nLate: 1\r\n\r\n",
        (ok(b"a", transfer_encoding="chunked"), True),
    ),
    "interim responses are passed over": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
        (ok(b"a", content_length="1"), True),
    ),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", (ok(status=204), True)),
    "304 with the length of what it stands for": (
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5000\r\n\r\n",
        (ok(status=304, content_length="5000"), True),
    ),
    "repeated, empty and padded headers": (
        b"HTTP/1.1 200 OK\r\nA: 1\r\nX-Empty:\r\na:  2 \r\nContent-Length: 0\r\n\r\n",
        (ok(a="1, 2", x_empty="", content_length="0"), True),
    ),
    "no reason phrase": (
        b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
        (ok(content_length="0"), True),
    ),
    "Connection: close": (
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na",
        (ok(b"a", connection="close", content_length="1"), False),
    ),
    "HTTP/1.0": (
        b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na",
        (ok(b"a", content_length="1"), False),
    ),
    "HTTP/1.0 that keeps the connection": (
        b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\na",
        (ok(b"a", connection="Keep-Alive", content_length="1"), True),
    ),
}
MALFORMED = {
    "not HTTP": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "HTTP/2": b"HTTP/2 200\r\n\r\n",
    "a switch of protocols": b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    "a switch to nothing": b"HTTP/1.1 101 S\r\n\r\n",
    "no such status": b"HTTP/1.1 042 S\r\nContent-Length: 0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "a length beyond counting": b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n",
    "a folded header": b"HTTP/1.1 200 OK\r\nA: 1\r\n b\r\nContent-Length: 0\r\n\r\n",
    "a blank in a name": b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
    "a chunk without a size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhi\r\n",
    "a coding that was not asked for": b"HTTP/1.1 200 OK\r\n"
    b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a large header": b"HTTP/1.1 200 OK\r\nA: " + b"x" * HEAD_BYTES_MAX + b"\r\n\r\n",
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"A: x\r\n" * (HEAD_BYTES_MAX // 5) + b"\r\n",
    "interim responses for ever": b"HTTP/1.1 102 P\r\nA: b\r\n\r\n" * (HEAD_BYTES_MAX // 5),
    "a header without end": b"HTTP/1.1 200 OK\r\nA: " + b"x" * QUIET_BYTES_MAX,
    "a trailer without end": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: "
    + b"x" * (QUIET_BYTES_MAX + PIECE_BYTES),
    "many trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    + b"A: x\r\n" * (HEAD_BYTES_MAX // 5),
}
TOO_LARGE = {
    "by its length": b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n",
    "by its chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3e8\r\n" + b"x" * 1000 + b"\r\n1\r\nx\r\n0\r\n\r\n",
    "without an end": b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1001,
}
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\neverything to the end"

EVERYTHING: dict[str, tuple[bytes, object]] = {
    **COMPLETE,
    **{title: (raw, "Malformed") for title, raw in MALFORMED.items() if len(raw) < 1000},
    **{title: (raw, "TooLarge") for title, raw in TOO_LARGE.items()},
    "until close": (UNTIL_CLOSE, (ok(b"everything to the end", a="b"), False)),
}


@pytest.mark.parametrize("title", COMPLETE)
def test_a_whole_response_is_read_as_the_standard_says(title: str) -> None:
    raw, expected = COMPLETE[title]

    assert parsed([raw]) == expected


@pytest.mark.parametrize("title", COMPLETE)
def test_a_response_is_complete_with_its_last_byte_and_not_before(title: str) -> None:
    raw, expected = COMPLETE[title]

    assert parsed([raw[:-1]], closed=True) is None
    assert parsed([raw[:-1], raw[-1:]]) == expected


@pytest.mark.parametrize("title", MALFORMED)
def test_what_is_not_http_is_refused(title: str) -> None:
    raw = MALFORMED[title]
    pieces = [raw[start : start + PIECE_BYTES] for start in range(0, len(raw), PIECE_BYTES)]

    assert parsed(pieces, closed=True) == "Malformed"


@pytest.mark.parametrize("title", TOO_LARGE)
def test_a_body_over_the_limit_is_refused(title: str) -> None:
    assert parsed([TOO_LARGE[title]], closed=True) == "TooLarge"


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"1\r\nx\r\n" * 1000
        + b"0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1000,
    ],
)
def test_a_body_at_the_limit_is_taken(raw: bytes) -> None:
    result = parsed([raw], closed=True)

    assert isinstance(result, tuple)
    assert result[0].body == b"x" * 1000


def test_a_body_without_a_stated_end_ends_when_the_peer_closes() -> None:
    assert parsed([UNTIL_CLOSE]) is None
    assert parsed([UNTIL_CLOSE], closed=True) == (ok(b"everything to the end", a="b"), False)


@pytest.mark.parametrize("cut", [4, 30, 37])
def test_a_peer_that_closes_before_the_stated_end_completes_nothing(cut: int) -> None:
    assert parsed([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"[:cut]], closed=True) is None


def test_an_answer_to_head_has_no_body() -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"

    assert parsed([raw], is_head=True) == (ok(content_length="5000"), True)


@pytest.mark.parametrize(
    ("raw", "is_head"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi and more", False),
        (b"HTTP/1.1 204 N\r\n\r\nHTTP/1.1 204 N\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", True),
    ],
)
def test_bytes_after_the_response_end_the_connection_but_not_the_response(
    raw: bytes, is_head: bool
) -> None:
    result = parsed([raw], is_head=is_head)

    assert isinstance(result, tuple)
    assert not result[1]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("timeout=5, max=100", 5.0), ("max=3,Timeout = 7", 7.0), ("max=100", None), ("", None)],
)
def test_a_server_may_say_how_long_it_keeps_a_connection(value: str, seconds: float | None) -> None:
    response = Response(is_head=False, body_bytes_max=0)
    response.feed(f"HTTP/1.1 204 N\r\nKeep-Alive: {value}\r\n\r\n".encode())

    assert response.idle_hint == seconds


@given(title=st.sampled_from(sorted(EVERYTHING)), data=st.data())
def test_any_split_into_pieces_reads_the_same(title: str, data: st.DataObject) -> None:
    raw, expected = EVERYTHING[title]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(raw) - 1))))
    pieces = [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]

    assert parsed(pieces, closed=True) == expected


@given(
    status=st.integers(200, 599).filter(lambda status: status not in (204, 304)),
    values=st.lists(st.text("abc ,;=", max_size=20).map(str.strip), max_size=5),
    chunks=st.lists(st.binary(min_size=1, max_size=100), max_size=5),
)
def test_what_a_server_writes_is_what_is_read(
    status: int, values: list[str], chunks: list[bytes]
) -> None:
    names = [f"X-{number}" for number in range(len(values))]
    lines = "".join(f"{name}: {value}\r\n" for name, value in zip(names, values, strict=True))
    head = f"HTTP/1.1 {status} Some Reason\r\n{lines}".encode()
    body = b"".join(chunks)
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    by_length = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    by_chunks = head + b"Transfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"

    for raw in (by_length, by_chunks):
        result = parsed([raw])
        assert isinstance(result, tuple)
        assert (result[0].status, result[0].body) == (status, body)
        assert [result[0].headers[name.lower()] for name in names] == values


@given(st.lists(st.binary(min_size=1), max_size=5))
def test_garbage_is_refused_or_waited_for_and_nothing_else(pieces: list[bytes]) -> None:
    assert parsed(pieces) in ("Malformed", None)
