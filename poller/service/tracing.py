"""What a poller with `tracing` has more."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from poller.engine.shared import Shared
from poller.settings import TracingConfig

log = logging.getLogger("poller.service")


@asynccontextmanager
async def traced(shared: Shared, tracing: TracingConfig | None) -> AsyncIterator[Shared]:
    """`shared`, with spans of all that is seen; None: as it is.  Raises ConfigError."""
    if tracing is None:
        yield shared
        return
    # An SDK, and memory, that a poller without tracing does without.
    from poller.observe.otlp import recording  # noqa: PLC0415
    from poller.observe.spans import Spans  # noqa: PLC0415

    now = shared.clock.now
    async with recording(
        url=tracing.url,
        headers=tracing.headers,
        ratio=tracing.ratio,
        parent_based=tracing.parent_based,
        resource=tracing.resource,
        now=now,
    ) as recorder:
        log.info("spans go to %s", tracing.url.partition("?")[0])
        spans = Spans(recorder)
        try:
            yield replace(shared, observers=(*shared.observers, spans), tracer=spans)
        finally:
            spans.close()
