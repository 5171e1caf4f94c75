"""What every test may use: servers that start once per run, and an environment of no account."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Generator, Iterator
from contextlib import ExitStack

import pytest

from tests import programs, servers
from tests.npm.install import Unavailable
from tests.programs import Program
from tests.servers import Server

# looptime asks for the current event loop before every test, sync ones too; the first such question
# would make a loop that nobody closes.  Saying that there is none prevents that.
asyncio.set_event_loop(None)

NO_FILE = "/nonexistent/aws"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": NO_FILE,
    "AWS_SHARED_CREDENTIALS_FILE": NO_FILE,
}


@pytest.fixture(scope="session", autouse=True)
def environment_of_no_account() -> Iterator[None]:
    """Fixed test credentials; nothing of the user's own AWS settings or proxies."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("AWS_") or name.lower().endswith("_proxy"):
                patch.delenv(name)
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        yield


class Pool:
    """The servers of this run, each started when it is first asked for."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._running: dict[str, Server] = {}
        self._unavailable: dict[str, str] = {}

    def url(self, program: Program) -> str:
        """Its endpoint; the test is skipped where it cannot be had."""
        if program.name in self._unavailable:
            pytest.skip(self._unavailable[program.name])
        if program.name not in self._running:
            try:
                self._running[program.name] = self._stack.enter_context(servers.running(program))
            except Unavailable as reason:
                self._unavailable[program.name] = f"{program.name}: {reason}"
                pytest.skip(self._unavailable[program.name])
        return self._running[program.name].url

    def outputs(self) -> Iterator[tuple[str, str]]:
        for name, server in self._running.items():
            yield name, server.output()


POOL = pytest.StashKey[Pool]()


@pytest.fixture(scope="session")
def server_pool(request: pytest.FixtureRequest) -> Iterator[Pool]:
    with ExitStack() as stack:
        stack.callback(servers.close_clients)
        pool = request.config.stash[POOL] = Pool(stack)
        yield pool


@pytest.fixture(scope="session")
def moto_url(server_pool: Pool) -> str:
    """SQS, SNS, S3, EventBridge and most others; never for FIFO, resharding or volume."""
    return server_pool.url(programs.MOTO)


@pytest.fixture(scope="session")
def ministack_url(server_pool: Pool) -> str:
    """SQS with FIFO, DynamoDB Streams, Kinesis; a split stream loses its parent here."""
    return server_pool.url(programs.MINISTACK)


@pytest.fixture(scope="session")
def newer_ministack_url(server_pool: Pool) -> str:
    """As ministack, and Kinesis with consumers that records are pushed to."""
    return server_pool.url(programs.NEWER_MINISTACK)


@pytest.fixture(scope="session")
def kinesalite_url(server_pool: Pool) -> str:
    """Kinesis with resharding; streams are known by name only."""
    return server_pool.url(programs.KINESALITE)


@pytest.fixture(scope="session")
def kinesis_local_url(server_pool: Pool) -> str:
    """Kinesis with resharding, child shards and consumers that records are pushed to; slow."""
    return server_pool.url(programs.KINESIS_LOCAL)


@pytest.fixture(scope="session")
def fauxqs_url(server_pool: Pool) -> str:
    """SQS for volume; a FIFO receive brings one message per group."""
    return server_pool.url(programs.FAUXQS)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the end of the servers' output to the report of a test that failed."""
    report = yield
    if report.failed and POOL in item.config.stash:
        for name, output in item.config.stash[POOL].outputs():
            if output:
                report.sections.append((f"output of {name}", output))
    return report
