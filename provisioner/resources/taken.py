"""What a change takes away, in words: for kinds of which one resource stands for many things."""

from __future__ import annotations

from provisioner.resources.displaced import moved
from provisioner.resources.model import Change, Present

_SHOWN = 3
_MANY = ("components", "node_marks")


def taken(change: Change) -> str:
    """Empty when the resource's name says it all."""
    if change.action != "delete" or change.resource.kind not in _MANY:
        return moved(change)
    return few(things_of(change.before))


def things_of(state: object) -> list[str]:
    """All that the attributes of a resource for many things name."""
    groups = state.attrs.values() if isinstance(state, Present) else ()
    return [str(each) for group in groups if isinstance(group, tuple) for each in group]


def few(names: list[str]) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
