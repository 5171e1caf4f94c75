"""The driver: one fact for each command, one task that touches the machine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from poller.core.model import Snapshot
from poller.core.steps import Finish, Started, Stopping, Ticked
from poller.engine.driver import Driver

pytestmark = pytest.mark.looptime


class Scripted:
    """A machine that answers each fact with the next commands of a script."""

    def __init__(self, *script: Sequence[Any], deadline: float | None = None) -> None:
        self.finished = False
        self.facts: list[Any] = []
        self._script = iter(script)
        self._deadline = deadline

    def handle(self, fact: Any, now: float) -> Sequence[Any]:
        self.facts.append(fact)
        return next(self._script, [])

    def deadline(self) -> float | None:
        return self._deadline

    def snapshot(self) -> Snapshot:
        raise NotImplementedError


def now() -> float:
    return asyncio.get_running_loop().time()


def saw(fact: Any, commands: Sequence[Any], at: float) -> None:
    """Nobody watches."""


async def echo(command: Any) -> Any:
    await asyncio.sleep(0.1)
    return f"did {command}"


async def test_each_command_posts_one_fact():
    machine = Scripted(["a", "b"], ["c"], [], [Finish(shard_ended=True)])
    finish = await Driver(machine, echo, clock=now, saw=saw).run()
    assert machine.facts == [Started(), "did a", "did b", "did c"]
    assert finish == Finish(shard_ended=True)


async def test_a_deadline_makes_a_tick():
    machine = Scripted([], [Finish()], deadline=5.0)
    await Driver(machine, echo, clock=now, saw=saw).run()
    assert machine.facts == [Started(), Ticked()]
    assert now() == pytest.approx(5.0, abs=0.01)


async def test_stop_is_a_fact_like_any_other():
    machine = Scripted([], [Finish()])
    driver = Driver(machine, echo, clock=now, saw=saw)
    asyncio.get_running_loop().call_later(3, driver.stop, 8.0)
    await driver.run()
    assert machine.facts == [Started(), Stopping(8.0)]


async def test_what_a_command_raises_ends_the_run_and_its_other_commands():
    ended: list[str] = []

    async def perform(command: str) -> str:
        try:
            await asyncio.sleep(1 if command == "breaks" else 100)
        finally:
            ended.append(command)
        raise RuntimeError("broken")

    machine = Scripted(["lasts", "breaks"])
    with pytest.raises(RuntimeError, match="broken"):
        await Driver(machine, perform, clock=now, saw=saw).run()
    assert ended == ["breaks", "lasts"]


async def test_a_cancelled_run_leaves_no_task_behind():
    machine = Scripted(["a", "b"])
    run = asyncio.create_task(Driver(machine, echo, clock=now, saw=saw).run())
    await asyncio.sleep(0.05)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert asyncio.all_tasks() == {asyncio.current_task()}
