"""The second look at a host that was cleared: is anything of the cluster there, and what stays, and why.

It asks the host anew, by other ways than those by which things were taken away.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from provisioner.shell.quote import words
from provisioner.shell.script import Script

_LOOK = r"""
left() { printf 'left\t%%s\t\n' "$1"; }
stays() { printf 'stays\t%%s\t%%s\n' "$1" "$2"; }
each_left() { while read -r it; do left "$1 $it"; done; }
for u in %(units)s; do
  ! systemctl is-active --quiet -- "$u" || left "$u, which runs"
done
for p in %(folders)s; do
  [ -z "$(find "$p" -xdev ! -type d 2>/dev/null | head -n 1)" ] || left "files in $p"
done
find /proc/[0-9]*/exe -lname '/opt/kubernetes/bin/*' -printf '%%l\n' 2>/dev/null | sort -u | each_left 'a process of'
while read -r _ place _; do
  case $place in /var/lib/kubelet/*) left "the mount $place" ;; esac
done </proc/mounts
if command -v ctr >/dev/null && systemctl is-active --quiet containerd.service; then
  ctr --namespace k8s.io containers list -q | head -n 3 | each_left 'the container'
fi
for tool in iptables ip6tables; do
  ! command -v "$tool-save" >/dev/null ||
    "$tool-save" 2>/dev/null | sed -nE "s/^:((KUBE|FLANNEL|cali|OLD_CILIUM|CILIUM)[-_][^ ]*) .*/$tool: the chain \1/p" |
    head -n 3 | each_left ''
done
if command -v nft >/dev/null; then
  nft list tables 2>/dev/null | grep -E '^table ip6? (kube-proxy|flannel-ipv[46])$' | each_left "nft's"
fi
links='cni0|flannel[^:@]*|cali[0-9a-f]+|vxlan[.]calico|cilium_[^:@]*|kube-ipvs0'
ip -o link show | sed -nE "s/^[0-9]+: ($links)[:@].*/\1/p" | each_left 'the link'
%(stays)s
"""
_NODE = r"""
if [ -e /sys/class/net/tunl0 ]; then
  if grep -qs '^ipip ' /proc/modules; then
    stays tunl0 "the kernel's module ipip makes it: modprobe -r ipip ends both"
  else
    stays tunl0 "the kernel makes it, which has ipip built in"
  fi
fi
"""
_LOGS = r"""
[ ! -e /var/log/kubernetes ] || stays /var/log/kubernetes logs
[ ! -e /root/.kube/cache ] || stays /root/.kube/cache "kubectl's"
"""
_DATA = {"kubelet.service": "/var/lib/kubelet", "etcd.service": "/var/lib/etcd"}


@dataclass(frozen=True)
class Seen:
    """`left`: what should be gone; `stays`: what is left alone, and why."""

    left: tuple[str, ...]
    stays: dict[str, str]


def look_script(ended: Collection[str]) -> Script:
    """`ended` are the units that have."""
    folders = words(_DATA[unit] for unit in ended if unit in _DATA)
    stays = (_NODE if "kubelet.service" in ended else "") + _LOGS
    return Script(_LOOK % {"units": words(sorted(ended)), "folders": folders, "stays": stays.strip()})


def parse_look(output: str) -> Seen:
    """What such a script printed."""
    lines = [line.split("\t") for line in output.splitlines()]
    found = [line for line in lines if len(line) == 3]
    left = tuple(" ".join(what.split()) for word, what, _ in found if word == "left")
    return Seen(left, {what: why for word, what, why in found if word == "stays"})
