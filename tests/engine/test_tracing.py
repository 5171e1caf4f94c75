"""Which trace an invocation runs in where poller itself does not trace."""

from __future__ import annotations

import pytest

from poller.interfaces import Invocation, Ran, Reply
from poller.sources.memory import MemoryStream
from poller.sources.memory_queue import MemoryQueue
from poller.wire.traces import read_xray
from tests.engine.worlds import World, make_world, until

pytestmark = pytest.mark.looptime

HEADER = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=a:1"


class Told:
    """A Target that remembers the headers of its invocations."""

    def __init__(self) -> None:
        self.trace_ids: list[str] = []

    async def invoke(self, invocation: Invocation) -> Reply:
        assert not invocation.traceparent
        self.trace_ids.append(invocation.trace_id)
        return Ran(b"")


def told(world: World) -> Told:
    world.function = Told()  # type: ignore[assignment]
    return world.function  # type: ignore[return-value]


async def test_the_header_of_a_message_reaches_the_function() -> None:
    world = make_world()
    function, queue = told(world), MemoryQueue(now=world.shared.clock.now)
    queue.send("traced", trace_header=HEADER)
    async with world.running(world.queue_spec(queue, batch_size=1)):
        await until(lambda: not queue.waiting)
    assert function.trace_ids == [HEADER]


async def test_a_batch_without_headers_has_a_trace_of_its_own() -> None:
    world = make_world()
    function, queue = told(world), MemoryQueue(now=world.shared.clock.now)
    stream = MemoryStream(now=world.shared.clock.now)
    queue.send("untraced", traceparent="is not for X-Ray")
    stream.put("key")
    async with world.running(world.queue_spec(queue), world.stream_spec(stream)):
        await until(lambda: len(function.trace_ids) == 2)
    headers = [read_xray(each) for each in function.trace_ids]
    assert [header and header.sampled for header in headers] == [False, False]
    assert len(set(function.trace_ids)) == 2
