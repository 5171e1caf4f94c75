"""Declared functions become targets; a reread config keeps those that have not changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from poller.core.model import Instant
from poller.interfaces import Target
from poller.settings import EndpointConfig, FunctionConfig, HandlerConfig
from poller.targets.http_endpoint import HttpEndpoint
from poller.targets.processes import PythonHandler


@dataclass(frozen=True, slots=True)
class _Open:
    config: FunctionConfig
    target: Target
    resources: AsyncExitStack


class Functions:
    """The targets of all declared functions, by name.  Use `open_functions`."""

    def __init__(self, now: Callable[[], Instant], on_output: Callable[[str], None]) -> None:
        self._now = now
        self._on_output = on_output
        self._open: dict[str, _Open] = {}

    def target(self, name: str) -> Target:
        return self._open[name].target

    async def open(self, configs: Mapping[str, FunctionConfig], region: str) -> list[_Open]:
        """Make these the functions; return those that are not any more, for `close`."""
        gone = [each for name, each in self._open.items() if configs.get(name) != each.config]
        kept = {each.config.name: each for each in self._open.values() if each not in gone}
        try:
            for name, config in configs.items():
                if name not in kept:
                    resources = AsyncExitStack()
                    target = await resources.enter_async_context(self._make(config, region))
                    kept[name] = _Open(config, target, resources)
        except BaseException:
            await self.close([each for each in kept.values() if each not in self._open.values()])
            raise
        self._open = kept
        return gone

    async def close(self, functions: Collection[_Open]) -> None:
        await asyncio.gather(*(each.resources.aclose() for each in functions))

    async def close_all(self) -> None:
        await self.close(self._open.values())
        self._open = {}

    def _make(self, config: FunctionConfig, region: str) -> AbstractAsyncContextManager[Target]:
        match config.runs:
            case EndpointConfig(urls=urls, headers=headers):
                return HttpEndpoint(
                    urls,
                    timeout=config.timeout,
                    concurrency=config.concurrency,
                    headers=headers,
                    now=self._now,
                )
            case HandlerConfig() as runs:
                assert config.concurrency is not None
                return PythonHandler(
                    config.name,
                    runs.handler,
                    python=runs.python,
                    path=runs.folder,
                    timeout=config.timeout,
                    concurrency=config.concurrency,
                    environment=runs.environment,
                    memory=runs.memory,
                    region=region,
                    now=self._now,
                    on_output=self._on_output,
                )


@asynccontextmanager
async def open_functions(
    now: Callable[[], Instant], on_output: Callable[[str], None]
) -> AsyncIterator[Functions]:
    functions = Functions(now, on_output)
    try:
        yield functions
    finally:
        await functions.close_all()
