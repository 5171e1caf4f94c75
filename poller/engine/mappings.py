"""One running mapping: it waits for its source, then keeps a machine running for each part of it.

A machine's task that raises ends alone, is logged once, waits, and starts again from the stored
position: recovery and restart are one path.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskGroup

from poller.core.lifecycle import State
from poller.core.model import Instant, Seconds
from poller.core.shards import plan_shards
from poller.errors import PollerError, SourceMissing, StateError
from poller.wire.arns import parse_source

from .queues import QueueRun
from .shards import ShardRun
from .shared import Shared, log
from .specs import QueueSpec, Spec, StreamSpec

LOOK_MIN: Seconds = 0.5  # the next look at the list of shards, after one of them ended
LOOK_MAX: Seconds = 30.0
WAIT_MIN: Seconds = 0.5  # between tries to find a source, or to start a machine that broke
WAIT_MAX: Seconds = 30.0


class MappingRun(ABC):
    """A mapping from its start until it is stopped."""

    def __init__(self, spec: Spec, shared: Shared) -> None:
        self._shared = shared
        self._name = f"{parse_source(spec.stored.source_arn).name} -> {spec.function}"
        self._stored = spec.stored
        for warning in spec.warnings:
            log.warning("%s: %s", self._name, warning)
        self._stop_by: Instant | None = None
        self._stopped = anyio.Event()

    @abstractmethod
    async def run(self) -> None:
        """Return once everything has stopped."""

    @property
    def stopping(self) -> bool:
        return self._stop_by is not None

    @property
    @abstractmethod
    def idle(self) -> bool:
        """Everything that the source has now is settled."""

    def stop(self, until: Instant) -> None:
        """Start nothing that cannot end before `until`."""
        self._stop_by = until
        self._stopped.set()

    async def pause(self, seconds: Seconds) -> None:
        """Wait, but not when stopping."""
        with anyio.move_on_after(seconds):
            await self._stopped.wait()

    async def _find(self, look: Callable[[], Awaitable[None]]) -> bool:
        """Look for the source until it is there; say so once when it is missing, once when found.

        Return False if stopped before that.  Meanwhile a mapping of the file is Creating; one that
        the API made had a source then, and stays Enabled as on AWS (recorded 1.1).
        """
        wait, missing = WAIT_MIN, False
        state = State.CREATING if self._stored.origin == "file" else State.ENABLED
        while self._stop_by is None:
            try:
                await look()
            except (SourceMissing, StateError) as error:
                if not missing:
                    log.warning("%s: %s; trying again until it is there", self._name, error)
                missing = True
                self._show(state, str(error))
                await self.pause(wait)
                wait = min(wait * 2, WAIT_MAX)
            else:
                if missing:
                    log.info("%s: the source is there now", self._name)
                self._show(State.ENABLED)
                break
        return self._stop_by is None

    def _show(self, state: State, reason: str = "") -> None:
        """Once it is stopping, its state is the affair of whoever stopped it."""
        if self._stop_by is None:
            self._shared.board.set_state(self._stored.uuid, state, reason)


class StreamMapping(MappingRun):
    """A stream: its shards are looked for again and again, parents before children."""

    def __init__(self, spec: StreamSpec, shared: Shared) -> None:
        super().__init__(spec, shared)
        self._spec = spec
        self._runs: dict[str, ShardRun] = {}
        self._look_again = anyio.Event()  # set when stopping and when a shard ends
        self._looked = False  # and no shard has ended since
        self._unlisted = False  # the last look failed, and that was said

    async def run(self) -> None:
        if not await self._find(self._ready):
            return
        async with anyio.create_task_group() as tasks:
            wait = LOOK_MIN
            while self._stop_by is None:
                self._look_again = anyio.Event()
                began = await self._look(tasks)
                self._looked = not self._look_again.is_set()
                wait = LOOK_MIN if began else min(wait * 2, LOOK_MAX)
                with anyio.move_on_after(wait):
                    await self._look_again.wait()
                    wait = LOOK_MIN  # a shard has ended: its children may be listed a little later

    def stop(self, until: Instant) -> None:
        super().stop(until)
        self._look_again.set()
        for run in self._runs.values():
            run.stop(until)

    @property
    def idle(self) -> bool:
        return self._looked and all(run.snapshot().caught_up for run in self._runs.values())

    async def _ready(self) -> None:
        """Find the stream; pin LATEST before anything else, once in the life of the mapping."""
        store, source, uuid = self._shared.store, self._spec.source, self._spec.uuid
        if self._spec.latest and not await store.pinned(uuid):
            await store.pin(uuid, await source.pin())
        else:
            await source.shards()

    async def _look(self, tasks: TaskGroup) -> bool:
        """Start the shards that may be read now; return whether there were any."""
        store, uuid = self._shared.store, self._spec.uuid
        try:
            listed = await self._spec.source.shards()
            positions = await store.positions(uuid)
            plan = plan_shards(listed, positions, self._runs)
            if plan.forget:
                await store.forget(uuid, plan.forget)
        except (SourceMissing, StateError) as error:
            self._cannot_look(error)
            return False
        if self._unlisted:
            log.info("%s: shards are listed again", self._name)
            self._show(State.ENABLED)
        self._unlisted = False
        if self._stop_by is None:
            for shard in plan.start:
                self._runs[shard] = ShardRun(self._spec, shard, positions.get(shard), self._shared)
                tasks.start_soon(self._shard, shard)
        if not self._runs:
            self._shared.board.mark_polled(uuid)
        return bool(plan.start)

    def _cannot_look(self, error: PollerError) -> None:
        if not self._unlisted:
            log.warning("%s: listing shards: %s", self._name, error)
        self._unlisted = True
        self._show(State.ENABLED, str(error))

    async def _shard(self, shard: str) -> None:
        wait = WAIT_MIN
        while self._stop_by is None:
            try:
                if wait > WAIT_MIN:
                    self._runs[shard] = await self._resumed(shard)
                await self._runs[shard].run()
                break
            except Exception as error:  # the top of this shard's task
                log.error("%s: %s broke: %s", self._name, shard, told(error), exc_info=error)
            wait = min(wait * 2, WAIT_MAX)
            await self.pause(wait)
        del self._runs[shard]
        self._looked = False
        self._look_again.set()

    async def _resumed(self, shard: str) -> ShardRun:
        positions = await self._shared.store.positions(self._spec.uuid)
        return ShardRun(self._spec, shard, positions.get(shard), self._shared)


class QueueMapping(MappingRun):
    """A queue: one machine."""

    def __init__(self, spec: QueueSpec, shared: Shared) -> None:
        super().__init__(spec, shared)
        self._spec = spec
        self._run: QueueRun | None = None

    async def run(self) -> None:
        wait = WAIT_MIN
        while await self._find(self._spec.source.check):
            self._run = QueueRun(self._spec, self._shared)
            try:
                await self._run.run()
                return
            except Exception as error:  # the top of this queue's task
                log.error("%s: broke: %s", self._name, told(error), exc_info=error)
            await self.pause(wait)
            wait = min(wait * 2, WAIT_MAX)

    def stop(self, until: Instant) -> None:
        super().stop(until)
        if self._run is not None:
            self._run.stop(until)

    @property
    def idle(self) -> bool:
        return self._run is not None and self._run.snapshot().caught_up


def mapping_run(spec: Spec, shared: Shared) -> MappingRun:
    return (
        StreamMapping(spec, shared) if isinstance(spec, StreamSpec) else QueueMapping(spec, shared)
    )


def told(error: Exception) -> str:
    return str(error) or type(error).__name__
