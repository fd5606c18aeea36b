"""What a change takes away, in words: for kinds of which one resource stands for many things."""

from __future__ import annotations

from provisioner.resources.displaced import moved
from provisioner.resources.model import Change, Present

_SHOWN = 3
_MANY = ("components", "node_marks")


def taken(change: Change) -> str:
    """Empty when the resource's name says it all."""
    if change.resource.kind == "migrated_mirrors":
        return _carried(change)
    if change.action != "delete" or change.resource.kind not in _MANY:
        return moved(change)
    return few(things_of(change.before))


def _carried(change: Change) -> str:
    """Which registries get files, and what is lost."""
    registries, left = (_names(change.before, key) for key in ("registries", "left"))
    return f"makes hosts.toml files for {few(registries)}" + (f"; not {', '.join(left)}" if left else "")


def _names(state: object, key: str) -> list[str]:
    found = state.attrs.get(key) if isinstance(state, Present) else ()
    return [str(each) for each in found] if isinstance(found, tuple) else []


def things_of(state: object) -> list[str]:
    """All that the attributes of a resource for many things name."""
    groups = state.attrs.values() if isinstance(state, Present) else ()
    return [str(each) for group in groups if isinstance(group, tuple) for each in group]


def few(names: list[str]) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
