"""Ownership: what this tool put on a host and no playbook stage wants any more is taken away, and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from provisioner.engine.plan import Desired
from provisioner.resources.model import AnyKind, Change, Owned, Owning, Present, Resource
from provisioner.resources.owned import gone_line, is_gone, owned_line

LEFTOVERS = "leftovers"
"""The stage that takes away, where the playbook does not name a place for it: the last but for a gate."""


@dataclass(frozen=True)
class Ownership:
    """What the hosts remember (`known`, by host and resource id), and how a run writes on."""

    run: str
    playbook: str
    known: Mapping[str, Mapping[str, Owned]]
    kinds: Mapping[str, AnyKind]

    def judged(self, host: str, change: Change) -> Change:
        """`change` with the knowledge whose thing it is about."""
        ours = change.resource.id in self.known.get(host, {})
        return replace(change, foreign=isinstance(change.before, Present) and not ours)

    def lines(self, host: str, change: Change) -> tuple[str, str]:
        """What the host writes down before and after the change; "" for nothing."""
        kind = self.kinds[change.resource.kind]
        if not isinstance(kind, Owning):
            return "", ""
        if is_gone(change):
            return "", gone_line(change, self.run)
        known = self.known.get(host, {}).get(change.resource.id)
        return owned_line(change, self.playbook, known, self.run), ""


def leftovers(
    desired: Sequence[Desired],
    owned: Mapping[str, Mapping[str, Owned]],
    playbook: str,
    kinds: Mapping[str, AnyKind],
) -> Desired:
    """The stage that takes away what `playbook` wanted once: the newest first, because a unit's file came before it."""
    wanted: dict[str, set[str]] = {}
    for stage in desired:
        for host, resources in stage.hosts.items():
            wanted.setdefault(host, set()).update(each.id for each in resources)
    hosts = {host: _left(each, wanted.get(host, set()), playbook, kinds) for host, each in owned.items()}
    return Desired(LEFTOVERS, {host: resources for host, resources in hosts.items() if resources})


def _left(
    owned: Mapping[str, Owned], wanted: Collection[str], playbook: str, kinds: Mapping[str, AnyKind]
) -> tuple[Resource, ...]:
    resources: list[Resource] = []
    for each in reversed(list(owned.values())):
        kind = kinds.get(each.kind)
        if each.id not in wanted and each.playbook == playbook and isinstance(kind, Owning):
            resource = kind.gone(each)
            resources += [resource] if resource is not None else []
    return tuple(resources)
