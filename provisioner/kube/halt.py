"""What is left on a host that leaves the cluster beside what the tool itself has put there: pods, their networks, rules
in the kernel, data. Only things that bear the cluster's own names are touched."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from provisioner.kube import runtimeimages, virtualservices
from provisioner.kube.cniscript import LEASE_ID
from provisioner.kube.remainfind import DROP_NETWORK
from provisioner.kube.remains import everything
from provisioner.kube.runtimeimages import CTR
from provisioner.kube.wayback import FORGET
from provisioner.resources.mirrors import CARRIED
from provisioner.shell.quote import quote
from provisioner.shell.script import Blob, Script
from provisioner.shell.worklock import locked

REAL = """
real() { place=$(readlink -f -- "$1") && [ "${place:-/}" != / ] && echo "$place" || echo "$1"; }
"""
"""Defines `real`: a folder may be a link that was there before us, and mounts are known by where it leads to."""
# Then it stays, and so does the empty folder at its end.
_EMPTY = f"""{REAL}
empty() {{
  if [ -L "$1" ]; then find "$(real "$1")" -xdev -mindepth 1 -delete; else rm -rf --one-file-system -- "$1"; fi \\
    2>/dev/null || :
}}
"""
# Results and leases are the runtime's notes of a container, whatever its networks are called; the last one's go before
# it, so that a run that was killed finds them again. Others' are beside them, and an id may be part of another one, or
# of a network's name. libcni writes it into results since 0.8; older ones are known by their names alone.
NOTES = rf"""{DROP_NETWORK}{LEASE_ID}
result_of() {{
  id=$(grep -ao '"containerId":"[^"]*"' -- "$2" | head -n 1 | cut -d '"' -f 4)
  if [ -n "$id" ]; then [ "$id" = "$1" ]; return; fi
  case ${{2%-*}} in *-"$1") ;; *) return 1 ;; esac
}}
forget_notes() {{
  for place in /var/lib/cni/results/*-"$1"-* /var/lib/cni/cache/results/*-"$1"-*; do
    [ ! -f "$place" ] || ! result_of "$1" "$place" || rm -f -- "$place"
  done
  grep -lF -- "$1" /var/lib/cni/networks/*/* 2>/dev/null | while read -r lease; do
    lease_id "$lease"
    [ "$id" = "$1" ] || continue
    rm -f -- "$lease"
    drop_network "${{lease%/*}}"
  done
}}
"""
"""Defines `forget_notes ID`: the networks' notes of that container go."""
_NOTED = "/var/lib/containerd/io.containerd.grpc.v1.cri"
# Network namespaces named by CNI may be another runtime's: a process that
# lives there keeps them.
_PODS = f"""{NOTES}
if command -v ctr >/dev/null && systemctl is-active --quiet containerd.service; then
  {CTR} tasks list -q | while read -r t; do {CTR} tasks delete --force "$t" >/dev/null 2>&1 || :; done
  {CTR} containers list -q | while read -r c; do
    forget_notes "$c"
    {CTR} containers delete "$c" >/dev/null 2>&1 || :
  done
  # The runtime does this when it starts; it may run on for others.
  ! left=$({CTR} containers list -q) || [ -n "$left" ] || {{
    rm -rf --one-file-system {_NOTED}/sandboxes {_NOTED}/containers
    rmdir {_NOTED} 2>/dev/null || :
  }}
fi
{virtualservices.CLEAR}
systemctl stop kubepods.slice 2>/dev/null || :
kubelet=$(real /var/lib/kubelet)
while read -r _ place _; do
  case $place in "$kubelet"/*) echo "$place" ;; esac
done </proc/mounts | sort -r | while read -r place; do umount -l -- "$place" 2>/dev/null || :; done
used=$(stat -Lc %i /proc/[0-9]*/ns/net 2>/dev/null | sort -u)
for place in /run/netns/cni-*; do
  [ -e "$place" ] || continue
  echo "$used" | grep -qx "$(stat -Lc %i "$place")" || {{ umount -l -- "$place" 2>/dev/null || :; rm -f -- "$place"; }}
done
"""
_SETTINGS = """
# What kube-proxy sets and does not take back goes to what the kernel begins with, where nobody else says otherwise.
while read -r setting ours before; do
  [ -d /run/kube-proxy ] || continue
  grep -qs "^$setting" /etc/sysctl.conf /etc/sysctl.d/*.conf /run/sysctl.d/*.conf && continue
  [ "$(sysctl -n "$setting" 2>/dev/null)" != "$ours" ] || sysctl -q -w "$setting=$before" 2>/dev/null || :
done <<'END'
net.ipv4.conf.all.route_localnet 1 0
net.netfilter.nf_conntrack_tcp_timeout_established 86400 432000
net.netfilter.nf_conntrack_tcp_timeout_close_wait 3600 60
END
rm -rf /run/kube-proxy
# The runtime's own folders of pods that are gone.
for place in /run/containerd/io.containerd.grpc.v1.cri/sandboxes/*/shm; do
  [ ! -d "$place" ] || umount -l -- "$place" 2>/dev/null || :
done
rm -rf --one-file-system /run/containerd/io.containerd.grpc.v1.cri/sandboxes \
  /run/containerd/io.containerd.grpc.v1.cri/containers
find /usr/libexec/kubernetes -depth -type d -empty -delete 2>/dev/null || :
"""
_DATA = {
    "kubelet.service": (
        "/var/lib/kubelet", "/var/log/pods", "/var/log/containers",
    ),
    "etcd.service": ("/var/lib/etcd",),
}  # fmt: skip
"""What there is only by a unit of ours."""
_SHARED = "".join(
    f" /var/lib/cni{each}" for each in ("/cache/results", "/cache", "/results", "/networks", "")
)
"""Where all runtimes have their networks' notes: these folders go once they are empty."""
_KEPT = ("/etc/kubernetes", "/opt/kubernetes", "/opt/cni", "/etc/cni/net.d")
"""Folders that hold nothing of ours any more in the end; where there is something it is others' and stays."""
_MADE = ("/etc/kubernetes", "/opt/kubernetes", "/opt/cni/bin", "/opt/cni")
"""Folders that only a cluster has."""
_UNITS = (
    "kubelet.service", "kube-proxy.service", "kube-scheduler.service", "kube-controller-manager.service",
    "kube-apiserver.service", "etcd.service",
)  # fmt: skip
_EMPTIED = ("/etc/containerd/certs.d", "/etc/systemd/system/*.service.d")
"""Folders whose empty ones go: systemd does without an empty one of drop-ins."""

