"""Starting a host: the script that supervises it, and the script that becomes it.

The supervisor gives the host its network, waits for it, and starts it again when it reboots (systemd-nspawn
then exits with 133). The host's overlay is mounted in a mount namespace that ends with the host, so that a
killed host leaves no mount behind.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from provisioner.lab import cgroups, kernel
from provisioner.lab.command import run
from provisioner.lab.host_files import VOLUMES
from provisioner.lab.network import link_script
from provisioner.lab.plan import LabPlan

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_SUPERVISE = """\
#!/bin/sh
# Supervises one host of a lab. Made by `provision lab up`; started by it, never by hand.
join() {{
  for group in {mounts}; do
    echo 0 >"$group/{cgroup}/$1/cgroup.procs" || exit 1
  done
}}
case ${{1-}} in
  box)
    join box
    set -e
    mount -t overlay -o {overlay} overlay {root}
    # What nspawn keeps here would stay on the machine after a kill.
    mkdir -p /run/systemd/nspawn
    mount -t tmpfs tmpfs /run/systemd/nspawn
    exec {nspawn}
    ;;
  watch) ;;
  *)
    # The caller returns when the supervisor is where it can be found and killed.
    join watch
    setsid sh "$0" watch </dev/null >>{log}/supervisor 2>&1 &
    exit 0
    ;;
esac
while :; do
{link}
  unshare --mount --propagation slave sh "$0" box >>{log}/console 2>&1
  [ $? = 133 ] || exit 0
  # What the host's kubelet made outlives its pods.
  for group in {mounts}; do
    find "$group/{cgroup}/box" -mindepth 1 -depth -type d -exec rmdir {{}} + 2>/dev/null
  done
done
"""


def script_path(plan: LabPlan, host: str) -> Path:
    """Where the supervisor's script is; among a process's arguments it marks the process as the lab's."""
    return plan.host_directory(host) / "supervise"


def start(plan: LabPlan, host: str, layers: Sequence[Path]) -> None:
    """Starts a host that is off and laid out. Returns at once; the host answers about two seconds later."""
    cgroups.prepare(plan.names.cgroup, host)
    path = script_path(plan, host)
    path.write_text(_script(plan, host, layers))
    environment = {"PATH": _PATH, "LANG": "C.UTF-8", "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"}
    run(["sh", str(path)], env=environment)


def _script(plan: LabPlan, host: str, layers: Sequence[Path]) -> str:
    directory = plan.host_directory(host)
    lower = ":".join(str(layer) for layer in layers)
    overlay = f"lowerdir={lower},upperdir={directory}/upper,workdir={directory}/work"
    return _SUPERVISE.format(
        mounts=" ".join(shlex.quote(str(mount)) for mount in cgroups.hierarchies()),
        cgroup=shlex.quote(f"{plan.names.cgroup}/{host}").strip("'"),
        overlay=shlex.quote(overlay),
        root=shlex.quote(str(directory / "root")),
        log=shlex.quote(str(directory / "log")),
        nspawn=shlex.join(_nspawn(plan, host)),
        link=link_script(plan, host),
    )


def _nspawn(plan: LabPlan, host: str) -> list[str]:
    directory = plan.host_directory(host)
    binds = [f"--bind={directory / name}:{inside}" for name, inside in VOLUMES.items()]
    modules = kernel.own_modules()
    if modules is not None:
        binds.append(f"--bind-ro={modules}")
    return [
        *("systemd-nspawn", "--quiet", f"--directory={directory / 'root'}", "--boot"),
        *(f"--machine={host}", f"--hostname={host}", "--register=no", "--keep-unit"),
        f"--network-namespace-path=/run/netns/{plan.names.namespace(host)}",
        # runc needs the keyring calls; kubelet exits without /dev/kmsg.
        *("--capability=all", "--system-call-filter=@keyring", "--bind=/dev/kmsg", *binds),
        *("--link-journal=no", "--resolv-conf=off", "--timezone=off", "--console=pipe"),
    ]
