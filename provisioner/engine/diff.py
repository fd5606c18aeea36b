"""The generic diff between what is wanted and what was read. Knows no kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from provisioner.resources.model import Absent, AnyKind, Change, Present, Resource, Settling, State, Unknown


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
        change = diff(resource, actual)
        if change is not None:
            changes.append(change)
    return changes


def remaining(change: Change, after: State, kind: AnyKind) -> str:
    """What is still not as wanted once the change was made, in words; empty when all is well."""
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