# Only what is still as it was carried over: others may have written there since.
_CARRIED = f"""
[ ! -e {CARRIED} ] || while read -r digest path; do
  [ ! -f "$path" ] || [ "$(sha256sum <"$path" | cut -d' ' -f1)" != "$digest" ] || rm -f -- "$path"
done <{CARRIED}
"""
# By what a host remembers a run that was killed goes on: that goes last. What was moved aside and not put back is
# somebody's, or what is kept has taken its place.
_FORGET = """
find /var/lib/provision -mindepth 1 -maxdepth 1 ! -name displaced ! -name owned %s -exec rm -rf {} +
%s
find /var/lib/provision -depth -type d -empty -delete
[ ! -e /var/lib/provision/displaced ] || find /var/lib/provision/displaced ! -type d
rm -rf /run/provision/units /run/api-load-balancer
"""
_REMEMBER = '(umask 077 && { echo; cat "$W/memory"; } >>/var/lib/provision/owned)'
_REMEMBERED = "! -name stamps ! -name archives"
"""What tells of things that stay, and what they were."""


def hand_over_script() -> Script:
    """Ends keepalived, which tells the others so; nginx serves those who are connected on."""
    return Script(locked("systemctl disable --now --quiet keepalived.service 2>/dev/null || :") + "\n")


def halted(units: Collection[str]) -> list[str]:
    """Those of `units` that the script below ends."""
    return [unit for unit in _UNITS if unit in units]


@dataclass(frozen=True)
class Registry:
    """One that goes with the cluster: its `unit`, "" where that has gone already, and the folder in which
    docker-registry makes its own for images."""

    unit: str
    storage: str


def halt_script(
    units: Collection[str],
    pod_cidrs: Collection[str],
    networks: Collection[str] = (),
    *,
    images: bool = True,
    registry: Registry | None = None,
) -> Script:
    """Ends those of ours among the host's `units` and deletes their data; where the kubelet is one, its pods end with
    their networks, whose routes are within `pod_cidrs` and which are called `networks` beside the plug-ins' own, and,
    with `images`, those. To be run while what they consist of is still there. What stays of kube-proxy is printed as
    the second look prints it (lookagain.py)."""
    ours = halted(units)
    lines = [FORGET, _EMPTY]
    for unit in ours:
        lines += [f"systemctl {verb} -- {unit} 2>/dev/null || :" for verb in ("stop", "reset-failed")]
    if "kubelet.service" in ours:
        lines += [
            runtimeimages.BEGIN,
            _PODS,
            everything(pod_cidrs, networks),
            f"rmdir --{_SHARED} 2>/dev/null || :",
        ]
        lines += [_SETTINGS, runtimeimages.DELETE if images else "", runtimeimages.END]
    lines += [f"empty {path}" for unit in ours for path in _DATA.get(unit, ())]
    if registry is not None:
        lines += [f"systemctl stop -- {quote(registry.unit)} 2>/dev/null || :"] if registry.unit else []
        lines += [f"rm -rf --one-file-system -- {quote(f'{registry.storage}/docker/registry')}"]
        lines += [f"rmdir -- {quote(f'{registry.storage}/docker')} 2>/dev/null || :"]
    return Script(locked("\n".join([*lines, ":"])) + "\n")


def remember_script(memory: Sequence[str]) -> Script:
    """Lines that the host is to remember."""
    text = "".join(f"{line}\n" for line in memory)
    return Script(f"{_REMEMBER}\n", {"memory": Blob.of(text.encode(), secret=True)})


def clear_script(*, made: Collection[str] = (), memory: Sequence[str] = ()) -> Script:
    """Takes away folders that are empty now and, last, what the tool remembers; prints what was left alone. `made` are
    folders that the tool has made. With lines of `memory` things that stay are remembered on."""
    lines = [_CARRIED.strip()]
    lines += [
        f"find {path} -mindepth 1 -depth -type d -empty -delete 2>/dev/null || :"
        for path in (*_KEPT, *_EMPTIED)
    ]
    deepest_first = sorted({*made, *_MADE}, key=lambda path: path.count("/"), reverse=True)
    lines += [f"rmdir -- {quote(path)} 2>/dev/null || :" for path in deepest_first]
    lines += [f'[ -z "$(ls -A {path} 2>/dev/null)" ] || echo {path}' for path in _KEPT]
    if memory:
        lines.append(_REMEMBER)
    lines.append(_FORGET % ((_REMEMBERED, "") if memory else ("", "rm -f /var/lib/provision/owned")))
    text = "".join(f"{line}\n" for line in memory)
    return Script("\n".join(lines) + "\n", {"memory": Blob.of(text.encode(), secret=True)} if memory else {})
