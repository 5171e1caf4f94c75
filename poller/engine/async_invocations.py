"""The queues of asynchronous invocations: events are taken, and run function by function.

What is accepted is in the store before anybody is told so, and leaves it only once it is settled.
A queue whose task raises begins anew from the store: recovery and restart are one path.  A function
that leaves the config keeps its events, which wait until it is back or until they are too old.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

import anyio
from anyio.abc import TaskGroup

from poller.core.event_steps import QueuedEvent
from poller.core.model import Fate, Instant, Seconds
from poller.errors import QueueFull, StateError
from poller.event_queue import AcceptedEvent, Backlog, EventStore
from poller.interfaces import Failure, Invocation

from .event_runs import EventFunction, EventObserver, EventRun, EventSurroundings
from .mappings import WAIT_MAX, WAIT_MIN, told
from .shared import log

QUEUED_MAX = 100_000  # events of all functions
QUEUED_BYTES_MAX = 1024 * 1024 * 1024  # of their payloads
MARGIN: Seconds = 5.0  # beyond a function's timeout, for what follows an invocation when stopping


class EventQueues:
    """Implements AsyncInvocations.  Use as an async context manager, and `apply` what is declared.

    `undeclared` makes of a key the function that nobody declares (any more).
    """

    def __init__(
        self,
        store: EventStore,
        deliver: Callable[[Failure], Awaitable[Fate]],
        undeclared: Callable[[str], EventFunction],
        *,
        now: Callable[[], Instant],
        observers: Sequence[EventObserver] = (),
    ) -> None:
        self.backlogs: dict[str, Backlog] = {}  # of functions that have events
        self._around = EventSurroundings(now, store, deliver, observers, self._removed)
        self._undeclared = undeclared
        self._functions: dict[str, EventFunction] = {}
        self._left: dict[str, EventFunction] = {}  # the config, with events
        self._runs: dict[str, EventRun] = {}
        self._tasks: TaskGroup | None = None
        self._stopping = anyio.Event()
        self._ended = anyio.Event()

    async def __aenter__(self) -> EventQueues:
        """Raises StateError."""
        self.backlogs = dict(await self._around.store.backlogs())
        self._tasks = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(self, *error: object) -> bool | None:
        assert self._tasks is not None
        self._tasks.cancel_scope.cancel()
        return await self._tasks.__aexit__(*error)  # type: ignore[arg-type]

    @property
    def idle(self) -> bool:
        """No event runs, and of none a result is being told; some may wait to be tried again."""
        return not any(run.held for run in self._runs.values())

    def overdue(self) -> dict[str, Seconds]:
        """By function, how long ago its queue should have done something; 0 while all is well."""
        return {key: run.overdue for key, run in self._runs.items()}

    def apply(self, functions: Mapping[str, EventFunction]) -> None:
        """Invocations from now on are of these; the caller lets those of before end."""
        known = self._left | self._functions
        self._functions = dict(functions)
        self._left = {
            key: replace(known[key], target=self._undeclared(key).target)
            for key in known.keys() - functions.keys()
            if key in self.backlogs
        }
        for key, run in self._runs.items():
            run.change(self._function(key))
        for key, backlog in self.backlogs.items():
            if key not in functions:
                log.warning(
                    "function %s is not declared, so %d queued events of it wait until it is, or"
                    " until they are too old",
                    key,
                    backlog.events,
                    extra={"function": key},
                )
            self._start(key)

    async def accept(self, function: str, invocation: Invocation) -> None:
        """See AsyncInvocations."""
        self._count(function, 1, len(invocation.event))
        event = AcceptedEvent(
            function,
            invocation.function_arn,
            invocation.event,
            invocation.request_id,
            invocation.trace_id,
            invocation.client_context,
        )
        try:
            await self._around.store.add_event(event, self._around.now())
        except StateError:
            self._uncount(function, len(invocation.event))
            raise
        except asyncio.CancelledError:  # the caller is gone; it is stored all the same
            self._wake(function)
            raise
        self._wake(function)

    async def stop(self) -> None:
        """Let what runs end; the rest stays queued.  Nothing starts any more."""
        self._stopping.set()
        timeouts = [self._function(key).timeout for key in self._runs]
        grace = max(timeouts, default=0.0) + MARGIN
        for run in self._runs.values():
            run.stop(self._around.now() + grace)
        with anyio.move_on_after(grace):
            while self._runs:
                self._ended = anyio.Event()
                await self._ended.wait()

    def _wake(self, key: str) -> None:
        """The store has one more event of this function."""
        self._start(key)
        if key in self._runs:
            self._runs[key].accepted()

    def _function(self, key: str) -> EventFunction:
        return self._functions.get(key) or self._left.get(key) or self._undeclared(key)

    def _start(self, key: str) -> None:
        assert self._tasks is not None
        if key not in self._runs and not self._stopping.is_set():
            self._runs[key] = EventRun(self._function(key), self._around)
            self._tasks.start_soon(self._live, key)

    async def _live(self, key: str) -> None:
        wait = WAIT_MIN
        while not self._stopping.is_set():
            try:
                await self._runs[key].run()
                break
            except Exception as error:  # the top of this queue's task
                log.error("the queue of %s broke: %s", key, told(error), exc_info=error)
            with anyio.move_on_after(wait):
                await self._stopping.wait()
            wait = min(wait * 2, WAIT_MAX)
            self._runs[key] = EventRun(self._function(key), self._around)
        del self._runs[key]
        self._ended.set()

    # The bound.

    def _count(self, function: str, events: int, size: int) -> None:
        """Raises QueueFull."""
        queued = sum(backlog.events for backlog in self.backlogs.values())
        queued_bytes = sum(backlog.bytes for backlog in self.backlogs.values())
        if queued + events > QUEUED_MAX or queued_bytes + size > QUEUED_BYTES_MAX:
            raise QueueFull(
                f"{queued} events of {queued_bytes} bytes are queued, which is as many as may be"
            )
        self._change(function, events, size)

    def _uncount(self, function: str, size: int) -> None:
        self._change(function, -1, -size)

    def _removed(self, function: str, event: QueuedEvent) -> None:
        self._uncount(function, event.size)

    def _change(self, function: str, events: int, size: int) -> None:
        before = self.backlogs.get(function, Backlog())
        after = Backlog(before.events + events, before.bytes + size)
        if after.events:
            self.backlogs[function] = after
        else:
            del self.backlogs[function]
