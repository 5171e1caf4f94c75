"""The `runtime_api` kind of function: runtimes that somebody else starts attach to an address.

Any number of them may; each asks for one invocation at a time, and those that wait are found in no
time.  An address outlives a reread of the config: runtimes stay attached to it, and run whichever
function is declared there.

An address that cannot be listened on, since another program does, is told once and tried again
until it can be; meanwhile its function is not reached, and the others run.

A runtime that says that it cannot start is told once.  Where no other runtime is there, what waits
for one fails with its error, as on AWS; what comes later is not reached, and waits.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self

from poller.core.model import Instant, Seconds
from poller.interfaces import Errored, Invocation, NotReached, Reply

from .runtime_api import RuntimeApi
from .runtime_closings import Closings

TIMEOUT_MAX: Seconds = 900.0
TROUBLE_MAX = 1000  # characters of what a runtime says
OPEN_PERIOD: Seconds = 1.0  # between tries to listen
QUIET: Seconds = 60.0  # without connections from elsewhere, until the next one is told again

_logger = logging.getLogger("poller.targets")


class AttachedRuntimes:
    """A Target and an async context manager: a function at an address of `addresses`.

    `allow`: networks that runtimes may come from, as CIDR; empty: every one, which is for loopback.
    """

    def __init__(
        self,
        name: str,
        addresses: Addresses,
        *,
        host: str,
        port: int,
        allow: Sequence[str],
        timeout: Seconds,
    ) -> None:
        self._tenant = Tenant.of(name, allow)
        self._addresses = addresses
        self._place = (host, port)
        self._timeout = timeout
        self._address: Address | None = None

    async def __aenter__(self) -> Self:
        self._address = await self._addresses.enter(self._place, self._tenant)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._addresses.leave(self._place, self._tenant)

    async def invoke(self, invocation: Invocation) -> Reply:
        """Run the function once, on a runtime that asks within a second."""
        assert self._address is not None, "entered"
        return await self._address.invoke(invocation, self._timeout)


@dataclass(frozen=True, slots=True, eq=False)
class Tenant:
    """A function that has an address, and who may run it."""

    name: str
    networks: tuple[IPv4Network | IPv6Network, ...]

    @staticmethod
    def of(name: str, allow: Sequence[str]) -> Tenant:
        return Tenant(name, tuple(ip_network(each) for each in allow))

    def admits(self, peer: str) -> bool:
        if not self.networks:
            return True
        try:
            address = ip_address(peer.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self.networks)


class Addresses:
    """The addresses that are listened on, each for as long as a function has it."""

    def __init__(self, now: Callable[[], Instant]) -> None:
        self._now = now
        self._open: dict[tuple[str, int], Address] = {}

    async def enter(self, place: tuple[str, int], tenant: Tenant) -> Address:
        """The address, listening if it can be; the tenant that comes last has it."""
        address = self._open.get(place)
        if address is None:
            address = Address(self._now)
            address.add(tenant)
            await address.open(*place)
            self._open[place] = address
        else:
            address.add(tenant)
        return address

    async def leave(self, place: tuple[str, int], tenant: Tenant) -> None:
        address = self._open[place]
        address.remove(tenant)
        if address.is_vacant:
            del self._open[place]
            await address.close()


class Address:
    """One of them: its Runtime API, and what is worth a line about who comes there.

    The function that came last has it; those before are on their way out, or have it again if the
    new config is not taken over after all.
    """

    def __init__(self, now: Callable[[], Instant]) -> None:
        self._tenants: list[Tenant] = []
        self._api = RuntimeApi(
            timeout=TIMEOUT_MAX,
            now=now,
            on_next=self._asked,
            on_init_error=self._cannot_start,
            admits=self._admits,
            closings=Closings(),
        )
        self._closed = ""  # why it is not listened on, while it cannot be
        self._opening: asyncio.Task[None] | None = None
        self._trouble = ""  # why the last runtime could not start, until one does
        self._refused_at: Seconds = float("-inf")

    @property
    def is_vacant(self) -> bool:
        return not self._tenants

    def add(self, tenant: Tenant) -> None:
        self._tenants.append(tenant)
        self._api.extensions.function = tenant.name

    def remove(self, tenant: Tenant) -> None:
        self._tenants.remove(tenant)
        if self._tenants:
            self._api.extensions.function = self._tenants[-1].name

    async def open(self, host: str, port: int) -> None:
        """Listen, now or as soon as that is possible."""
        if not await self._open(host, port):
            self._opening = asyncio.create_task(self._keep_opening(host, port))

    async def _keep_opening(self, host: str, port: int) -> None:
        while True:
            await asyncio.sleep(OPEN_PERIOD)
            if await self._open(host, port):
                return

    async def _open(self, host: str, port: int) -> bool:
        """Whether it is listened on now."""
        name = self._api.extensions.function
        try:
            await self._api.open(host, port)
        except OSError as error:
            place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            number = error.errno or 0  # negative where a host's name is not known
            reason = os.strerror(number) if number > 0 else error.strerror
            closed = f"cannot serve runtimes at {place}: {reason}"
            if closed != self._closed:
                remedy = "end what is there, or change runtime_api; trying again until it can be"
                _logger.error("function %s: %s; %s", name, closed, remedy)
            self._closed = closed
            return False
        self._closed = ""
        _logger.info("function %s: runtimes attach at %s", name, self._api.address)
        return True

    async def close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        await self._api.__aexit__()

    async def invoke(self, invocation: Invocation, timeout: Seconds) -> Reply:
        if self._closed:
            return NotReached(self._closed)
        reply = await self._api.invoke(invocation, whole=timeout)
        if isinstance(reply, NotReached) and self._trouble and not reply.throttled:
            return NotReached(f"{reply.why}; the last one could not start: {self._trouble}")
        return reply

    # What the Runtime API reports.

    def _asked(self) -> None:
        if self._trouble:
            self._trouble = ""
            _logger.info("function %s: a runtime has started again", self._api.extensions.function)

    def _cannot_start(self, error: Errored) -> bool:
        trouble = " ".join(f"{error.error_type}: {error.message}".split())[:TROUBLE_MAX]
        if trouble != self._trouble:
            name = self._api.extensions.function
            _logger.warning("function %s: a runtime cannot start: %s", name, trouble)
            self._trouble = trouble
        if not self._api.attended:
            self._api.end_queued(error)
        return True

    def _admits(self, peer: str) -> bool:
        tenant = self._tenants[-1]
        if tenant.admits(peer):
            return True
        now = asyncio.get_running_loop().time()
        if now - self._refused_at > QUIET:
            line = (
                "function %s: a connection from %s is cut: "
                "allow of its runtime_api does not name it"
            )
            _logger.warning(line, tenant.name, peer or "nowhere")
        self._refused_at = now
        return False
