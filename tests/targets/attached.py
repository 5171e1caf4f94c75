"""A function of the `runtime_api` kind with nobody attached yet, and invocations that are taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from poller.interfaces import Invocation, Reply
from poller.targets.attached_runtimes import Addresses, AttachedRuntimes
from tests.programs import free_port
from tests.targets.runtimes import NEXT, Runtime

NOW = 1_700_000_000.0


@dataclass(frozen=True, slots=True)
class Place:
    """A function, and where its runtimes attach."""

    function: AttachedRuntimes
    addresses: Addresses
    port: int

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def another(self, name: str = "orders", timeout: float = 10.0) -> AttachedRuntimes:
        """A function at the same address, such as a reread config has."""
        return attached(self.addresses, self.port, name=name, timeout=timeout)


def attached(
    addresses: Addresses,
    port: int,
    *,
    name: str = "orders",
    host: str = "127.0.0.1",
    timeout: float = 10.0,
    allow: tuple[str, ...] = (),
) -> AttachedRuntimes:
    return AttachedRuntimes(name, addresses, host=host, port=port, allow=allow, timeout=timeout)


@asynccontextmanager
async def attaching(
    *, timeout: float = 10.0, allow: tuple[str, ...] = (), host: str = "127.0.0.1"
) -> AsyncIterator[Place]:
    port = free_port()
    addresses = Addresses(lambda: NOW)
    function = attached(addresses, port, timeout=timeout, allow=allow, host=host)
    async with function:
        yield Place(function, addresses, port)


async def taken(
    function: AttachedRuntimes, runtime: Runtime, what: Invocation, headers: str = ""
) -> asyncio.Task[Reply]:
    """The task of an invocation that `runtime` has taken."""
    task = asyncio.create_task(function.invoke(what))
    answer = await runtime.call("GET", NEXT, headers=headers)
    assert answer.request_id == what.request_id
    return task
