"""What makes a shared root one particular host: laid into its upper layer while the host is off."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from provisioner.lab.keys import host_key
from provisioner.lab.plan import LabPlan
from provisioner.lab.requirements import may_lower_oom_score

VOLUMES = {
    "var-lib-containerd": "/var/lib/containerd",
    "var-lib-kubelet": "/var/lib/kubelet",
    "var-lib-etcd": "/var/lib/etcd",
}
"""Directories of the host that are binds from a real file system: an overlay does not go on an overlay."""

# Found before any other runc, because /usr/local/sbin comes first in the PATH that systemd gives to services.
_RUNC = r"""#!/bin/sh
# This machine cannot lower oom_score_adj (no CAP_SYS_RESOURCE), and runc dies of it.
# So a negative wish becomes our own value.
own=$(cat /proc/self/oom_score_adj)
previous=
for argument; do
  case $previous in
    -b | --bundle) file=$argument/config.json ;;
    -p | --process) file=$argument ;;
    *) file= ;;
  esac
  case $argument in
    --bundle=*) file=${argument#*=}/config.json ;;
    --process=*) file=${argument#*=} ;;
  esac
  if [ -n "$file" ] && [ -f "$file" ]; then
    sed -i "s/\(\"oomScoreAdj\":[[:space:]]*\)-[0-9][0-9]*/\1$own/" "$file"
  fi
  previous=$argument
done
for real in /usr/local/bin/runc /usr/bin/runc /usr/sbin/runc; do
  [ -x "$real" ] && exec "$real" "$@"
done
echo "runc: not installed" >&2
exit 127
"""


def lay(plan: LabPlan, host: str) -> None:
    """Makes the host's directories and files.

    What a previous life of the host left in its overlay is kept.
    """
    directory = plan.host_directory(host)
    upper = directory / "upper"
    for name in ("upper", "work", "root", "log", *VOLUMES):
        (directory / name).mkdir(parents=True, exist_ok=True)
    _write_once(upper / "etc/hostname", f"{host}\n")
    _write_once(upper / "etc/hosts", _hosts_file(plan, host), needle=str(plan.hosts[host]))
    # Nobody answers there; but CoreDNS does not start without a resolver, and a real site has one.
    _write_once(upper / "etc/resolv.conf", f"nameserver {plan.gateway}\n", needle=str(plan.gateway))
    # An empty one would mean first boot, at which presets enable every unit.
    _write_once(upper / "etc/machine-id", f"{uuid.uuid4().hex}\n")
    _keys(plan, host, upper)
    if not may_lower_oom_score():
        _write(upper / "usr/local/sbin/runc", _RUNC, 0o755)


def _hosts_file(plan: LabPlan, host: str) -> str:
    return f"127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n{plan.hosts[host]} {host}\n"


def _keys(plan: LabPlan, host: str, upper: Path) -> None:
    ssh = upper / "etc/ssh"
    ssh.mkdir(parents=True, exist_ok=True)
    own = host_key(plan, host)
    shutil.copyfile(f"{own}.pub", ssh / f"{own.name}.pub")
    _write(ssh / own.name, own.read_text(), 0o600)
    home = upper / "root"
    for private in (home, home / ".ssh"):
        private.mkdir(exist_ok=True)
        private.chmod(0o700)
    authorized = home / ".ssh/authorized_keys"
    key = Path(f"{plan.key_file}.pub").read_text()
    if not authorized.exists() or key not in authorized.read_text():
        with authorized.open("a") as file:
            file.write(key)
        authorized.chmod(0o600)


def _write_once(path: Path, text: str, needle: str = "") -> None:
    """Leaves a file alone that somebody has written since, as long as `needle` is in it."""
    if not path.exists() or needle not in path.read_text():
        _write(path, text)


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
    path.chmod(mode)
