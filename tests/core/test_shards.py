"""The shard plan, against every history of splits and merges."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from poller.core.model import Position
from poller.core.shards import Shard, plan_shards

ENDED = Position("9", ended=True)


@st.composite
def lineages(draw: st.DrawFn) -> list[Shard]:
    """Shards in the order of their birth; each has up to two older parents."""
    shards: list[Shard] = []
    for index in range(draw(st.integers(0, 8))):
        parents = draw(st.lists(st.sampled_from(shards), max_size=2, unique=True)) if shards else []
        shards.append(Shard(f"s{index}", tuple(parent.id for parent in parents)))
    return shards


@given(lineages(), st.data())
def test_every_shard_runs_once_and_after_all_its_parents(shards: list[Shard], data: st.DataObject):
    listed = data.draw(st.permutations(shards))
    positions: dict[str, Position] = {}
    running: set[str] = set()
    begun: list[str] = []
    while len(positions) < len(shards):
        plan = plan_shards(listed, positions, running)
        for name in plan.start:
            assert name not in begun
            shard = next(shard for shard in shards if shard.id == name)
            assert all(parent in positions for parent in shard.parents)
        begun += plan.start
        running |= set(plan.start)
        assert running, "never stuck"
        name = data.draw(st.sampled_from(sorted(running)))
        running.remove(name)
        positions[name] = ENDED
    assert plan_shards(listed, positions, running).start == ()


def test_a_parent_that_is_no_longer_listed_holds_nobody_up():
    plan = plan_shards([Shard("child", ("gone", "other")), Shard("other")], {"other": ENDED}, ())
    assert plan.start == ("child",)


def test_positions_of_shards_that_are_gone_are_forgotten_unless_they_run():
    positions = {"gone": ENDED, "running": Position("1"), "listed": ENDED}
    plan = plan_shards([Shard("listed")], positions, {"running"})
    assert plan.forget == ("gone",)


def test_a_merge_waits_for_both_parents():
    listed = [Shard("a"), Shard("b"), Shard("c", ("a", "b"))]
    assert plan_shards(listed, {"a": ENDED}, {"b"}).start == ()
    assert plan_shards(listed, {"a": ENDED, "b": ENDED}, ()).start == ("c",)
