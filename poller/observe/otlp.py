"""Exports spans to a collector, over OTLP and HTTP.

Only a poller with `tracing` loads this.  The SDK exports in a thread of its own, from a queue that
drops the oldest when it is full; nothing waits for a collector but the end, for a while.  What the
SDK would log becomes a line when spans begin to be lost, and one when they arrive again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from poller import __version__
from poller.core.model import Instant, Seconds
from poller.errors import ConfigError

from .episodes import Allowance, Episode
from .open_telemetry import SdkRecorder, XRayIds, sampler

FLUSH_MAX: Seconds = 5.0  # the end is not held up for longer
REMARKS_PERIOD: Seconds = 60.0

_EXPORTERS = "opentelemetry.exporter"
_QUERY = re.compile(r"\?[^\s)]+")  # of the collector's URL, which may hold a key

logger = logging.getLogger("poller.tracing")


@asynccontextmanager
async def recording(
    *,
    url: str,
    headers: Mapping[str, str],
    ratio: float,
    parent_based: bool,
    resource: Mapping[str, str],
    now: Callable[[], Instant],
) -> AsyncIterator[SdkRecorder]:
    """A Recorder whose spans go to `url`.

    `ratio` and `parent_based`: which of them, see `sampler`.  `resource`: what this process is,
    stronger than what the environment says.  What else there is in the environment, the SDK reads
    itself.  Raises ConfigError.
    """
    reports = _Reports(now)
    try:
        exporter = _Watched(OTLPSpanExporter(endpoint=url, headers=dict(headers)), reports)
        processor = BatchSpanProcessor(exporter)
    except (ValueError, RuntimeError, ImportError) as error:
        raise ConfigError(f"tracing: {error}") from None
    reports.begin()
    provider = TracerProvider(
        sampler=sampler(ratio, parent_based=parent_based),
        resource=_resource(resource),
        id_generator=XRayIds(now),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(processor)
    try:
        yield SdkRecorder(provider.get_tracer("poller", __version__))
    finally:
        await _shut_down(provider, exporter)


class _Watched(SpanExporter):
    """Reports how each export went; all but `give_up` runs in the SDK's thread."""

    def __init__(self, exporter: SpanExporter, reports: _Reports) -> None:
        self._exporter = exporter
        self._reports = reports
        self._is_shut = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self._is_shut.is_set():
            return SpanExportResult.FAILURE
        self._reports.why = ""
        result = self._exporter.export(spans)
        self._reports.exported(result is SpanExportResult.SUCCESS)
        return result

    def shutdown(self) -> None:
        """Also ends an attempt that waits to be repeated."""
        if not self._is_shut.is_set():
            self._is_shut.set()
            self._exporter.shutdown()


class _Reports(logging.Handler):
    """The SDK's log in few lines; it comes from any thread, ours is written in the loop's."""

    def __init__(self, now: Callable[[], Instant]) -> None:
        super().__init__(logging.WARNING)
        self._now = now
        self._loop = asyncio.get_running_loop()
        self._outage = Episode(None)
        self._remarks = Allowance(1, REMARKS_PERIOD)
        self.why = ""  # what the exporter said first of the export that runs
        self._exporting = False
        sdk = logging.getLogger("opentelemetry")
        sdk.propagate = False
        sdk.handlers = [self]

    def begin(self) -> None:
        """What exporters say from now on is about exports, and no longer about settings."""
        self._exporting = True

    def emit(self, record: logging.LogRecord) -> None:
        message = _QUERY.sub("?***", record.getMessage())
        if self._exporting and record.name.startswith(_EXPORTERS):
            self.why = self.why or message
        elif self._exporting:
            self._in_loop(self._remark, message)
        else:
            logger.warning("OpenTelemetry: %s", message)

    def exported(self, arrived: bool) -> None:
        self._in_loop(self._exported, arrived, self.why)

    def _in_loop(self, call: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended before the SDK's thread
            self._loop.call_soon_threadsafe(call, *arguments)

    def _remark(self, message: str) -> None:
        left_out = self._remarks.spend(self._now())
        if left_out is not None:
            more = {"not_logged": left_out} if left_out else None
            logger.warning("OpenTelemetry: %s", message, extra=more)

    def _exported(self, arrived: bool, why: str) -> None:
        now = self._now()
        if not arrived:
            if self._outage.failed(now) is not None:
                text = "spans do not reach the collector and are lost until it works"
                logger.warning(text, extra={"error": why})
        elif over := self._outage.succeeded(now):
            fields = {"failures": over.times, "after": f"{over.seconds:.0f}s"}
            logger.info("spans reach the collector again", extra=fields)


def _resource(given: Mapping[str, str]) -> Resource:
    ours = {"service.name": "poller", "service.version": __version__}
    return Resource.create({**ours, **OTELResourceDetector().detect().attributes, **given})


async def _shut_down(provider: TracerProvider, exporter: _Watched) -> None:
    """Export what is left, for FLUSH_MAX at most; a thread that hangs does not hold up the exit."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def shut_down() -> None:
        provider.shutdown()
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=shut_down, name="last spans", daemon=True).start()
    try:
        async with asyncio.timeout(FLUSH_MAX):
            await done.wait()
    except TimeoutError:
        exporter.shutdown()
        logger.warning("the last spans did not reach the collector in time and are lost")
