"""The HTTP server and its status routes, asked over real connections."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import logging
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from aiohttp import ClientSession, web
from prometheus_client.parser import text_string_to_metric_families as parse_text

from poller.control.guard import is_loopback
from poller.control.server import BODY_BYTES_MAX, make_app, serve
from poller.control.status import status_routes
from poller.core.steps import Fetched
from poller.errors import PollerError
from poller.observe.board import Board
from poller.observe.event_counts import EventTally
from poller.observe.function_counts import FunctionTally
from poller.observe.metrics import Metrics
from poller.observe.tally import Tally
from tests.observe.values import NOW, SHARD, Time, snapshot


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        assert self.headers["Content-Type"] == "application/json; charset=utf-8"
        return json.loads(self.body)


class Service:
    """A poller with one shard, behind its server."""

    def __init__(self) -> None:
        self.time = Time()
        self.tally, self.board = Tally(), Board(self.time.now)
        self.functions = FunctionTally()
        self.overdue = {"orders": 0.0}
        self.board.add_mapping(
            SHARD.mapping, function="orders", source_arn=SHARD.source_arn, of_file=True
        )
        look = snapshot(unsettled=1, oldest=NOW - 12.5)
        self.board.register(SHARD, snapshot=lambda: look, deadline=lambda: NOW)
        self.routes = status_routes(
            self.board,
            Metrics(self.tally, self.board, self.functions, EventTally()),
            lambda: self.overdue,
        )
        self.address = ("", 0)

    @asynccontextmanager
    async def running(self, *, loopback: bool = True, extra: Any = ()) -> AsyncIterator[None]:
        app = make_app(self.routes, extra, loopback=loopback)
        async with serve(app, "127.0.0.1", 0) as self.address:
            yield

    def poll(self) -> None:
        for observer in (self.tally, self.board):
            observer.saw(SHARD, Fetched([], 0, NOW, NOW), [], self.time.at)

    async def ask(self, path: str, method: str = "GET", data: bytes = b"", **headers: str) -> Reply:
        host, port = self.address
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named.setdefault("Accept-Encoding", "identity")
        url = f"http://{host}:{port}{path}"
        body = io.BytesIO(data) if data else None
        async with (
            ClientSession(auto_decompress=False) as session,
            session.request(method, url, data=body, headers=named) as reply,
        ):
            return Reply(reply.status, dict(reply.headers), await reply.read())


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = Service()
    async with service.running():
        yield service


async def test_healthz_is_200_until_a_machine_is_stuck(service: Service) -> None:
    reply = await service.ask("/healthz")
    assert (reply.status, reply.json()) == (200, {"status": "ok"})
    service.time.at += 90
    reply = await service.ask("/healthz")
    place = {"mapping": SHARD.mapping, "shard": SHARD.shard, "overdue_seconds": 90.0}
    assert (reply.status, reply.json()) == (503, {"status": "stuck", "stuck": [place]})
    service.poll()
    assert (await service.ask("/healthz")).status == 200


async def test_healthz_is_503_while_a_queue_of_events_is_stuck(service: Service) -> None:
    service.overdue = {"orders": 61.0, "others": 59.0}
    reply = await service.ask("/healthz")
    stuck = [{"function": "orders", "overdue_seconds": 61.0}]
    assert (reply.status, reply.json()) == (503, {"status": "stuck", "stuck": stuck})


async def test_readyz_is_200_between_the_first_poll_and_shutdown(service: Service) -> None:
    service.board.begin()
    service.board.set_state(SHARD.mapping, "Creating", "the stream is not there")
    reply = await service.ask("/readyz")
    waiting = {
        "mapping": SHARD.mapping,
        "state": "Creating",
        "reason": "the stream is not there",
    }
    assert reply.status == 503
    assert reply.json() == {"status": "not ready", "waiting_for": [waiting]}
    service.poll()
    reply = await service.ask("/readyz")
    assert (reply.status, reply.json()) == (200, {"status": "ready"})
    service.board.end()
    reply = await service.ask("/readyz")
    assert (reply.status, reply.json()) == (503, {"status": "not ready", "waiting_for": []})


async def test_lag_is_the_document_of_the_board(service: Service) -> None:
    reply = await service.ask("/lag")
    mapping = {
        "function": "orders",
        "source": SHARD.source_arn,
        "seconds": 12.5,
        "records": None,
    }
    assert reply.json() == {
        "mappings": {SHARD.mapping: mapping},
        "total": {"seconds": 12.5, "records": 0},
    }


@pytest.mark.parametrize(
    ("accept", "content_type", "end"),
    [
        ("*/*", "text/plain; version=0.0.4; charset=utf-8", b"\n"),
        (
            "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            b"# EOF\n",
        ),
    ],
)
async def test_metrics_come_in_the_format_that_was_asked_for(
    service: Service, accept: str, content_type: str, end: bytes
) -> None:
    service.poll()
    reply = await service.ask("/metrics", Accept=accept)
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith(content_type)
    assert reply.body.endswith(end)
    assert b"poller_fetches_total{" in reply.body


async def test_metrics_are_compressed_for_who_can_read_that(service: Service) -> None:
    reply = await service.ask("/metrics", Accept_Encoding="gzip")
    assert reply.headers["Content-Encoding"] == "gzip"
    names = {family.name for family in parse_text(gzip.decompress(reply.body).decode())}
    assert {"poller_build_info", "poller_lag_seconds", "poller_process_cpu_seconds"} <= names


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/lag", "/metrics"])
async def test_head_is_get_without_the_body(service: Service, path: str) -> None:
    head, get = await service.ask(path, "HEAD"), await service.ask(path)
    assert head.body == b""
    assert head.status == get.status
    assert head.headers["Content-Type"] == get.headers["Content-Type"]


async def test_what_is_not_there_is_a_404_in_json(service: Service) -> None:
    reply = await service.ask("/{nowhere}")
    assert reply.status == 404
    assert reply.json() == {"message": "there is nothing at /{nowhere}"}
    assert UUID(reply.headers["x-amzn-RequestId"])


async def test_a_wrong_method_is_a_405_that_says_which_are_right(service: Service) -> None:
    reply = await service.ask("/lag", "POST", data=b"{}")
    assert reply.status == 405
    assert reply.headers["Allow"] == "GET,HEAD"
    assert reply.json() == {"message": "POST is not possible at /lag"}
    assert UUID(reply.headers["x-amzn-RequestId"])


async def test_a_body_has_a_bound() -> None:
    async def read(request: web.Request) -> web.Response:
        return web.Response(text=str(len(await request.read())))

    service = Service()
    async with service.running(extra=[web.post("/read", read)]):
        assert (await service.ask("/read", "POST", data=bytes(BODY_BYTES_MAX))).status == 200
        reply = await service.ask("/read", "POST", data=bytes(BODY_BYTES_MAX + 1))
        assert (reply.status, reply.json()["message"]) == (413, "Request Entity Too Large")


async def test_no_reply_tells_which_software_runs_in_which_version(service: Service) -> None:
    for path in ("/healthz", "/nowhere"):
        assert "Server" not in (await service.ask(path)).headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "127.0.0.1:9310"}, 200),
        ({"Host": "localhost:9310"}, 200),
        ({"Host": "LOCALHOST"}, 200),
        ({"Host": "[::1]:9310"}, 200),
        ({"Host": "127.1.2.3"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "localhost.evil.example:9310"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "127.0.0.1@evil.example"}, 403),
        ({"Host": "10.0.0.1:9310"}, 403),
        ({"Host": "[::1"}, 403),
        ({"Host": ""}, 403),
        ({"Origin": "http://localhost:3000"}, 200),
        ({"Origin": "http://127.0.0.1:9310"}, 200),
        ({"Origin": "https://[::1]"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://localhost.evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Host": "localhost", "Origin": "https://evil.example"}, 403),
    ],
)
async def test_on_loopback_only_this_machine_may_ask(
    service: Service, headers: dict[str, str], status: int
) -> None:
    for path in ("/healthz", "/nowhere"):
        reply = await service.ask(path, **headers)
        assert (reply.status == 403) == (status == 403)
        if status == 403:
            assert "\n" not in reply.json()["message"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "poller.default.svc:9310"}, 200),
        ({"Host": "10.0.0.7:9310"}, 200),
        ({"Host": "10.0.0.7:9310", "Origin": "http://10.0.0.7:9310"}, 200),
        ({"Host": "Poller.example", "Origin": "https://poller.Example"}, 200),
        ({"Host": "[fd00::2]:9310", "Origin": "http://[fd00::2]:9310"}, 200),
        ({"Host": "10.0.0.7:9310", "Origin": "http://10.0.0.7:3000"}, 403),
        ({"Host": "10.0.0.7:9310", "Origin": "https://evil.example"}, 403),
        ({"Host": "10.0.0.7:9310", "Origin": "http://localhost"}, 403),
        ({"Host": "10.0.0.7:9310", "Origin": "null"}, 403),
        ({"Host": "null", "Origin": "null"}, 403),
        ({"Host": "", "Origin": "null"}, 403),
        ({"Host": "10.0.0.7:9310", "Origin": ""}, 403),
        ({"Host": "10.0.0.7:9310", "Origin": "http://["}, 403),
    ],
)
async def test_off_loopback_pages_of_other_origins_may_not_ask(
    headers: dict[str, str], status: int
) -> None:
    service = Service()
    async with service.running(loopback=False):
        for path in ("/lag", "/nowhere"):
            reply = await service.ask(path, **headers)
            assert (reply.status == 403) == (status == 403)
        assert (await service.ask("/healthz", **headers)).status == 200


async def test_the_wildcard_of_ipv6_is_that_of_ipv4_too() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    service = Service()
    app = make_app(service.routes, loopback=False)
    async with serve(app, "::", 0) as (host, port):
        assert host == "::"
        for service.address in (("127.0.0.1", port), ("[::1]", port)):
            assert (await service.ask("/healthz")).status == 200
        with pytest.raises(PollerError, match=r"cannot listen on \[::\]:\d+: another program"):
            async with serve(app, "::", port):
                pass


async def test_a_request_of_http_1_0_without_a_host_is_answered(service: Service) -> None:
    reader, writer = await asyncio.open_connection(*service.address)
    writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert (await reader.readline()).split()[1] == b"200"
    writer.close()
    await writer.wait_closed()


async def test_a_failure_of_our_own_is_a_500_in_json_and_an_error_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(request: web.Request) -> web.Response:
        raise RuntimeError("a bug")

    service = Service()
    async with service.running(extra=[web.get("/broken", broken)]):
        reply = await service.ask("/broken")
        assert reply.status == 500
        assert reply.json() == {"message": "poller itself failed; its log has more"}
        assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == [
            "a bug"
        ]
        assert (await service.ask("/healthz")).status == 200


async def test_garbage_is_refused_without_a_traceback(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    reader, writer = await asyncio.open_connection(*service.address)
    writer.write(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
    reply = await reader.read()
    assert reply.split()[1] == b"400"
    assert b"Traceback" not in reply
    writer.close()
    await writer.wait_closed()
    assert (await service.ask("/healthz")).status == 200


async def test_a_port_in_use_is_one_line_that_names_the_remedy(service: Service) -> None:
    host, port = service.address
    with pytest.raises(PollerError) as refused:
        async with serve(make_app(loopback=True), host, port):
            pass
    assert str(refused.value) == (
        f"cannot listen on 127.0.0.1:{port}: another program does already; "
        "end it or choose another with --listen HOST:PORT"
    )


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("192.0.2.1", "this machine has no such address"),
        ("no-such-host.invalid", "there is no host 'no-such-host.invalid'"),
    ],
)
async def test_an_address_that_is_not_here_is_one_line(host: str, reason: str) -> None:
    with pytest.raises(PollerError, match=reason):
        async with serve(make_app(loopback=False), host, 0):
            pass


async def test_the_address_is_free_again_once_the_server_has_stopped() -> None:
    service = Service()
    async with service.running():
        _, port = service.address
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.4", False),
        ("example.com", False),
        ("", False),
    ],
)
def test_which_hosts_are_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
