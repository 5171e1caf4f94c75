"""What OpenTelemetry's SDK makes of spans: ids, sampling, and an end that is bounded."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from dataclasses import replace

import pytest
from opentelemetry.sdk.trace import TracerProvider

from poller.observe import otlp
from poller.observe.open_telemetry import SdkRecorder, XRayIds, sampler
from poller.wire.traces import SpanContext
from tests.collector import collector
from tests.observe.values import NOW

ON = SpanContext("5759e988bd862e3fe1be46a994272793", "53995c3f42cd8ad8", True, elsewhere=True)
OFF = replace(ON, sampled=False)
OURS_ON, OURS_OFF = replace(ON, elsewhere=False), replace(OFF, elsewhere=False)


def recorder(ratio: float, *, parent_based: bool = True) -> SdkRecorder:
    provider = TracerProvider(
        sampler=sampler(ratio, parent_based=parent_based),
        id_generator=XRayIds(lambda: NOW),
        shutdown_on_exit=False,
    )
    return SdkRecorder(provider.get_tracer("test"))


@pytest.mark.parametrize(
    ("ratio", "parent", "links", "sampled"),
    [
        (1.0, None, [], True),
        (0.0, None, [], False),
        (0.0, ON, [OFF], True),
        (1.0, OFF, [ON], False),
        (0.0, None, [OFF, ON], True),
        (1.0, None, [OFF, OFF], False),
        (0.0, None, [OURS_ON], True),
        (1.0, None, [OURS_OFF], False),
        (1.0, None, [OURS_ON, OFF], False),
        (0.0, None, [OURS_OFF, ON], True),
    ],
)
def test_producers_decide_then_polls_then_the_ratio(
    ratio: float, parent: SpanContext | None, links: list[SpanContext], sampled: bool
) -> None:
    span = recorder(ratio).start("s", "client", NOW, parent=parent, links=links, attributes={})
    assert span.context.sampled is sampled


def test_without_parents_the_ratio_decides_alone() -> None:
    for ratio, parent in ((1.0, OFF), (0.0, ON)):
        recording = recorder(ratio, parent_based=False)
        span = recording.start("s", "client", NOW, parent=parent, links=[parent], attributes={})
        assert span.context.sampled is bool(ratio)


def test_a_trace_begins_with_the_time_and_its_spans_go_on_with_it() -> None:
    recording = recorder(1.0)
    first = recording.start("s", "client", NOW, attributes={})
    second = recording.start("s", "client", NOW, parent=first.context, attributes={})
    assert first.context.trace_id.startswith(f"{int(NOW):08x}")
    assert second.context.trace_id == first.context.trace_id
    assert second.context.span_id != first.context.span_id


async def test_the_end_does_not_wait_for_a_collector_that_hangs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(otlp, "FLUSH_MAX", 0.1)
    hangs = threading.Event()
    with collector() as telemetry:
        telemetry.before_answer = hangs.wait
        async with otlp.recording(
            url=f"{telemetry.endpoint}/v1/traces",
            headers={},
            ratio=1.0,
            parent_based=True,
            resource={},
            now=time.time,
        ) as recording:
            recording.start("s", "client", NOW, attributes={}).end(NOW)
        hangs.set()
    lines = [(record.name, record.levelno) for record in caplog.records]
    assert lines == [("poller.tracing", logging.WARNING)]
    assert "did not reach the collector in time" in caplog.text


async def test_a_key_in_the_url_of_a_collector_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = "http://127.0.0.1:9/v1/traces?key=hidden"
    async with otlp.recording(
        url=url, headers={}, ratio=1.0, parent_based=True, resource={}, now=time.time
    ):
        logging.getLogger("opentelemetry.sdk").warning("no way to %s (refused)", url)
        await asyncio.sleep(0)
    assert caplog.messages == [
        "OpenTelemetry: no way to http://127.0.0.1:9/v1/traces?*** (refused)"
    ]
