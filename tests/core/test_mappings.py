"""The plan of mappings, whatever is stored and whatever the file says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from poller.core.mappings import Claim, Known, MappingPlan, plan_mappings

PAIRS = [(source, function) for source in "ab" for function in "fgh"]


def uuid5(pair: tuple[str, str]) -> str:
    """What the file calls a pair."""
    return "file-" + "".join(pair)


@st.composite
def rows(draw: st.DrawFn) -> list[Known]:
    """Rows as they come to be: the API owns a pair once at most, the file may have left some."""
    found = []
    for number, pair in enumerate(draw(st.permutations(PAIRS))):
        if draw(st.booleans()):
            found.append(Known(f"api-{number}", pair, False, draw(st.floats(0, 9))))
        if draw(st.booleans()):
            found.append(Known(uuid5(pair), pair, True, draw(st.floats(0, 9))))
        if draw(st.booleans()):
            found.append(Known(f"adopted-{number}", pair, True, draw(st.floats(0, 9))))
    return found


@given(rows(), st.lists(st.sampled_from(PAIRS), unique=True))
def test_every_pair_has_one_owner_and_nothing_is_lost(
    known: list[Known], claimed: list[tuple[str, str]]
) -> None:
    plan = plan_mappings(known, [Claim(uuid5(pair), pair) for pair in claimed])

    by_uuid = {row.uuid: row for row in known}
    assert len(plan.claimed) == len(claimed)
    for pair, uuid in zip(claimed, plan.claimed, strict=True):
        mine = [row for row in known if row.pair == pair]
        api = [row.uuid for row in mine if not row.of_file]
        assert uuid in (api or [row.uuid for row in mine] or [uuid5(pair)])
        assert {row.uuid for row in mine} - {uuid} <= set(plan.replaced)
    runs = {*plan.claimed, *plan.apart}
    assert runs.isdisjoint(plan.replaced)
    assert len(runs) == len(plan.claimed) + len(plan.apart)
    assert {row.uuid for row in known if not row.of_file} <= runs | set(plan.replaced)
    assert all(not by_uuid[uuid].of_file for uuid in plan.apart)
    assert all(by_uuid[uuid].pair in claimed for uuid in plan.replaced)


def test_what_the_api_owns_becomes_the_files_with_its_uuid() -> None:
    mine = Known("api-1", ("a", "f"), False, 1.0)
    other = Known("api-2", ("a", "g"), False, 2.0)

    assert plan_mappings([mine, other], [Claim("file-af", ("a", "f"))]) == MappingPlan(
        ("api-1",), ("api-2",), ()
    )


def test_what_left_the_file_comes_back_as_it_was() -> None:
    old = Known("file-af", ("a", "f"), True, 1.0)

    assert plan_mappings([old], []) == MappingPlan((), (), ())
    assert plan_mappings([old], [Claim("file-af", ("a", "f"))]) == MappingPlan(("file-af",), (), ())


def test_of_two_that_left_the_file_the_last_one_comes_back() -> None:
    rows = [Known("first", ("a", "f"), True, 1.0), Known("last", ("a", "f"), True, 2.0)]

    assert plan_mappings(rows, [Claim("file-af", ("a", "f"))]) == MappingPlan(
        ("last",), (), ("first",)
    )
