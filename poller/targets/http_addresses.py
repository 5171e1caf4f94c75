"""The addresses of one HTTP function: which of them takes the next invocation, and when.

Least busy first, then the one that rested longest.  An address that refused is passed over for a
while as long as another one works.  Where every emulator is busy, invocations wait in turn.  An
emulator is busy with an invocation until it has answered, also if nobody waits for that any more:
it cannot be told to stop, and a second invocation beside the first can end it.
"""

from __future__ import annotations

import asyncio
import ssl as tls
from collections import deque
from collections.abc import Sequence

from poller.core.model import Seconds
from poller.errors import ConfigError
from poller.transport.http1 import HttpPool, HttpReply
from poller.transport.origins import basic_authorization, origin_of, split

from .limited import PATIENCE
from .runtime_http import BODY_BYTES_MAX

EMULATOR_PATH = "/2015-03-31/functions/function/invocations"

WAITING_MAX = 1000  # invocations that wait for their turn
AVOIDED_FOR: Seconds = 5.0  # an address that did not take an invocation


class Address:
    """One URL: `busy` invocations run there now, of which nobody awaits the `abandoned`.

    `authorization`: what the URL's userinfo becomes.  `is_emulator`: it is a Lambda Runtime
    Interface Emulator, which runs one invocation at a time.  Raises ConfigError, which never shows
    the URL.
    """

    def __init__(self, url: str, *, ssl: tls.SSLContext | None) -> None:
        try:
            parts = split(url)
            if parts.fragment:
                raise ValueError("a URL that is invoked has no fragment")
            self.pool = HttpPool(str(origin_of(parts)), ssl=ssl, body_bytes_max=BODY_BYTES_MAX)
        except ValueError as error:
            raise ConfigError(f"a function's url cannot be used: {error}") from None
        self.path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self.authorization = basic_authorization(parts)
        self.is_emulator = parts.path.endswith(EMULATOR_PATH)
        self.busy = 0
        self.abandoned: set[asyncio.Future[HttpReply]] = set()
        self.turn = 0
        self.avoided_until: Seconds = 0.0  # of the loop's time

    @property
    def is_full(self) -> bool:
        return self.is_emulator and self.busy > 0


class Addresses:
    """Hands out addresses."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        self._addresses = addresses
        self._turns = 0
        self._waiting: deque[asyncio.Future[Address]] = deque()

    async def take(self) -> Address | None:
        """The address for an invocation, to be given back; None if there is none in a second."""
        if not self._waiting and (address := self._best()) is not None:
            return self._occupy(address)
        if len(self._waiting) >= WAITING_MAX:
            return None
        waiter: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(PATIENCE):
                return await waiter
        except TimeoutError:
            self._leave(waiter)
            return None
        except asyncio.CancelledError:
            self._leave(waiter)
            raise

    def give_back(self, address: Address) -> None:
        """The invocation has ended; the next one that waits takes its place."""
        address.busy -= 1
        while self._waiting and (best := self._best()) is not None:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(self._occupy(best))

    def abandon(self, address: Address, running: asyncio.Future[HttpReply]) -> None:
        """The invocation is over, but not at its address, which is taken until `running` is."""

        def ended(running: asyncio.Future[HttpReply]) -> None:
            address.abandoned.discard(running)
            self.give_back(address)
            if not running.cancelled():
                running.exception()  # whatever it is, nobody else will look

        address.busy += 1
        address.abandoned.add(running)
        running.add_done_callback(ended)

    def any_abandoned(self) -> bool:
        """Whether an address is busy with what nobody awaits."""
        return any(address.abandoned for address in self._addresses)

    def avoid(self, address: Address) -> None:
        """It took no invocation; pass it over for a while."""
        address.avoided_until = asyncio.get_running_loop().time() + AVOIDED_FOR

    def any_works(self) -> bool:
        """Whether there is an address that is not passed over now."""
        now = asyncio.get_running_loop().time()
        return any(address.avoided_until <= now for address in self._addresses)

    def _best(self) -> Address | None:
        now = asyncio.get_running_loop().time()
        working = [address for address in self._addresses if address.avoided_until <= now]
        free = [address for address in working or self._addresses if not address.is_full]
        return min(free, key=lambda address: (address.busy, address.turn), default=None)

    def _occupy(self, address: Address) -> Address:
        self._turns += 1
        address.busy += 1
        address.turn = self._turns
        return address

    def _leave(self, waiter: asyncio.Future[Address]) -> None:
        """Wait no longer; an address that came at the last moment goes to the next one."""
        if waiter in self._waiting:
            self._waiting.remove(waiter)
        elif not waiter.cancelled():
            self.give_back(waiter.result())
