"""A function behind HTTP: each invocation is a POST of the event (contract: the `url` kind)."""

from __future__ import annotations

import asyncio
import math
import ssl as tls
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from poller.core.model import Instant, Seconds
from poller.errors import ConfigError
from poller.interfaces import Errored, Invocation, NotReached, Reply
from poller.transport.http1 import (
    BodyTooLarge,
    ConnectionLost,
    Garbled,
    HttpReply,
    NotConnected,
    TimedOut,
)
from poller.transport.requests import check_header

from .http_addresses import Address, Addresses
from .http_replies import read_emulator_reply, read_reply
from .limited import PATIENCE
from .runtime_replies import timed_out, too_large

EMULATION_MAX: Seconds = 900.0  # the longest timeout that an emulator may have

# What every invocation has, so that `headers:` cannot set it.
OURS = frozenset(
    {
        "content-type",
        "x-amz-client-context",
        "x-amzn-requestid",
        "x-amzn-trace-id",
        "traceparent",
        "x-amz-invoked-function-arn",
        "lambda-runtime-deadline-ms",
    }
)


class HttpEndpoint:
    """A Target at one or more URLs, each with connections that are kept; async context manager.

    `timeout`: the function's, in seconds, from when an endpoint takes the request.
    `headers` go along with every request.  Raises ConfigError for what cannot be used.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        timeout: Seconds,
        headers: Mapping[str, str],
        now: Callable[[], Instant],
        ssl: tls.SSLContext | None = None,
    ) -> None:
        if not urls or len(set(urls)) < len(urls):
            raise ConfigError("a function's url must name at least one address, and none twice")
        self._timeout = timeout
        self._now = now
        self._all = [Address(url, ssl=ssl) for url in urls]
        self._headers = _fixed_headers(headers, self._all)
        self._addresses = Addresses(self._all)
        self._resources = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opening:
            for address in self._all:
                await opening.enter_async_context(address.pool)
            self._resources = opening.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._resources.aclose()
        abandoned = [running for address in self._all for running in address.abandoned]
        await asyncio.gather(*abandoned, return_exceptions=True)

    async def invoke(self, invocation: Invocation) -> Reply:
        """Run the function once.  An address that cannot be reached hands on to one that may."""
        why = ""
        for _ in self._all:
            address = await self._addresses.take()
            if address is None:
                return NotReached(self._why_busy(), throttled=True)
            try:
                return await self._post(address, invocation)
            except NotConnected as error:
                self._addresses.avoid(address)
                why = str(error)
            finally:
                self._addresses.give_back(address)
            if not self._addresses.any_works():
                break
        return NotReached(why)

    async def _post(self, address: Address, invocation: Invocation) -> Reply:
        ask = self._ask_emulator if address.is_emulator else self._ask
        try:
            reply = await ask(address, invocation, self._timeout)
        except TimedOut:
            return timed_out(self._timeout)
        except ConnectionLost as error:
            return Errored("Endpoint.ConnectionLost", str(error))
        except BodyTooLarge:
            return too_large()
        except Garbled as error:
            return Errored("Endpoint.InvalidResponse", str(error))
        if not address.is_emulator:
            return read_reply(reply, self._now())
        read = read_emulator_reply(reply, self._now())
        if isinstance(read, NotReached):
            self._addresses.avoid(address)
        return read

    async def _ask(self, address: Address, invocation: Invocation, timeout: Seconds) -> HttpReply:
        headers = self._headers_for(address, invocation)
        return await address.pool.request(
            "POST", address.path, headers, invocation.event, timeout=timeout
        )

    async def _ask_emulator(
        self, address: Address, invocation: Invocation, timeout: Seconds
    ) -> HttpReply:
        """The same; whatever ends it early leaves the emulator busy until it has answered."""
        running = asyncio.ensure_future(self._ask(address, invocation, EMULATION_MAX))
        try:
            await asyncio.wait((running,), timeout=timeout)
        finally:
            if not running.done():
                self._addresses.abandon(address, running)
        if not running.done():
            raise TimedOut("the emulator goes on")
        return running.result()

    def _why_busy(self) -> str:
        why = f"every emulator was busy for {PATIENCE:g} s"
        if not self._addresses.any_abandoned():
            return why
        seconds = math.ceil(self._timeout)
        return (
            f"{why}, some with what has timed out: set AWS_LAMBDA_FUNCTION_TIMEOUT={seconds} in "
            "their environment"
        )

    def _headers_for(self, address: Address, invocation: Invocation) -> list[tuple[str, str]]:
        deadline_ms = int((self._now() + self._timeout) * 1000)
        headers = [
            *self._headers,
            ("X-Amzn-RequestId", invocation.request_id),
            ("X-Amzn-Trace-Id", invocation.trace_id),
            ("X-Amz-Invoked-Function-Arn", invocation.function_arn),
            ("Lambda-Runtime-Deadline-Ms", str(deadline_ms)),
        ]
        if invocation.traceparent:
            headers.append(("traceparent", invocation.traceparent))
        if invocation.client_context:
            headers.append(("X-Amz-Client-Context", invocation.client_context))
        if address.authorization is not None:
            headers.append(("Authorization", address.authorization))
        return headers


def _fixed_headers(
    headers: Mapping[str, str], addresses: Sequence[Address]
) -> list[tuple[str, str]]:
    """`headers` as they are sent, with the Content-Type."""
    names = {name.lower() for name in headers}
    for name, value in headers.items():
        try:
            check_header(name, value)
        except ValueError as error:
            raise ConfigError(f"a function's headers cannot be used: {error}") from None
        if name.lower() in OURS:
            raise ConfigError(f"a function's headers cannot have {name}: it is set by poller")
    if len(names) < len(headers):
        raise ConfigError("a function's headers name one header twice")
    if "authorization" in names and any(address.authorization for address in addresses):
        raise ConfigError("a function has an Authorization header and a user in its url; keep one")
    return [("Content-Type", "application/json"), *headers.items()]
