"""What is in a lab host's root, before anything of the lab is laid over it.

The cache is keyed by what this file says: change it and the next `lab up` builds anew.
containerd stays enabled, as Debian leaves it on any host. nginx, keepalived and docker-registry are
disabled: they are there to be configured, and a server that answers before anybody asked for it would hide
mistakes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "openssh-server", "sudo", "procps", "kmod", "curl"),
    *("iproute2", "iputils-ping", "iptables", "nftables", "ipset", "conntrack", "ethtool", "socat"),
    *("containerd", "runc", "nginx-light", "libnginx-mod-stream", "keepalived", "docker-registry"),
)

BARE = ("systemd", "systemd-sysv", "dbus", "openssh-server", "sudo", "iproute2", "kmod")
"""What a host must have before this tool can begin: it loads modules of the kernel with kmod."""

FILES: Mapping[str, str] = {
    # nspawn mounts version 1 controllers read-only; the lab's cgroup namespace makes writing them harmless.
    "etc/systemd/system/writable-cgroups.service": """\
[Unit]
Description=Writable cgroup controllers
DefaultDependencies=no
ConditionPathIsDirectory=/sys/fs/cgroup/systemd
Before=sysinit.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'for c in /sys/fs/cgroup/*/; do mount -o remount,bind,rw "$c"; done'

[Install]
WantedBy=sysinit.target
""",
    # A real kernel's /sys has it; Calico's pods mount it.
    "etc/systemd/system/bpf-filesystem.service": """\
[Unit]
Description=The BPF file system
DefaultDependencies=no
ConditionPathExists=!/sys/fs/bpf
Before=sysinit.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'mount -o remount,bind,rw /sys && mkdir /sys/fs/bpf'
ExecStart=/bin/sh -c 'mount -t bpf bpf /sys/fs/bpf; mount -o remount,bind,ro /sys'

[Install]
WantedBy=sysinit.target
""",
    "etc/systemd/system.conf.d/lab.conf": "[Manager]\nDefaultTimeoutStopSec=10s\n",
    "etc/systemd/journald.conf.d/lab.conf": "[Journal]\nStorage=volatile\nRuntimeMaxUse=32M\n",
}

FINISH = """\
set -e
systemctl --quiet enable writable-cgroups.service bpf-filesystem.service
# No housekeeping that wakes up in the middle of a measurement, and no console to log in at.
for unit in nginx.service keepalived.service docker-registry.service apt-daily.timer apt-daily-upgrade.timer \
  dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer; do
  [ ! -e "/lib/systemd/system/$unit" ] || systemctl --quiet disable "$unit"
done
systemctl --quiet mask console-getty.service systemd-pstore.service
apt-get clean
rm -f /etc/ssh/ssh_host_* /etc/hostname /etc/resolv.conf /var/log/*.log /var/log/apt/*
: >/etc/machine-id
: >/etc/resolv.conf
: >/etc/hosts
"""

INSTALL = """\
set -e
trap 'rm -f /usr/sbin/policy-rc.d' EXIT
# Nothing may start in a root that is being built.
printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -q -y --no-install-recommends install "$@"
apt-get clean
rm -rf /var/lib/apt/lists/*
"""


def digest(*facts: object) -> str:
    """Sixteen hex digits over the facts that a cached directory depends on."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def packages_of(*, bare: bool) -> tuple[str, ...]:
    """What is in the base root, beside what every Debian has."""
    return BARE if bare else PACKAGES


def base_key(suite: str, architecture: str, *, bare: bool = False) -> str:
    """The content key of the base root."""
    return digest("base", suite, architecture, packages_of(bare=bare), dict(FILES), FINISH)


def packages_key(base: str, packages: tuple[str, ...]) -> str:
    """The content key of the layer that adds packages to a base."""
    return digest("packages", base, sorted(packages), INSTALL)
