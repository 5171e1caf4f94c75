"""One running poller: from its settings until it is told to stop."""

from __future__ import annotations

import gc
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio

from poller.control.admission import Admission
from poller.control.guard import is_loopback
from poller.control.invoke_api import invoke_routes
from poller.control.invoking import Invoking
from poller.control.lambda_api import mapping_routes
from poller.control.operations import Operations, Surroundings
from poller.control.registry import Claimed, Registry
from poller.control.server import make_app, serve
from poller.control.status import status_routes
from poller.control.tagging import Tagging
from poller.core.model import Seconds
from poller.destinations.delivery import Delivery
from poller.engine.async_invocations import EventQueues
from poller.engine.clock import Clock
from poller.engine.shared import Shared
from poller.engine.supervisor import Supervisor
from poller.errors import ConfigError, PollerError
from poller.interfaces import Store
from poller.observe.advice import Advice
from poller.observe.board import Board
from poller.observe.cloudwatch import EventMetrics
from poller.observe.decisions import Decisions
from poller.observe.event_counts import EventTally
from poller.observe.function_counts import FunctionTally
from poller.observe.metrics import Metrics
from poller.observe.publishing import publishing
from poller.observe.results import Results
from poller.observe.tally import Tally
from poller.settings import MappingSettings, Settings
from poller.stores.sqlite import open_sqlite
from poller.targets.limited import PATIENCE
from poller.targets.output import Output, StderrOutput
from poller.wire.arns import FunctionReference

from .exposure import Exposure, check_still_limited
from .functions import MARGIN, Functions, open_functions, region_of
from .idle import wait_until_idle
from .queues import event_functions, open_queues
from .saving import keep_saving_results, save_results
from .sessions import Sessions
from .specs import SpecMaker
from .table_streams import TableStreams
from .tracing import traced

log = logging.getLogger("poller.service")

Apply = Callable[[Settings], Awaitable[None]]


