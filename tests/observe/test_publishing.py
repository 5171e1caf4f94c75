"""How metrics get to CloudWatch, in virtual time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from poller.core.steps import Fetched, Started
from poller.errors import PollerError
from poller.interfaces import Unit
from poller.observe.cloudwatch import EventMetrics
from poller.observe.publishing import CALL_MAX, LAST_CALLS_MAX, PERIOD, publishing
from poller.observe.tally import Tally
from tests.observe.values import NOW, SHARD, records

pytestmark = pytest.mark.looptime

DENIED = ClientError(
    {"Error": {"Code": "AccessDenied", "Message": "no identity-based policy\nallows it"}},
    "PutMetricData",
)
DOWN = EndpointConnectionError(endpoint_url="http://127.0.0.1:1")
HOME, ABROAD = "us-east-1", "eu-west-1"
OUTAGE = "metrics do not reach CloudWatch; they are added up and sent once it works"
LOST = "the last metrics did not reach CloudWatch and are lost"


class CloudWatch:
    """The service in one region: `problem` is raised by each call, "hangs" never answers."""

    def __init__(self) -> None:
        self.problem: Exception | str | None = None
        self.calls: list[float] = []
        self.polled: list[float] = []  # the values of PolledEventCount

    async def put_metric_data(self, Namespace: str, MetricData: list[dict[str, Any]]) -> None:
        assert Namespace == "Poller/Lambda"
        self.calls.append(asyncio.get_running_loop().time())
        if isinstance(self.problem, Exception):
            raise self.problem
        if self.problem == "hangs":
            await asyncio.Event().wait()
        self.polled += [
            datum["Value"] for datum in MetricData if datum["MetricName"] == "PolledEventCount"
        ]


class Scene:
    """Mappings that publish, each in its region, and the services there."""

    def __init__(self, *regions: str) -> None:
        self.regions = {region: CloudWatch() for region in regions}
        self.tally = Tally()
        self.metrics = EventMetrics(self.tally, {region: region for region in regions})
        for region in regions:
            self.metrics.saw(self.unit(region), Started(), [], NOW)

    def now(self) -> float:
        return NOW + asyncio.get_running_loop().time()

    def poll(self, count: int) -> None:
        """Every mapping reads so many records."""
        for region in self.regions:
            self.tally.saw(self.unit(region), Fetched(records(count), 0, NOW, NOW), [], self.now())

    def unit(self, region: str) -> Unit:
        """Of the mapping that publishes there, which has the region's name."""
        return Unit(region, SHARD.function, SHARD.source_arn, SHARD.shard)

    async def _client(self, region: str) -> CloudWatch:
        return self.regions[region]

    @asynccontextmanager
    async def publishing(self) -> AsyncIterator[None]:
        async with publishing(self.metrics, self._client, now=self.now):
            yield


@pytest.fixture
def home() -> Scene:
    return Scene(HOME)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == "poller.cloudwatch"]


async def test_a_report_goes_out_each_minute_and_the_last_one_at_the_end(home: Scene) -> None:
    service = home.regions[HOME]
    async with home.publishing():
        home.poll(3)
        await asyncio.sleep(PERIOD * 2.5)
        home.poll(4)
        assert service.polled == [3]
    assert service.polled == [3, 4]
    assert service.calls == [PERIOD, PERIOD * 2.5]


async def test_an_idle_minute_costs_no_call(home: Scene) -> None:
    async with home.publishing():
        await asyncio.sleep(PERIOD * 10)
    assert home.regions[HOME].calls == []


@pytest.mark.parametrize("problem", [DENIED, DOWN, "hangs"], ids=["denied", "down", "hangs"])
async def test_an_outage_loses_nothing_and_is_two_lines(
    home: Scene, problem: Exception | str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "poller")
    service = home.regions[HOME]
    async with home.publishing():
        service.problem = problem
        for _ in range(60):
            home.poll(1)
            await asyncio.sleep(PERIOD)
        assert service.polled == []
        assert said(caplog) == [OUTAGE]
        service.problem = None
        await asyncio.sleep(PERIOD + CALL_MAX)
        assert service.polled == [60]
    assert said(caplog) == [OUTAGE, "metrics reach CloudWatch again"]
    assert len(service.calls) < 2 * 60


async def test_a_refusal_says_what_to_allow(home: Scene, caplog: pytest.LogCaptureFixture) -> None:
    home.regions[HOME].problem = DENIED
    async with home.publishing():
        home.poll(1)
        await asyncio.sleep(PERIOD * 2)
    (line, _) = (record for record in caplog.records if record.name == "poller.cloudwatch")
    assert line.__dict__["region"] == HOME
    assert line.__dict__["error"] == (
        "AccessDenied: no identity-based policy allows it; allow cloudwatch:PutMetricData to the"
        " identity that poller runs as"
    )


async def test_one_region_that_fails_holds_up_no_other() -> None:
    scene = Scene(HOME, ABROAD)
    scene.regions[HOME].problem = "hangs"
    async with scene.publishing():
        scene.poll(1)
        await asyncio.sleep(PERIOD * 1.5)
        scene.regions[HOME].problem = None
        await asyncio.sleep(PERIOD)
    assert scene.regions[ABROAD].polled == [1]
    assert scene.regions[HOME].polled == [1]


@pytest.mark.parametrize("problem", [DOWN, "hangs"], ids=["down", "hangs"])
async def test_the_end_is_not_held_up_for_long_and_what_is_lost_is_said(
    home: Scene, problem: Exception | str, caplog: pytest.LogCaptureFixture
) -> None:
    home.regions[HOME].problem = problem
    loop = asyncio.get_running_loop()
    async with home.publishing():
        home.poll(1)
        ended = loop.time()
    assert loop.time() - ended <= LAST_CALLS_MAX
    assert said(caplog) == [LOST]


async def test_many_regions_that_hang_hold_the_end_up_no_longer_than_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene(*(f"region-{number}" for number in range(9)))
    for service in scene.regions.values():
        service.problem = "hangs"
    loop = asyncio.get_running_loop()
    async with scene.publishing():
        scene.poll(1)
    assert loop.time() <= LAST_CALLS_MAX
    assert said(caplog)[-1] == (
        "the last metrics did not all reach CloudWatch in time and are lost"
    )


async def test_a_second_ctrl_c_waits_for_no_report(home: Scene) -> None:
    home.regions[HOME].problem = "hangs"
    with anyio.CancelScope() as scope:
        async with home.publishing():
            home.poll(1)
            scope.cancel()
            await asyncio.sleep(1)
    assert asyncio.get_running_loop().time() == 0
    assert home.regions[HOME].calls == []


async def test_what_nobody_expected_is_logged_and_ends_nothing(
    home: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    service = home.regions[HOME]
    async with home.publishing():
        home.poll(1)
        service.problem = ZeroDivisionError("odd")
        await asyncio.sleep(PERIOD * 1.01)
        service.problem = None
        await asyncio.sleep(PERIOD)
    assert said(caplog) == ["publishing metrics broke: odd"]
    assert service.polled == [1]


async def test_a_region_without_credentials_is_an_outage(
    home: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    async def no_client(region: str) -> Any:
        raise PollerError(f"no AWS credentials in {region}")

    async with publishing(home.metrics, no_client, now=home.now):
        home.poll(1)
        await asyncio.sleep(PERIOD * 3)
    assert said(caplog) == [OUTAGE, LOST]
