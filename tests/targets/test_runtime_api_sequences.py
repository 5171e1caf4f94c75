"""Any sequence of what runtimes may do, right and wrong, on several connections at one time.

Whatever they do: every invocation ends, one that ran returns what was posted for it and nothing
else, every request on a connection that lives is answered, and a good runtime works afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from hypothesis import given, settings
from hypothesis import strategies as st

from poller.interfaces import Errored, NotReached, Ran, Reply
from poller.targets.runtime_api import RuntimeApi
from poller.targets.runtime_closings import Closings
from tests.targets.runtimes import (
    INIT_ERROR,
    NEXT,
    Runtime,
    connected,
    error_path,
    invocation,
    response_path,
)

PLACES = 3
QUIET = 0.01

NOISE = st.binary(min_size=1, max_size=60).map(lambda noise: ("send", noise))
ACTIONS = st.sampled_from(
    [
        *[(each, b"") for each in ("next", "answer", "answer", "error", "again", "wrong", "other")],
        *[(each, b"") for each in ("init error", "close", "reset", "eof", "reconnect", "invoke")],
        ("send", f"GET {NEXT} HTTP/1.1\r\nHost:".encode()),
        (
            "send",
            b"POST " + response_path("1").encode() + b" HTTP/1.1\r\nContent-Length: 9\r\n\r\n1",
        ),
    ]
)
STEPS = st.lists(st.tuples(st.integers(0, PLACES - 1), ACTIONS | NOISE), max_size=20)


class Place:
    """One connection, the last invocation that came over it, and those before."""

    def __init__(self, address: str) -> None:
        self.runtime: Runtime | None = None
        self.taken: list[str] = []
        self._address = address
        self._resources = AsyncExitStack()

    async def connect(self) -> None:
        await self.close()
        self.runtime = await self._resources.enter_async_context(connected(self._address))

    async def close(self) -> None:
        await self._resources.aclose()
        self.runtime = None

    async def do(self, action: str, data: bytes, others: Sequence[Place]) -> None:
        """Do what may be wrong; an answer is read if one comes soon."""
        if action == "reconnect" or self.runtime is None:
            await self.connect()
        assert self.runtime is not None
        last = self.taken[-1] if self.taken else "none"
        foreign = [id_ for other in others for id_ in other.taken[-1:]] or ["none"]
        match action:
            case "next":
                self.runtime.ask("GET", NEXT)
            case "answer" | "again":
                self.runtime.ask("POST", response_path(last), last.encode())
            case "error":
                self.runtime.ask("POST", error_path(last), b'{"errorType": "E"}')
            case "wrong":
                self.runtime.ask("POST", response_path("0-0"), b"{}")
            case "other":
                self.runtime.ask("POST", response_path(foreign[0]), foreign[0].encode())
            case "init error":
                self.runtime.ask("POST", INIT_ERROR, b"{}")
            case "send":
                self.runtime.send(data)
            case "close":
                await self.close()
            case "reset":
                self.runtime.reset()
                self.runtime = None
            case "eof":
                with contextlib.suppress(OSError):
                    self.runtime.writer.write_eof()
                    await self.runtime.end()
                await self.close()

    async def read(self) -> None:
        """What has come, if anything."""
        if self.runtime is None:
            return
        with contextlib.suppress(TimeoutError, asyncio.IncompleteReadError, OSError):
            async with asyncio.timeout(QUIET):
                answer = await self.runtime.answer()
                if "lambda-runtime-aws-request-id" in answer.headers:
                    self.taken.append(answer.request_id)


@asynccontextmanager
async def places(address: str) -> AsyncIterator[list[Place]]:
    made = [Place(address) for _ in range(PLACES)]
    try:
        yield made
    finally:
        for place in made:
            await place.close()


async def works(api: RuntimeApi) -> bool:
    what = invocation(b"7")
    async with connected(api.address) as runtime, asyncio.TaskGroup() as tasks:
        runtime.ask("GET", NEXT)
        await asyncio.sleep(QUIET)
        task = tasks.create_task(api.invoke(what, timeout=10.0))
        assert (await runtime.answer()).request_id == what.request_id
        assert (await runtime.call("POST", response_path(what.request_id), b"8")).status == 202
    return task.result() == Ran(b"8")


@settings(max_examples=30, deadline=None)
@given(steps=STEPS, owned=st.booleans())
async def test_no_sequence_loses_an_invocation_or_mixes_it_up(
    steps: list[tuple[int, tuple[str, bytes]]], owned: bool
) -> None:
    invoked: dict[str, asyncio.Task[Reply]] = {}
    api = RuntimeApi(
        timeout=0.1,
        now=lambda: 0.0,
        on_init_error=lambda _: True,
        patience=0.05,
        closings=None if owned else Closings(),
    )
    async with api:
        async with places(api.address) as all_places:
            for number, (action, data) in steps:
                if action in {"invoke", "next"}:
                    what = invocation()
                    invoked[what.request_id] = asyncio.create_task(api.invoke(what))
                place = all_places[number]
                await place.do(action, data, [each for each in all_places if each is not place])
                await place.read()
            async with asyncio.timeout(10.0):
                replies = {id_: await task for id_, task in invoked.items()}
        assert await works(api)

    for id_, reply in replies.items():
        match reply:
            case Ran(body):
                assert body == id_.encode()
            case Errored() | NotReached():
                pass
