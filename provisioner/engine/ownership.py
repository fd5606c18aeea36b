"""Ownership: what this tool put on a host and no playbook stage wants any more is taken away, and nothing else.

A thing is touched only while it is what was put there; what was there before is kept aside and comes back; whatever
else it is by now stays, and is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from provisioner.engine.plan import Desired
from provisioner.resources.model import (
    CLAIM,
    FORGET,
    AnyKind,
    Change,
    Owned,
    Owning,
    Plain,
    Present,
    Resource,
)
from provisioner.resources.owned import gone_line, is_gone, owned_line

LEFTOVERS = "leftovers"
"""The stage that takes away."""

_FILES = ("file", "artifact")
"""Kinds whose things are the file of their name. Other names are none of paths: a certificate's lacks the suffixes."""

# Folders that are links on the systems of today (usr-merge; /run of the Filesystem Hierarchy Standard 3.0).
_SAME = {
    "/var/run/": "/run/",
    "/var/lock/": "/run/lock/",
    "/bin/": "/usr/bin/",
    "/sbin/": "/usr/sbin/",
    "/lib/": "/usr/lib/",
    "/lib64/": "/usr/lib64/",
}


@dataclass(frozen=True)
class Ownership:
    """What the hosts remember (`known`, by host and resource id), and how a run of `playbook` writes on."""

    run: str
    playbook: str
    known: Mapping[str, Mapping[str, Owned]]
    kinds: Mapping[str, AnyKind]

    def judged(self, host: str, change: Change) -> Change:
        """`change` with the knowledge whose thing it is about. What is still as it was before us is not ours yet, even
        where a run that was stopped has written down that it would be."""
        if not isinstance(change.before, Present):
            return change
        known, kind = self._known(host, change.resource), self.kinds[change.resource.kind]
        untouched = (
            known is not None and isinstance(kind, Owning) and _is(change.before, known.before, kind.ours)
        )
        return replace(change, foreign=known is None or untouched)

    def lines(self, host: str, change: Change) -> tuple[str, str]:
        """What the host writes down before and after the change; "" for nothing."""
        kind = self.kinds[change.resource.kind]
        if not isinstance(kind, Owning):
            return "", ""
        if is_gone(change):
            return "", gone_line(change, self.playbook, self.run)
        return owned_line(change, self.playbook, self._known(host, change.resource), self.run), ""

    def _known(self, host: str, resource: Resource) -> Owned | None:
        """Also under another kind of those that write the file of their name: what was copied may come from the bundle
        now."""
        records = self.known.get(host, {})
        same = (records.get(f"{kind}:{resource.name}") for kind in _FILES if resource.kind in _FILES)
        return records.get(resource.id) or next((each for each in same if each is not None), None)


def leaving(actual: Present, wanted: Mapping[str, Plain], kind: AnyKind) -> bool:
    """Whether what was read is what was put there, so that it may be taken away."""
    return isinstance(kind, Owning) and (not kind.ours or _is(actual, wanted, kind.ours))


def leftovers(
    desired: Sequence[Desired],
    owned: Mapping[str, Mapping[str, Owned]],
    playbook: str,
    kinds: Mapping[str, AnyKind],
) -> Desired:
    """The stage that takes away what `playbook` wanted once: the newest first, because a unit's file came before it.

    It also notes what `playbook` wants of what others have put there.
    """
    wanted: dict[str, dict[str, Resource]] = {}
    for stage in desired:
        for host, resources in stage.hosts.items():
            wanted.setdefault(host, {}).update((each.id, each) for each in resources)
    hosts = {host: tuple(_left(each, wanted.get(host, {}), playbook, kinds)) for host, each in owned.items()}
    return Desired(LEFTOVERS, {host: resources for host, resources in hosts.items() if resources})


def _left(
    owned: Mapping[str, Owned], wanted: Mapping[str, Resource], playbook: str, kinds: Mapping[str, AnyKind]
) -> Iterator[Resource]:
    written = frozenset(_canonical(path) for each in wanted.values() for path in each.writes)
    for each in reversed(list(owned.values())):
        kind = kinds.get(each.kind)
        if not isinstance(kind, Owning):
            continue
        if each.id in wanted:
            if playbook not in each.playbooks:
                claimed = wanted[each.id]
                yield replace(claimed, spec={**claimed.spec, CLAIM: True})
        elif playbook in each.playbooks:
            resource = kind.gone(each)
            if resource is not None:
                shared = len(each.playbooks) > 1 or bool(written & set(map(_canonical, resource.writes)))
                yield replace(
                    resource, spec={**resource.spec, FORGET: shared, "keep": tuple(sorted(written))}
                )


def _is(state: Present, attrs: Mapping[str, Plain], keys: Sequence[str]) -> bool:
    return bool(attrs) and all(state.attrs.get(key) == attrs[key] for key in keys if key in attrs)


def _canonical(path: str) -> str:
    for link, folder in _SAME.items():
        if path.startswith(link):
            return folder + path[len(link) :]
    return path
