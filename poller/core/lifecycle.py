"""The states of a mapping, and what each operation makes of them (spec 2).

| operation                    | allowed in              | state at once        | then            |
| ---------------------------- | ----------------------- | -------------------- | --------------- |
| create, enabled              |                         | Creating             | Enabled         |
| create, disabled, a stream   |                         | Creating             | Disabled        |
| create, disabled, a queue    |                         | Disabled             | Disabled        |
| update that enables          | Disabled                | Enabling             | Enabled         |
| update that disables         | Enabled                 | Disabling            | Disabled        |
| any other update             | Enabled, Disabled       | Updating             | as before       |
| delete                       | all but Updating and    | Deleting             | gone            |
|                              | Deleting                |                      |                 |

What is not allowed is answered with ResourceInUseException, as AWS documents it: "you tried to
update an event source mapping in the CREATING state, or you tried to delete an event source mapping
currently UPDATING".
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    CREATING = "Creating"
    ENABLING = "Enabling"
    ENABLED = "Enabled"
    DISABLING = "Disabling"
    DISABLED = "Disabled"
    UPDATING = "Updating"
    DELETING = "Deleting"


SETTLED = frozenset({State.ENABLED, State.DISABLED})
_UNDELETABLE = frozenset({State.UPDATING, State.DELETING})


def settled(*, enabled: bool) -> State:
    """The state that a mapping ends in."""
    return State.ENABLED if enabled else State.DISABLED


def created(*, enabled: bool, stream: bool) -> State:
    """The state of a new mapping."""
    return State.CREATING if enabled or stream else State.DISABLED


def updated(state: State, *, was_enabled: bool, enabled: bool) -> State | None:
    """The state that an update begins; None if it is not allowed now."""
    if state not in SETTLED:
        return None
    if enabled is was_enabled:
        return State.UPDATING
    return State.ENABLING if enabled else State.DISABLING


def may_delete(state: State) -> bool:
    return state not in _UNDELETABLE
