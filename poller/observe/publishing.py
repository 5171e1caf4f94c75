"""Sends metrics to CloudWatch: a report each minute, and the last one when all has ended.

A call that brings no reply may have worked, and is repeated: then its counts are there twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import anyio
from aiobotocore.config import AioConfig

from poller.aws.refusals import CallErrors, reason_of, remedy_of
from poller.core.model import Instant, Seconds

from .cloudwatch import NAMESPACE, EventMetrics, Report
from .episodes import Episode

PERIOD: Seconds = 60.0
RETRY_MIN: Seconds = 5.0  # doubled with each failure, up to PERIOD
CALL_MAX: Seconds = 5.0
LAST_CALLS_MAX: Seconds = 8.0  # the end is not held up for longer
ONE_ATTEMPT = AioConfig(retries={"total_max_attempts": 1})  # the next report is the next attempt

OpenClient = Callable[[str], Awaitable[Any]]
"""The CloudWatch client of a region.  Raises PollerError."""

logger = logging.getLogger("poller.cloudwatch")


@asynccontextmanager
async def publishing(
    metrics: EventMetrics, open_client: OpenClient, *, now: Callable[[], Instant]
) -> AsyncIterator[None]:
    """Publish while the block runs, and what is left when it ends, unless that is cancelled."""
    publisher = _Publisher(metrics, open_client, now)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(publisher.run)
        yield
        publisher.ending.set()


class _Publisher:
    def __init__(
        self, metrics: EventMetrics, open_client: OpenClient, now: Callable[[], Instant]
    ) -> None:
        self.ending = anyio.Event()
        self._metrics = metrics
        self._open_client = open_client
        self._now = now
        self._outages: dict[str, Episode] = {}  # by region
        self._is_last = False

    async def run(self) -> None:
        failures = 0
        while not self.ending.is_set():
            wait = min(RETRY_MIN * 2.0 ** (failures - 1), PERIOD) if failures else PERIOD
            with anyio.move_on_after(wait):
                await self.ending.wait()
                break
            failures = 0 if await self._send() else failures + 1
        self._is_last = True
        with anyio.move_on_after(LAST_CALLS_MAX) as last:
            await self._send()
        if last.cancelled_caught:
            logger.warning("the last metrics did not all reach CloudWatch in time and are lost")

    async def _send(self) -> bool:
        """Send all that is untold; whether it arrived.  A region that fails holds up no other."""
        sent = [await self._send_to(region) for region in self._metrics.regions()]
        return all(sent)

    async def _send_to(self, region: str) -> bool:
        arrived = True
        while arrived and (report := self._metrics.take(region)) is not None:
            arrived = False
            try:
                arrived = await self._arrives(report)
            except Exception as error:  # metrics are no reason to end the service
                logger.error("publishing metrics broke: %s", error, exc_info=error)
            finally:
                if not arrived:
                    self._metrics.give_back(report)
        return arrived

    async def _arrives(self, report: Report) -> bool:
        try:
            async with asyncio.timeout(CALL_MAX):
                client = await self._open_client(report.region)
                at = datetime.fromtimestamp(self._now(), UTC)
                data = report.metric_data(at)
                await client.put_metric_data(Namespace=NAMESPACE, MetricData=data)
        except TimeoutError:
            self._failed(report.region, f"no answer within {CALL_MAX:g} s")
        except CallErrors as error:
            remedy = remedy_of(error, "cloudwatch:PutMetricData")
            self._failed(report.region, f"{reason_of(error)}{remedy}")
        else:
            self._succeeded(report.region)
            return True
        return False

    def _failed(self, region: str, reason: str) -> None:
        fields = {"region": region, "error": reason}
        if self._is_last:
            logger.warning("the last metrics did not reach CloudWatch and are lost", extra=fields)
        elif self._outage(region).failed(self._now()) is not None:
            text = "metrics do not reach CloudWatch; they are added up and sent once it works"
            logger.warning(text, extra=fields)

    def _succeeded(self, region: str) -> None:
        if over := self._outage(region).succeeded(self._now()):
            fields = {"region": region, "failures": over.times, "after": f"{over.seconds:.0f}s"}
            logger.info("metrics reach CloudWatch again", extra=fields)

    def _outage(self, region: str) -> Episode:
        return self._outages.setdefault(region, Episode(None))
