"""The second look at a host that was cleared: is anything of the cluster there, and what stays, and why.

It asks the host anew: no answer of what took things away is relied on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from provisioner.kube.halt import REAL
from provisioner.kube.remains import Remain, anything, parse_remains
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
  [ -z "$(find "$(real "$p")" -xdev ! -type d 2>/dev/null | head -n 1)" ] || left "files in $p"
done
find /proc/[0-9]*/exe -lname '/opt/kubernetes/bin/*' -printf '%%l\n' 2>/dev/null | sort -u | each_left 'a process of'
kubelet=$(real /var/lib/kubelet)
while read -r _ place _; do
  case $place in "$kubelet"/*) left "the mount $place" ;; esac
done </proc/mounts
if command -v ctr >/dev/null && systemctl is-active --quiet containerd.service; then
  ctr --namespace k8s.io containers list -q | head -n 3 | each_left 'the container'
else
  for p in /run/containerd/io.containerd.runtime.v*.task/k8s.io/*/init.pid; do
    [ ! -e "$p" ] || [ ! -d "/proc/$(cat "$p")" ] || {
      p=${p%%/init.pid}
      left "the container ${p##*/}, which containerd cannot end, because it does not start"
    }
  done
fi
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
_FEW = 3
_DATA = {"kubelet.service": "/var/lib/kubelet", "etcd.service": "/var/lib/etcd"}


@dataclass(frozen=True)
class Seen:
    """`left`: what should be gone; `stays`: what is left alone, and why."""

    left: tuple[str, ...]
    stays: dict[str, str]


def look_script(ended: Collection[str], pod_cidrs: Collection[str], networks: Collection[str] = ()) -> Script:
    """`ended` are the units that have; routes to pods are within `pod_cidrs`, and `networks` are further ones that pods
    got."""
    folders = words(_DATA[unit] for unit in ended if unit in _DATA)
    look = REAL + _LOOK % {"units": words(sorted(ended)), "folders": folders}
    # Last, because it has functions of these names of its own.
    networks = f"{_NODE}{anything(pod_cidrs, networks)}\n:\n" if "kubelet.service" in ended else ""
    return Script(look + _LOGS + networks)


def parse_look(output: str) -> Seen:
    """What such a script printed."""
    lines = [line.split("\t") for line in output.splitlines()]
    found = [line for line in lines if len(line) == 3]
    left = [" ".join(what.split()) for word, what, _ in found if word == "left"]
    remains = parse_remains(output)
    left += _few(each for each in remains if not each.left)
    stays = {what: why for word, what, why in found if word == "stays"}
    return Seen(tuple(left), stays | _tables(each for each in remains if each.left and each.kind == "table"))


def _tables(remains: Iterable[Remain]) -> dict[str, str]:
    """In a line for each reason why they stay."""
    reasons: dict[str, list[str]] = {}
    for each in remains:
        reasons.setdefault(each.reason, []).append(each.name)
    return {f"the tables {', '.join(names)}": why for why, names in reasons.items()}


def _few(remains: Iterable[Remain]) -> list[str]:
    """Some of each kind: rules may be thousands."""
    told: dict[str, list[str]] = {}
    for each in remains:
        told.setdefault(each.kind, []).append(f"the {each.kind} {each.name}")
    return [text for those in told.values() for text in those[:_FEW]]
