"""Which module of a playbook is which kind: those that know nothing of clusters. The others are in clusterkinds.py."""

from __future__ import annotations

from collections.abc import Mapping

from provisioner.resources.absent import AbsentPathsKind
from provisioner.resources.archive import ArchiveKind
from provisioner.resources.command import CommandKind
from provisioner.resources.displaced import DisplacedPathsKind
from provisioner.resources.ethtool import EthtoolKind
from provisioner.resources.mirrors import MigratedMirrorsKind
from provisioner.resources.model import AnyKind, ControllerKind, HostKind, Module
from provisioner.resources.modprobe import ModprobeKind
from provisioner.resources.package import PackageKind
from provisioner.resources.paths import PathKind
from provisioner.resources.seboolean import SebooleanKind
from provisioner.resources.sysctl import SysctlKind
from provisioner.resources.systemd import SystemdKind
from provisioner.resources.user import UserKind


def base_modules(*, deep: bool = False) -> dict[str, AnyKind]:
    """Kinds that know nothing of clusters, by module. `deep` hashes what is large instead of trusting its stat."""
    paths = PathKind()
    return {
        "file": paths,
        "copy": paths,
        "template": paths,
        "unarchive": ArchiveKind(deep=deep),
        "systemd_service": SystemdKind(),
        "sysctl": SysctlKind(),
        "modprobe": ModprobeKind(),
        "seboolean": SebooleanKind(),
        "ethtool": EthtoolKind(),
        "user": UserKind(),
        "package": PackageKind(),
        "command": CommandKind(),
        "absent_paths": AbsentPathsKind(),
        "displaced_paths": DisplacedPathsKind(),
        "migrated_mirrors": MigratedMirrorsKind(),
    }


def kinds_of(modules: Mapping[str, Module]) -> dict[str, AnyKind]:
    """The kinds among the modules, by the name that their resources have."""
    return {each.name: each for each in modules.values() if isinstance(each, HostKind | ControllerKind)}
