"""The generic diff between what is wanted and what was read. Knows no kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from provisioner.engine.ownership import leaving
from provisioner.resources.model import (
    CLAIM,
    FORGET,
    LEFT_OVER,
    MEMORY_ONLY,
    Absent,
    AnyKind,
    Change,
    Present,
    Resource,
    Settling,
    State,
    Unknown,
)


def diff(resource: Resource, actual: State) -> Change | None:
    """The change that `resource` needs, or None. Only attributes that are wanted are compared."""
    desired = resource.desired
    if isinstance(actual, Unknown):
        return None if isinstance(desired, Absent) else Change(resource, actual, "update")
    if isinstance(desired, Absent):
        return None if isinstance(actual, Absent) else Change(resource, actual, "delete")
    if not isinstance(desired, Present):
        raise TypeError(f"{resource.id} wants something unknown")
    if isinstance(actual, Absent):
        return Change(resource, actual, "create", tuple(desired.attrs))
    keys = tuple(key for key, value in desired.attrs.items() if actual.attrs.get(key) != value)
    return Change(resource, actual, "update", keys) if keys else None


def _leaving(resource: Resource, actual: State, kind: AnyKind) -> Change | None:
    """The change with which a thing that no stage wants any more leaves, or leaves only the memory."""
    if isinstance(actual, Unknown):
        return None
    change = diff(resource, actual)
    if change is None or resource.spec.get(FORGET):
        return Change(resource, actual, "forget")
    if isinstance(actual, Present) and leaving(actual, resource.spec[LEFT_OVER], kind):
        return change
    return Change(resource, actual, "forget", ("changed by others, stays",))


def _wish(resource: Resource, actual: State, kind: AnyKind) -> Change | None:
    if LEFT_OVER in resource.spec:
        return _leaving(resource, actual, kind)
    if resource.spec.get(CLAIM):
        return Change(resource, actual, "claim")
    return diff(resource, actual)


def diff_all(
    resources: Iterable[Resource],
    states: Mapping[str, State],
    kinds: Mapping[str, AnyKind],
    planned: Sequence[Change] = (),
) -> list[Change]:
    """The changes of one host's resources in order. `planned` are changes that come before them."""
    changes: list[Change] = []
    before = {change.resource.id for change in planned}
    for resource in resources:
        read = actual = states.get(resource.id, Unknown("the probe did not answer for it"))
        kind = kinds[resource.kind]
        if isinstance(kind, Settling):
            actual = kind.settle(resource, actual, [*planned, *changes])
        if resource.id in before and actual == read:
            continue  # an earlier stage wants the same and sees to it
        change = _wish(resource, actual, kind)
        if change is not None:
            changes.append(change)
    return changes


def remaining(change: Change, after: State, kind: AnyKind) -> str:
    """What is still not as wanted once the change was made, in words; empty when all is well."""
    if change.action in MEMORY_ONLY:
        return ""
    if isinstance(kind, Settling):
        after = kind.settle(change.resource, after, [])
    left = diff(change.resource, after)
    if left is None:
        return ""
    if isinstance(after, Unknown):
        return f"cannot be read again: {after.reason}"
    desired = change.resource.desired
    if not isinstance(after, Present) or not isinstance(desired, Present):
        return f"is still {'there' if isinstance(after, Present) else 'absent'}"
    if change.resource.secret:
        return f"differs in {', '.join(left.keys)}"
    return ", ".join(f"{key} is {after.attrs.get(key)!r}, not {desired.attrs[key]!r}" for key in left.keys)
