"""What a machine must have before it can carry a lab."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from provisioner.errors import ProvisionError

_PACKAGE_OF = {
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "ssh-keygen": "openssh-client",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "setsid": "util-linux",
}
_CAP_SYS_RESOURCE = 24


def require_root() -> None:
    """Raises ProvisionError unless this process is root."""
    if os.geteuid() != 0:
        raise ProvisionError("a lab needs root: it makes namespaces, mounts and cgroups", "run it with sudo")


def require_machine() -> None:
    """Raises ProvisionError, naming the Debian packages, when a command that every lab needs is missing."""
    require_root()
    _require(_PACKAGE_OF)


def require_builder() -> None:
    """Raises ProvisionError when a root cannot be built here."""
    _require({"debootstrap": "debootstrap"})


def _require(package_of: dict[str, str]) -> None:
    missing = [command for command in package_of if shutil.which(command) is None]
    if missing:
        packages = " ".join(sorted({package_of[command] for command in missing}))
        raise ProvisionError(f"not on this machine: {', '.join(missing)}", f"apt-get install {packages}")


def may_lower_oom_score() -> bool:
    """Whether hosts can be given CAP_SYS_RESOURCE, without which no oom_score_adj can be lowered."""
    status = Path("/proc/self/status").read_text().splitlines()
    bounding = next(line.split()[1] for line in status if line.startswith("CapBnd:"))
    return bool(int(bounding, 16) >> _CAP_SYS_RESOURCE & 1)
