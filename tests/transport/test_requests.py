"""Nothing that a caller hands in can change the meaning of a request."""

from __future__ import annotations

import pytest

from poller.transport.origins import parse_origin, parse_proxy
from poller.transport.requests import HeadWriter, check_header

WRITER = HeadWriter("", [("Host", "h:1")])


def test_a_head_is_its_lines_in_order() -> None:
    head = WRITER.head("POST", "/a?b=c", [("X-One", "1"), ("X-Two", "zwölf")], 7)

    assert head.decode() == (
        "POST /a?b=c HTTP/1.1\r\nHost: h:1\r\nX-One: 1\r\nX-Two: zwölf\r\nContent-Length: 7\r\n\r\n"
    )


@pytest.mark.parametrize("path", ["", "a", "/a b", "/a\r\nX: y", "/a\n", "/\0", "/ä", "http://x/"])
def test_a_path_that_would_end_its_line_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        WRITER.head("GET", path, [], 0)


@pytest.mark.parametrize("method", ["", "GE T", "GET\r\n"])
def test_a_method_that_would_end_its_word_is_refused(method: str) -> None:
    with pytest.raises(ValueError, match="method"):
        WRITER.head(method, "/", [], 0)


@pytest.mark.parametrize("value", ["s3cret\r\nX: y", "s3cret\n", "s3cret\r", "\0s3cret"])
def test_a_value_that_would_end_its_line_is_refused_and_not_shown(value: str) -> None:
    with pytest.raises(ValueError, match="X-Key") as refusal:
        WRITER.head("GET", "/", [("X-Key", value)], 0)

    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize(
    "name",
    ["", "A B", "A:", "Ä", "A\r\nB", "Host", "content-length", "Transfer-Encoding", "Connection"],
)
def test_a_header_that_is_the_connections_own_or_no_header_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="header"):
        WRITER.head("GET", "/", [(name, "x")], 0)
    with pytest.raises(ValueError, match="header"):
        check_header(name, "x")


@pytest.mark.parametrize(
    ("text", "name", "authority", "host_port"),
    [
        ("http://h:1", "http://h:1", "h:1", "h:1"),
        ("HTTP://Host/", "http://host", "host", "host:80"),
        ("http://h:80", "http://h", "h", "h:80"),
        ("https://h:443", "https://h", "h", "h:443"),
        ("https://h:80", "https://h:80", "h:80", "h:80"),
        ("http://[::1]:8080", "http://[::1]:8080", "[::1]:8080", "[::1]:8080"),
        ("https://[::1]", "https://[::1]", "[::1]", "[::1]:443"),
    ],
)
def test_an_origin_is_named_as_hosts_name_it(
    text: str, name: str, authority: str, host_port: str
) -> None:
    origin = parse_origin(text)

    assert (str(origin), origin.authority, origin.host_port) == (name, authority, host_port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "h:1",
        "ftp://h",
        "http://",
        "http://h/path",
        "http://h?q",
        "http://h#f",
        "http://h:0",
        "http://h:65536",
        "http://h:x",
        "http://h\r\n:1",
        "http://ä",
        "http://user:s3cret@h",
        "http://user:s3cret",
        "http://[s3cret]",
    ],
)
def test_what_is_not_an_origin_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 - the texts differ
        parse_origin(text)

    assert "s3cret" not in str(refusal.value)


def test_a_proxys_userinfo_becomes_its_authorization() -> None:
    proxy = parse_proxy("http://user:p%40ss@proxy.example:3128")

    assert str(proxy.origin) == "http://proxy.example:3128"
    assert proxy.authorization == "Basic dXNlcjpwQHNz"
    assert parse_proxy("http://proxy.example").authorization is None


@pytest.mark.parametrize("text", ["https://proxy", "socks5://proxy:1080", "proxy:80"])
def test_other_kinds_of_proxy_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="proxy"):
        parse_proxy(text)
