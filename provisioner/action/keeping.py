"""What of a cluster may outlast it: its registry, and what its hosts hold of the bundle."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from provisioner.action.load import Loaded
from provisioner.action.prepare import Prepared
from provisioner.errors import InputError, Problem
from provisioner.inventory.aliases import CONTROL_PLANE, NODE, REGISTRY
from provisioner.resources.model import Owned

_PROGRAMS = ("artifact", "unarchive")
_MARK = "file:/var/lib/provision/cluster.json"
IMAGES = "container images:k8s.io"
"""What a host remembers where images stay in containerd. It is of no kind: nobody but a later `reset` asks for it."""
STORED = "container images:registry"
"""The same where they stay in the folder of a registry that goes."""


@dataclass(frozen=True)
class Keep:
    """`registry`: it runs on, with its images. `bundle`: programs, the runtime's and the registry's images, and
    packages stay, as the hosts have them."""

    registry: bool = False
    bundle: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in ("registry", "bundle") if getattr(self, name))


NOTHING = Keep()


def check_keep(loaded: Loaded, keep: Keep) -> None:
    """Raises InputError for a registry that is not there."""
    if keep.registry and not any(REGISTRY in host.groups for host in loaded.inventory.hosts.values()):
        where = (str(loaded.request.inventory), 0, 0)
        reason = "no host is in the group registry: there is none to keep"
        raise InputError([Problem(*where, reason, "leave out --keep registry")])


def groups_of(prepared: Prepared, host: str) -> tuple[str, ...]:
    """None for a host that the inventory is without by now, because it leaves."""
    found = prepared.loaded.inventory.hosts.get(host)
    return found.groups if found else ()


def kept_on(prepared: Prepared, host: str, known: Mapping[str, Owned], keep: Keep) -> frozenset[str]:
    """Ids of what stays there, of all that is `known`. The mark of the cluster never does: the next one is another."""
    kept: set[str] = set()
    groups = groups_of(prepared, host)
    if keep.registry and groups == (REGISTRY,):
        kept |= known.keys()
    elif keep.registry and REGISTRY in groups:
        kept |= {
            each.id
            for stage in prepared.desired
            if stage.name == REGISTRY
            for each in stage.hosts.get(host, ())
        }
    if keep.bundle:
        kept |= _of_bundle(known)
    return frozenset(kept & known.keys() - {_MARK})


def keeps_images(prepared: Prepared, host: str, keep: Keep) -> bool:
    """Whether they stay in the containerd of a node there."""
    return keep.bundle and bool({CONTROL_PLANE, NODE} & {*groups_of(prepared, host)})


def images_of(playbook: str, rid: str = IMAGES) -> Owned:
    """The record of that id."""
    kind, _, name = rid.partition(":")
    return Owned(kind, name, frozenset({playbook}), {}, {})


def _of_bundle(known: Mapping[str, Owned]) -> set[str]:
    programs = {each.id for each in known.values() if each.kind in _PROGRAMS}
    packages = {each.id for each in known.values() if each.kind == "package"}
    above = folders_above({known[each].name for each in programs})
    return (
        programs
        | packages
        | {each.id for each in known.values() if each.kind == "file" and each.name in above}
    )


def folders_above(paths: Collection[str]) -> set[str]:
    return {str(folder) for path in paths for folder in PurePosixPath(path).parents}
