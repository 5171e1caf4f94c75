"""An OpenTelemetry collector for tests: it keeps the spans of each export.

with collector() as telemetry:
    config = {"tracing": {"endpoint": telemetry.endpoint}}
    telemetry.wait(lambda: telemetry.named("invoke work"))
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.waiting import TIMEOUT, eventually


@dataclass(frozen=True, slots=True)
class Span:
    """One span; ids are hexadecimal, links are pairs of trace and span."""

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent: str
    links: Sequence[tuple[str, str]]
    attributes: Mapping[str, Any]
    error: str
    seconds: float
    resource: Mapping[str, Any]


@dataclass
class Collector:
    """`before_answer` is called, in a thread of its own, before an export is answered."""

    port: int = 0
    before_answer: Callable[[], object] = lambda: None
    spans: list[Span] = field(default_factory=list)
    requests: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def named(self, name: str) -> list[Span]:
        return [span for span in tuple(self.spans) if span.name == name]

    def wait(self, predicate: Callable[[], object], timeout: float = TIMEOUT) -> None:
        eventually(lambda: predicate() or None, timeout)

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> None:
        self.requests.append((path, headers))
        self.spans += _decoded(body)
        self.before_answer()


@contextlib.contextmanager
def collector(port: int = 0) -> Iterator[Collector]:
    """A collector on `port`, by default any free one, until the block ends."""
    kept = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.take(self.path, dict(self.headers.items()), body)
            with contextlib.suppress(OSError):  # of a client that did not wait
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Quietly."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        server.daemon_threads = True
        kept.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield kept
        finally:
            server.shutdown()
            thread.join()


def _decoded(body: bytes) -> list[Span]:
    return [
        Span(
            name=span.name,
            kind=span.kind,
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent=span.parent_span_id.hex(),
            links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
            attributes=_values(span.attributes),
            error=span.status.message if span.status.code == 2 else "",
            seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
            resource=_values(of_resource.resource.attributes),
        )
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    ]


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
