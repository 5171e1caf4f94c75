"""Declared functions become targets; a reread config keeps those that have not changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    nullcontext,
)
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import anyio
from anyio.abc import TaskGroup

from poller.aws.sessions import REGION_OF_EMULATORS
from poller.control.invoking import Callee
from poller.core.model import Instant, Seconds
from poller.interfaces import Target
from poller.observe.function_counts import FunctionTally
from poller.settings import (
    CommandConfig,
    EndpointConfig,
    FunctionConfig,
    HandlerConfig,
    LambdaConfig,
    RuntimeApiConfig,
    Settings,
)
from poller.targets.http_endpoint import HttpEndpoint
from poller.targets.lambda_function import LambdaFunction
from poller.targets.limited import OWN_REASON, PATIENCE, TOTAL_REASON, Limited, Slots
from poller.targets.output import Output
from poller.wire.arns import FunctionReference, parse_function

from .sessions import Sessions

MARGIN: Seconds = 5.0  # beyond its timeout, for a function that ends

if TYPE_CHECKING:
    from poller.targets.attached_runtimes import Addresses
    from poller.targets.keeper import Keeper
    from poller.targets.processes import ProcessPool


@dataclass(frozen=True, slots=True)
class _Open:
    config: FunctionConfig
    runs: Target
    target: Limited  # the same behind its limits
    own: Slots
    resources: AsyncExitStack


class Functions:
    """The targets of all declared functions, counted in `tally`.  Use `open_functions`."""

    def __init__(
        self,
        now: Callable[[], Instant],
        output: Output,
        tally: FunctionTally,
        sessions: Sessions,
        retiring: TaskGroup,
    ) -> None:
        self._now = now
        self._output = output
        self._keeper: Keeper | None = None
        self._tally = tally
        self._sessions = sessions
        self._retiring = retiring
        self._total = Slots(None, whose="functions are", reason=TOTAL_REASON)
        self._open: dict[str, _Open] = {}
        self._addresses: Addresses | None = None  # that runtimes attach to

    @asynccontextmanager
    async def changed(
        self, configs: Mapping[str, FunctionConfig], region: str, *, concurrency: int | None
    ) -> AsyncIterator[Mapping[str, Target]]:
        """The targets of `configs`, by name; those that have not changed are the same as before.

        They are taken over at the end of the block, and those that are gone are closed once what
        they run has ended; if the block raises, everything is as before.  `concurrency`: most
        invocations of all together.
        """
        kept = {name: each for name, each in self._open.items() if configs.get(name) == each.config}
        made: dict[str, _Open] = {}
        try:
            for name in configs.keys() - kept.keys():
                made[name] = await self._opened(configs[name], region)
            now = kept | made
            yield {name: each.target for name, each in now.items()}
        except BaseException:
            await _close(made.values())
            raise
        gone = [each for name, each in self._open.items() if name not in kept]
        self._open = now
        self._tally.keep(now.keys())
        for each in now.values():
            each.own.change(each.config.concurrency)
        self._total.change(concurrency)
        for each in gone:
            self._retiring.start_soon(_retire, each)

    def find(self, named: FunctionReference, settings: Settings) -> Callee:
        """The function that a request names, by the settings that are in force."""
        region, account = region_of(settings), settings.aws.account_id
        arn = settings.function_arn(named, region)
        if arn is None or named.key not in self._open:
            return Callee(
                named.arn(region=named.region or region, account=named.account or account), None
            )
        return Callee(arn, self._open[named.key].target)

    def pools(self) -> dict[str, ProcessPool]:
        """The functions whose processes are started here, by name."""
        kinds = HandlerConfig | CommandConfig
        return {
            name: cast("ProcessPool", each.runs)
            for name, each in self._open.items()
            if isinstance(each.config.runs, kinds)
        }

    async def close_all(self) -> None:
        try:
            await _close(self._open.values())
        finally:
            self._open = {}
            if self._keeper is not None:
                await self._keeper.close()

    async def _opened(self, config: FunctionConfig, region: str) -> _Open:
        """A function behind its limit, which one that it replaces shares with it."""
        resources = AsyncExitStack()
        runs = await resources.enter_async_context(self._make(config, region))
        before, whose = self._open.get(config.name), f"function {config.name} is"
        own = before.own if before else Slots(config.concurrency, whose=whose, reason=OWN_REASON)
        observer = self._tally.of(config.name)
        limited = Limited(runs, own=own, total=self._total, observer=observer)
        return _Open(config, runs, limited, own, resources)

    def _make(self, config: FunctionConfig, region: str) -> AbstractAsyncContextManager[Target]:
        match config.runs:
            case EndpointConfig(urls=urls, headers=headers):
                return HttpEndpoint(
                    urls,
                    timeout=config.timeout,
                    headers=headers,
                    now=self._now,
                )
            case HandlerConfig() | CommandConfig():
                return self._processes(config, config.runs, region)
            case RuntimeApiConfig() as runs:
                return self._attached(config, runs)
            case LambdaConfig(function=named):
                function = parse_function(named)
                client = self._sessions.of(function.region).invoke_client()
                return nullcontext(LambdaFunction(client, function, timeout=config.timeout))

    def _attached(
        self, config: FunctionConfig, runs: RuntimeApiConfig
    ) -> AbstractAsyncContextManager[Target]:
        # Memory that a poller whose functions are elsewhere does without.
        from poller.targets.attached_runtimes import Addresses, AttachedRuntimes  # noqa: PLC0415

        if self._addresses is None:
            self._addresses = Addresses(self._now)
        return AttachedRuntimes(
            config.name,
            self._addresses,
            host=runs.host,
            port=runs.port,
            allow=runs.allow,
            timeout=config.timeout,
        )

    def _processes(
        self, config: FunctionConfig, runs: HandlerConfig | CommandConfig, region: str
    ) -> ProcessPool:
        # Memory that a poller without processes does without.
        from poller.targets.keeper import Keeper  # noqa: PLC0415
        from poller.targets.processes import ProcessPool, Program, python_handler  # noqa: PLC0415

        match runs:
            case HandlerConfig(python=python, handler=handler):
                program = python_handler(python, handler)
            case CommandConfig(arguments=arguments):
                program = Program(arguments)
        if self._keeper is None:
            self._keeper = Keeper()
        return ProcessPool(
            config.name,
            program,
            path=runs.folder,
            timeout=config.timeout,
            environment=runs.environment,
            memory=runs.memory,
            region=region,
            now=self._now,
            output=self._output,
            keeper=self._keeper,
        )


async def _retire(function: _Open) -> None:
    """Close a function once the invocations have ended that no mapping waited for."""
    try:
        with anyio.move_on_after(function.config.timeout + PATIENCE + MARGIN):
            await function.target.emptied()
    finally:
        with anyio.CancelScope(shield=True):
            await _close((function,))


async def _close(functions: Collection[_Open]) -> None:
    await asyncio.gather(*(each.resources.aclose() for each in functions))


@asynccontextmanager
async def open_functions(
    now: Callable[[], Instant],
    output: Output,
    tally: FunctionTally,
    sessions: Sessions,
) -> AsyncIterator[Functions]:
    retiring = anyio.create_task_group()
    functions = Functions(now, output, tally, sessions, retiring)
    try:
        async with retiring:
            yield functions
            retiring.cancel_scope.cancel()
    finally:
        await functions.close_all()


def region_of(settings: Settings) -> str:
    """The region that functions see."""
    if settings.aws.region is not None:
        return settings.aws.region
    regions = [mapping.config.source.region for mapping in settings.mappings]
    return regions[0] if regions else REGION_OF_EMULATORS
