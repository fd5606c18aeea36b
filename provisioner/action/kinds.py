"""Which module of a playbook is which kind: those that know nothing of clusters. The others are in clusterkinds.py."""

from __future__ import annotations

from provisioner.resources.absent import AbsentPathsKind
from provisioner.resources.archive import ArchiveKind
from provisioner.resources.command import CommandKind
from provisioner.resources.displaced import DisplacedPathsKind
from provisioner.resources.model import AnyKind
from provisioner.resources.modprobe import ModprobeKind
from provisioner.resources.package import PackageKind
from provisioner.resources.paths import PathKind
from provisioner.resources.sysctl import SysctlKind
from provisioner.resources.systemd import SystemdKind
from provisioner.resources.user import UserKind


def base_modules() -> dict[str, AnyKind]:
    """Kinds that know nothing of clusters, by module."""
    paths = PathKind()
    return {
        "file": paths,
        "copy": paths,
        "template": paths,
        "unarchive": ArchiveKind(),
        "systemd_service": SystemdKind(),
        "sysctl": SysctlKind(),
        "modprobe": ModprobeKind(),
        "user": UserKind(),
        "package": PackageKind(),
        "command": CommandKind(),
        "absent_paths": AbsentPathsKind(),
        "displaced_paths": DisplacedPathsKind(),
    }
