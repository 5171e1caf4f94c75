"""Reconciles the mappings that should run with those that do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup

from poller.core.lifecycle import State
from poller.core.model import Seconds
from poller.wire.requests import what_runs

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


@dataclass(slots=True)
class _Place:
    """One mapping: what is wanted of it, and the life that it has now.

    `turn`: who ends and begins its lives.  `shown`: its state until its source is found.
    """

    uuid: str
    wanted: Spec | None = None
    shown: State = State.CREATING
    running: _Running | None = None
    turn: anyio.Lock = field(default_factory=anyio.Lock)


class Supervisor:
    """Owns the tasks of all mappings; each has one life after the other.

    Use as an async context manager.
    """

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._places: dict[str, _Place] = {}
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
        """
        wanted = {spec.uuid: spec for spec in specs}
        changed = []
        for uuid in [*(uuid for uuid in self._places if uuid not in wanted), *wanted]:
            place = self._places.get(uuid)
            if place is None or not _same(place.wanted, wanted.get(uuid)):
                changed.append(self._want(uuid, wanted.get(uuid)))
        async with anyio.create_task_group() as tasks:
            for place in changed:
                tasks.start_soon(self._reconcile, place)

    def put(self, spec: Spec, state: State) -> None:
        """Have a mapping run as `spec` says; until it does it is in `state`."""
        assert self._tasks is not None
        place = self._want(spec.uuid, spec)
        place.shown = state
        self._shared.board.set_state(spec.uuid, state)
        self._tasks.start_soon(self._reconcile, place)

    def drop(self, uuid: str, ended: Callable[[], Awaitable[None]]) -> None:
        """Have a mapping end; `ended` is called once nothing of it runs any more."""
        assert self._tasks is not None
        place = self._want(uuid, None)
        self._shared.board.set_state(uuid, State.DELETING)
        self._tasks.start_soon(self._reconcile, place, ended)

    async def stop(self) -> None:
        """Stop polling, let running invocations end, save positions; nothing starts any more."""
        self._stopping = True
        async with anyio.create_task_group() as tasks:
            for place in self._places.values():
                tasks.start_soon(self._reconcile, place)

    @property
    def idle(self) -> bool:
        """Every mapping that runs has caught up and has nothing in flight."""
        running = (place.running for place in self._places.values())
        return all(each.run.idle for each in running if each is not None)

    def _want(self, uuid: str, spec: Spec | None) -> _Place:
        place = self._places.get(uuid)
        if place is None:
            place = self._places[uuid] = _Place(uuid)
        place.wanted = spec
        if spec is not None:
            place.shown = State.CREATING if spec.stored.origin == "file" else State.ENABLED
            if self._shared.board.state(uuid) is None:
                self._show(spec, place.shown)
        return place

    async def _reconcile(
        self, place: _Place, ended: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Bring a mapping to what is wanted of it by the time of its turn."""
        async with place.turn:
            running = place.running
            if running is not None and (self._stopping or not _same(running.spec, place.wanted)):
                await self._end(running)
                place.running = None
            if place.wanted is not None:
                self._begin(place, place.wanted)
                return
            if ended is not None:
                await ended()
            if self._places.get(place.uuid) is place and place.wanted is None:
                del self._places[place.uuid]
                self._shared.board.remove_mapping(place.uuid)
            if ended is not None:
                self._shared.forget(place.uuid)

    def _begin(self, place: _Place, spec: Spec) -> None:
        assert self._tasks is not None
        if self._stopping:
            return
        if place.running is not None:
            self._shared.board.set_state(place.uuid, State.ENABLED)
        else:
            self._show(spec, place.shown)
            if spec.enabled:
                place.running = _Running(spec, mapping_run(spec, self._shared))
                self._tasks.start_soon(self._run, place.running)

    def _show(self, spec: Spec, state: State) -> None:
        backlog = spec.source.backlog if isinstance(spec, QueueSpec) else None
        self._shared.board.add_mapping(
            spec.uuid,
            function=spec.function,
            source_arn=spec.stored.source_arn,
            of_file=spec.stored.origin == "file",
            state=state if spec.enabled else State.DISABLED,
            backlog=backlog if spec.enabled else None,
            publishes=spec.publishes,
        )

    async def _run(self, running: _Running) -> None:
        try:
            with running.scope:
                while not await self._lived(running):
                    await running.run.pause(RESTART_AFTER)
                    if running.run.stopping:
                        break
                    running.run = mapping_run(running.spec, self._shared)
        finally:
            running.ended.set()

    async def _lived(self, running: _Running) -> bool:
        """Run a mapping; False if it broke and should begin anew."""
        try:
            await running.run.run()
        except Exception as error:  # the top of this mapping's task
            uuid, text = running.spec.uuid, told(error)
            log.error("mapping %s broke, and begins anew: %s", uuid, text, exc_info=error)
            if running.run.stopping:
                return True
            self._shared.board.set_state(uuid, State.ENABLED, text)
            return False
        return True

    async def _end(self, running: _Running) -> None:
        grace = running.spec.function_timeout
        running.run.stop(self._shared.clock.now() + grace)
        polls = POLL_MAX if isinstance(running.spec, QueueSpec) else 0.0
        with anyio.move_on_after(max(grace, polls) + MARGIN):
            await running.ended.wait()
        running.scope.cancel()
        await running.ended.wait()


def _same(one: Spec | None, other: Spec | None) -> bool:
    """Whether a running mapping may stay as it is."""
    if one is None or other is None:
        return one is other
    same = (
        what_runs(one.stored.request) == what_runs(other.stored.request)
        and one.stored.origin == other.stored.origin
        and one.stored.function_arn == other.stored.function_arn
        and one.function == other.function
        and one.target is other.target
        and one.function_timeout == other.function_timeout
        and one.policy == other.policy
        and one.enabled == other.enabled
    )
    if isinstance(one, StreamSpec) and isinstance(other, StreamSpec):
        return same and one.destination == other.destination
    return same
