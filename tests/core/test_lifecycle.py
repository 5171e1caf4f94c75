"""The table of states: a row for each line of it."""

from __future__ import annotations

import pytest

from poller.core.lifecycle import SETTLED, State, created, may_delete, settled, updated


@pytest.mark.parametrize(
    ("enabled", "stream", "state"),
    [
        (True, True, State.CREATING),
        (True, False, State.CREATING),
        (False, True, State.CREATING),
        (False, False, State.DISABLED),
    ],
)
def test_a_new_mapping_is_creating_unless_it_is_a_disabled_queue(
    enabled: bool, stream: bool, state: State
) -> None:
    assert created(enabled=enabled, stream=stream) is state


@pytest.mark.parametrize(
    ("was_enabled", "enabled", "state"),
    [
        (False, True, State.ENABLING),
        (True, False, State.DISABLING),
        (True, True, State.UPDATING),
        (False, False, State.UPDATING),
    ],
)
def test_an_update_of_a_settled_mapping_begins_by_what_becomes_of_enabled(
    was_enabled: bool, enabled: bool, state: State
) -> None:
    assert updated(settled(enabled=was_enabled), was_enabled=was_enabled, enabled=enabled) is state


@pytest.mark.proves("S2.in-use")
@pytest.mark.parametrize("state", sorted(set(State) - SETTLED))
@pytest.mark.parametrize("enabled", [True, False])
def test_nothing_is_updated_while_something_is_under_way(state: State, enabled: bool) -> None:
    assert updated(state, was_enabled=True, enabled=enabled) is None


def test_everything_may_be_deleted_but_what_is_updated_or_deleted_already() -> None:
    undeletable = {state for state in State if not may_delete(state)}
    assert undeletable == {State.UPDATING, State.DELETING}
