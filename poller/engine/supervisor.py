"""Reconciles the mappings that should run with those that do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import anyio
from anyio.abc import TaskGroup

from poller.core.model import Seconds
from poller.interfaces import StoredMapping

from .mappings import MappingRun, mapping_run, told
from .shared import Shared, log
from .specs import QueueSpec, Spec, StreamSpec

POLL_MAX: Seconds = 6.0  # an open receive is waited for, since a cancelled one hides messages
RESTART_AFTER: Seconds = 5.0
MARGIN: Seconds = 5.0  # for what follows an invocation: its position, deletion or document


class _Running:
    """A mapping that runs, in a scope of its own."""

    def __init__(self, spec: Spec, run: MappingRun) -> None:
        self.spec = spec
        self.run = run
        self.scope = anyio.CancelScope()
        self.ended = anyio.Event()


class Supervisor:
    """Owns the tasks of all mappings.  Use as an async context manager."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._running: dict[str, _Running] = {}
        self._tasks: TaskGroup | None = None
        self._stopping = False

    async def __aenter__(self) -> Supervisor:
        self._tasks = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(self, *error: object) -> bool | None:
        assert self._tasks is not None
        self._tasks.cancel_scope.cancel()
        return await self._tasks.__aexit__(*error)  # type: ignore[arg-type]

    async def apply(self, specs: Sequence[Spec]) -> None:
        """Start what is new, restart what changed, stop what is gone; leave the rest alone.

        Returns once everything that had to stop has stopped; nothing waits for anything else.
        Raises StateError, and has done nothing then.
        """
        known = {one.uuid: one for one in await self._shared.store.mappings()}
        wanted = {spec.uuid: spec for spec in specs}
        for status in self._shared.board.mappings():
            if status.uuid not in wanted and status.uuid not in self._running:
                self._shared.board.remove_mapping(status.uuid)
        for uuid, spec in wanted.items():
            if uuid not in self._running:
                self._start(_resumed(spec, known.get(uuid)))
        async with anyio.create_task_group() as tasks:
            for uuid, running in list(self._running.items()):
                if uuid not in wanted or not _same(running.spec, wanted[uuid]):
                    tasks.start_soon(self._exchange, running, wanted.get(uuid))

    async def stop(self) -> None:
        """Stop polling, let running invocations end, save positions; nothing starts any more."""
        self._stopping = True
        async with anyio.create_task_group() as tasks:
            for running in list(self._running.values()):
                tasks.start_soon(self._end, running)

    @property
    def idle(self) -> bool:
        """Every mapping that runs has caught up and has nothing in flight."""
        return all(running.run.idle for running in self._running.values())

    def _start(self, spec: Spec) -> None:
        assert self._tasks is not None
        if self._stopping:
            return
        self._shared.board.add_mapping(
            spec.uuid,
            function=spec.function,
            source_arn=spec.stored.source_arn,
            of_file=spec.stored.origin == "file",
            state="Creating" if spec.enabled else "Disabled",
            backlog=spec.source.backlog if isinstance(spec, QueueSpec) else None,
        )
        if spec.enabled:
            running = _Running(spec, mapping_run(spec, self._shared))
            self._running[spec.uuid] = running
            self._tasks.start_soon(self._run, running)

    async def _exchange(self, running: _Running, spec: Spec | None) -> None:
        """End a mapping, and begin it anew as `spec` says, if it is still wanted."""
        await self._end(running)
        if spec is None:
            self._shared.board.remove_mapping(running.spec.uuid)
        else:
            self._start(_resumed(spec, running.run.stored))

    async def _run(self, running: _Running) -> None:
        try:
            with running.scope:
                while not await self._lived(running):
                    await running.run.pause(RESTART_AFTER)
                    spec = replace(running.spec, stored=running.run.stored)
                    running.run = mapping_run(spec, self._shared)
        finally:
            running.ended.set()

    async def _lived(self, running: _Running) -> bool:
        """Run a mapping; False if it broke and should begin anew."""
        try:
            await running.run.run()
        except Exception as error:  # the top of this mapping's task
            uuid, text = running.spec.uuid, told(error)
            log.error("mapping %s broke, and begins anew: %s", uuid, text, exc_info=error)
            self._shared.board.set_state(uuid, "Enabled", text)
            return running.run.stopping
        return True

    async def _end(self, running: _Running) -> None:
        grace = running.spec.function_timeout
        running.run.stop(self._shared.clock.now() + grace)
        polls = POLL_MAX if isinstance(running.spec, QueueSpec) else 0.0
        with anyio.move_on_after(max(grace, polls) + MARGIN):
            await running.ended.wait()
        running.scope.cancel()
        await running.ended.wait()
        if self._running.get(running.spec.uuid) is running:
            del self._running[running.spec.uuid]


def _resumed(spec: Spec, known: StoredMapping | None) -> Spec:
    """The mapping with when it began: that is what the store knows, not the settings."""
    if known is None:
        return spec
    kept = replace(spec.stored, created_at=known.created_at, pinned=known.pinned)
    return replace(spec, stored=kept)


def _same(one: Spec, other: Spec) -> bool:
    """Whether a running mapping may stay as it is."""
    same = (
        one.stored.request == other.stored.request
        and one.target is other.target
        and one.function_timeout == other.function_timeout
        and one.policy == other.policy
        and one.enabled == other.enabled
    )
    if isinstance(one, StreamSpec) and isinstance(other, StreamSpec):
        return same and one.destination == other.destination
    return same
