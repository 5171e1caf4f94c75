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
from poller.targets.limited import OWN_REASON, TOTAL_REASON, Limited, Slots


@dataclass(frozen=True, slots=True)
class _Open:
    config: FunctionConfig
    target: Target
    resources: AsyncExitStack


class Functions:
    """The targets of all declared functions.  Use `open_functions`."""

    def __init__(self, now: Callable[[], Instant], on_output: Callable[[str], None]) -> None:
        self._now = now
        self._on_output = on_output
        self._total = Slots(None, whose="functions are", reason=TOTAL_REASON)
        self._open: dict[str, _Open] = {}

    @asynccontextmanager
    async def changed(
        self, configs: Mapping[str, FunctionConfig], region: str, *, concurrency: int | None
    ) -> AsyncIterator[Mapping[str, Target]]:
        """The targets of `configs`, by name; those that have not changed are the same as before.

        They are taken over at the end of the block, and those that are gone are closed; if the
        block raises, everything is as before.  `concurrency`: most invocations of all together.
        """
        kept = {name: each for name, each in self._open.items() if configs.get(name) == each.config}
        made: dict[str, _Open] = {}
        try:
            for name in configs.keys() - kept.keys():
                resources = AsyncExitStack()
                target = await resources.enter_async_context(self._make(configs[name], region))
                made[name] = _Open(configs[name], self._limited(configs[name], target), resources)
            now = kept | made
            yield {name: each.target for name, each in now.items()}
        except BaseException:
            await _close(made.values())
            raise
        gone = [each for name, each in self._open.items() if name not in kept]
        self._open = now
        self._total.change(concurrency)
        await _close(gone)

    async def close_all(self) -> None:
        await _close(self._open.values())
        self._open = {}

    def _limited(self, config: FunctionConfig, target: Target) -> Target:
        whose = f"function {config.name} is"
        own = Slots(config.concurrency, whose=whose, reason=OWN_REASON)
        return Limited(target, own=own, total=self._total)

    def _make(self, config: FunctionConfig, region: str) -> AbstractAsyncContextManager[Target]:
        match config.runs:
            case EndpointConfig(urls=urls, headers=headers):
                return HttpEndpoint(
                    urls,
                    timeout=config.timeout,
                    headers=headers,
                    now=self._now,
                )
            case HandlerConfig() as runs:
                # Memory that a poller without processes does without.
                from poller.targets.processes import PythonHandler  # noqa: PLC0415

                return PythonHandler(
                    config.name,
                    runs.handler,
                    python=runs.python,
                    path=runs.folder,
                    timeout=config.timeout,
                    environment=runs.environment,
                    memory=runs.memory,
                    region=region,
                    now=self._now,
                    on_output=self._on_output,
                )
            case unbuilt:
                raise AssertionError(f"settings refuse {type(unbuilt).__name__}")


async def _close(functions: Collection[_Open]) -> None:
    await asyncio.gather(*(each.resources.aclose() for each in functions))


@asynccontextmanager
async def open_functions(
    now: Callable[[], Instant], on_output: Callable[[str], None]
) -> AsyncIterator[Functions]:
    functions = Functions(now, on_output)
    try:
        yield functions
    finally:
        await functions.close_all()