class Service:
    """A poller for `settings` of `file`; `reread` gives them anew, or raises ConfigError.

    `output` gets what functions print.  `reloads_code`: processes start anew when their code
    changes.  `board` and `tally` are there to be shown from the start, `address` once it listens.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        file: str = "the config file",
        reread: Callable[[], Settings] | None = None,
        output: Output | None = None,
        reloads_code: bool = False,
    ) -> None:
        self.clock = Clock()
        self.board = Board(self.clock.now)
        self.tally = Tally()
        self.functions = FunctionTally()
        self.events = EventTally()
        self._exposure = Exposure(settings.auth)
        self.address: tuple[str, int] | None = None
        self.listening = anyio.Event()
        self.stopped = anyio.Event()
        self._settings = settings
        self._file = file
        self._reread = reread
        self._output = output or StderrOutput()
        self._reloads_code = reloads_code
        self._stopping = anyio.Event()
        self._reloading = anyio.Lock()
        self._admission = Admission()
        self._applied = anyio.Event()  # the functions are there
        self._apply: Apply | None = None  # what takes settings over, while running

    def stop(self) -> None:
        """Stop polling, let running invocations end, save positions; `run` then returns."""
        self._stopping.set()

    async def reload(self) -> None:
        """Take over what changed in the config; an invalid one is reported and changes nothing."""
        async with self._reloading:
            if self._reread is None or self._apply is None:
                return
            try:
                settings = self._keep_fixed(self._reread())
                await self._apply(settings)
            except PollerError as error:
                log.error("the config was reread and changes nothing: %s", error)
                return
            self._settings = settings
            self._exposure.change(settings.auth)
            mappings = len(settings.mappings) + len(settings.awaited)
            log.info("the config was reread: %d mappings", mappings)

    async def _apply_again(self) -> None:
        """Take over the same settings, now that more is known of them.  Raises PollerError."""
        async with self._reloading:
            if self._apply is not None:
                await self._apply(self._settings)

    def _keep_fixed(self, settings: Settings) -> Settings:
        """`settings` with what only a restart can change as it is now; that is reported."""
        current = self._settings
        if settings.aws != current.aws:
            # The ARNs of functions, and with them the identity of mappings, may follow from it.
            raise ConfigError("aws has changed, which needs a restart")
        for name in ("listen", "state", "tracing"):
            if getattr(settings, name) != getattr(current, name):
                log.warning("%s has changed, which needs a restart", name)
        settings = replace(
            settings, listen=current.listen, state=current.state, tracing=current.tracing
        )
        check_still_limited(settings)
        return settings

    async def run(self, *, until_idle: Seconds | None = None) -> None:
        """Run until `stop`, or until all has been caught up for `until_idle` seconds.

        Raises PollerError, perhaps in a group, where it cannot start.
        """
        async with self._engine() as (supervisor, queues), anyio.create_task_group() as tasks:
            if until_idle is not None:
                tasks.start_soon(self._stop_when_idle, supervisor, queues, until_idle)
            await self._stopping.wait()
            self.board.end()
            async with anyio.create_task_group() as ending:
                ending.start_soon(self._end_requests)
                ending.start_soon(queues.stop)
                await supervisor.stop()
            tasks.cancel_scope.cancel()
        self.stopped.set()

    async def _end_requests(self) -> None:
        """Let what was invoked through the API end, as what mappings invoked."""
        timeouts = (function.timeout for function in self._settings.functions.values())
        with anyio.move_on_after(max(timeouts, default=0.0) + PATIENCE + MARGIN):
            await self._admission.close()

    @asynccontextmanager
    async def _engine(self) -> AsyncIterator[tuple[Supervisor, EventQueues]]:
        settings, now = self._settings, self.clock.now
        async with AsyncExitStack() as stack:
            store = await stack.enter_async_context(_open_store(settings.state))
            sessions = await stack.enter_async_context(Sessions(settings.aws))
            functions = await stack.enter_async_context(
                open_functions(now, self._output, self.functions, sessions)
            )
            opening = open_queues(
                store, sessions, lambda: self._settings, self.tally, self.events, now=now
            )
            queues, delivery = await stack.enter_async_context(opening)
            maker = SpecMaker(sessions, delivery, now=now)
            results, published = Results(), EventMetrics(self.tally, self.board.publishing)
            await stack.enter_async_context(publishing(published, sessions.cloudwatch, now=now))
            observers = (self.tally, Decisions(), Advice(), results, published)
            shared = Shared(self.clock, store, self.board, observers)
            shared = await stack.enter_async_context(traced(shared, settings.tracing))
            supervisor = await stack.enter_async_context(Supervisor(shared))
            streams = TableStreams(sessions, self.board, self._apply_again)
            registry = Registry(store, supervisor, self.board, results, now=now)
            await registry.load()
            invoking = Invoking(
                lambda named: functions.find(named, self._settings), queues, now=now
            )
            await self._listen(stack, store, registry, delivery, invoking, queues=queues)
            tasks = await stack.enter_async_context(anyio.create_task_group())
            tasks.start_soon(delivery.resend)
            tasks.start_soon(keep_saving_results, registry)
            stack.callback(tasks.cancel_scope.cancel)

            apply = self._applying(functions, maker, registry, queues, streams)
            await apply(settings)
            self._applied.set()
            gc.collect()
            gc.freeze()  # what has been loaded by now stays, and is not searched for garbage again
            self.board.begin()
            self._apply = apply
            tasks.start_soon(streams.run)
            tasks.start_soon(self._reload_code, functions)
            yield supervisor, queues
            self._apply = None
            await save_results(registry)

    def _applying(
        self,
        functions: Functions,
        maker: SpecMaker,
        registry: Registry,
        queues: EventQueues,
        streams: TableStreams,
    ) -> Apply:
        async def apply(settings: Settings) -> None:
            settings = streams.resolve(settings)
            changed = functions.changed(
                settings.functions, region_of(settings), concurrency=settings.concurrency
            )
            async with changed as targets:
                make = partial(maker.spec, settings=settings, targets=targets)
                await registry.claim([_claimed(each) for each in settings.mappings], make)
                queues.apply(event_functions(settings.functions, targets))
            self.events.keep(settings.functions.keys() | queues.backlogs.keys())
            streams.wait_for(settings)

        return apply

    async def _reload_code(self, functions: Functions) -> None:
        if self._reloads_code:
            from .reloading import reload_code  # noqa: PLC0415 - few want it

            await reload_code(functions.pools, state=self._settings.state.removeprefix("sqlite:"))

    async def _listen(
        self,
        stack: AsyncExitStack,
        store: Store,
        registry: Registry,
        delivery: Delivery,
        invoking: Invoking,
        *,
        queues: EventQueues,
    ) -> None:
        host, port = self._settings.listen
        metrics = Metrics(
            self.tally, self.board, self.functions, self.events, count_kept=store.count_kept
        )
        around = Surroundings(
            now=self.clock.now,
            function_arn=self._function_arn,
            check_destination=delivery.check,
            file=self._file,
        )
        app = make_app(
            status_routes(self.board, metrics, queues.overdue),
            mapping_routes(
                Operations(registry, around), Tagging(registry, self._file), registry.claimed.wait
            ),
            invoke_routes(invoking, self._admission, self._applied.wait),
            loopback=is_loopback(host),
            access=self._exposure.access,
        )
        self.address = await stack.enter_async_context(serve(app, host, port))
        self._exposure.begin(self.address)
        self.listening.set()

    def _function_arn(self, function: FunctionReference, source_region: str) -> str | None:
        """By the settings that are in force now."""
        return self._settings.function_arn(function, source_region)

    async def _stop_when_idle(
        self, supervisor: Supervisor, queues: EventQueues, seconds: Seconds
    ) -> None:
        await wait_until_idle(
            lambda: supervisor.idle and queues.idle, self.board, self.tally, seconds
        )
        self.stop()


def _claimed(mapping: MappingSettings) -> Claimed:
    return Claimed(mapping.uuid, mapping.function_arn, mapping.config)


def _open_store(state: str) -> AbstractAsyncContextManager[Store]:
    return open_sqlite(Path(state.removeprefix("sqlite:")))
