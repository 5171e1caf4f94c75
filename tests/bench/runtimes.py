"""Invocations through the Runtime API, on real runtimes in processes of their own.

The processor time is this process's, so it is what the host costs for each invocation.  How many a
second a runtime takes is another question: `python -m tests.bench.runtimes` answers that.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from poller.engine.invoking import new_id
from poller.interfaces import Invocation, Ran, Target
from poller.targets.attached_runtimes import Addresses, AttachedRuntimes
from tests.bench.sampling import Sample, Spending
from tests.programs import free_port
from tests.runtimes import starting
from tests.runtimes.starting import Command, started

TIMEOUT = 30.0
WAIT_MS = 20
SECONDS = 3.0
ATTACHING = 1.0  # seconds for all of several runtimes to start
AT_ONCE = 4  # invocations on one runtime, so that one is there when it asks
EVENT = b'{"Records":[' + b",".join(b'{"body":"%0200d"}' % number for number in range(10)) + b"]}"
ARN = "arn:aws:lambda:us-east-1:000000000000:function:nothing"


async def on_a_runtime(_url: str, seconds: float) -> Sample:
    """The compiled bootstrap, whose function does nothing; units are invocations."""
    async with attended(starting.compiled(), count=1, wait_ms=0) as target:
        spending, done = Spending(seconds), 0
        while spending.goes_on():
            await invoked(target)
            done += 1
        return spending.sample(done)


@asynccontextmanager
async def attended(command: Command, *, count: int, wait_ms: int) -> AsyncIterator[Target]:
    """A function with so many runtimes."""
    port = free_port()
    target = AttachedRuntimes(
        "nothing", Addresses(time.time), host="127.0.0.1", port=port, allow=(), timeout=TIMEOUT
    )
    async with target:
        with ExitStack() as runtimes:
            for _ in range(count):
                start = started(command, f"127.0.0.1:{port}", WAIT_MS=str(wait_ms))
                runtimes.enter_context(start)
            while not isinstance(await target.invoke(invocation()), Ran):
                pass
            if count > 1:
                await asyncio.sleep(ATTACHING)
            yield target


async def invoked(target: Target) -> None:
    reply = await target.invoke(invocation())
    assert isinstance(reply, Ran), reply


def invocation() -> Invocation:
    return Invocation(EVENT, new_id(), ARN, "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0")


async def rate(command: Command, *, count: int, wait_ms: int, seconds: float) -> float:
    """Invocations a second on so many runtimes, which always have one to take."""
    done = 0

    async def keep_invoking(target: Target, until: float) -> None:
        nonlocal done
        while time.monotonic() < until:
            await invoked(target)
            done += 1

    async with attended(command, count=count, wait_ms=wait_ms) as target:
        began = time.monotonic()
        workers = (keep_invoking(target, began + seconds) for _ in range(AT_ONCE * count))
        await asyncio.gather(*workers)
        return done / (time.monotonic() - began)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.runtimes", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="default: %(default)s")
    seconds = parser.parse_args().seconds
    for language in (starting.python, starting.node, starting.compiled):
        each = asyncio.run(rate(language(), count=1, wait_ms=0, seconds=seconds))
        print(f"{language.__name__:9} one runtime: {each:7,.0f} invocations a second")
    one, ten = (
        asyncio.run(rate(starting.compiled(), count=count, wait_ms=WAIT_MS, seconds=seconds))
        for count in (1, 10)
    )
    print(f"a function that waits for {WAIT_MS} ms: ten runtimes do {ten / one:.1f} of one")


if __name__ == "__main__":
    main()
