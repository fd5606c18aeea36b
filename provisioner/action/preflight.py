"""What is refused before anything changes, because it would fail late or only some day: judged from facts alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from provisioner.errors import ProvisionError
from provisioner.playbook.facts import Facts
from provisioner.spec.model import Proxy

CLOCK_SECONDS = 10.0
"""By which clocks may differ. etcd's members warn of each other from 1 s on (etcd, rafthttp/probing_status.go), and
tokens and leases end by the clock. Certificates bear more: they begin ten minutes before they are issued."""

MEMORY_KIB = 700 * 1024
"""Below this a node with kubelet, runtime, proxy and the network's agent begins to kill pods."""

IPVS_DEPRECATED = 35
"""The minor version of Kubernetes since which it is (KEP-5495)."""

NFTABLES_KERNEL = (5, 13)
"""The oldest on which kube-proxy's mode nftables works (kube-proxy, nftables/proxier.go)."""


@dataclass(frozen=True)
class _Fault:
    """`hint` mends it, "" where nothing but another host does."""

    reason: str
    hint: str = ""


_CLOCK = "let chrony or systemd-timesyncd set the clocks"
_LEAVE = (
    "first take it away: kubectl drain NAME --ignore-daemonsets; there `systemctl disable --now kubelet` and "
    "`rm -r /var/lib/kubelet/pki`; kubectl delete node NAME; and reboot it, which ends its containers"
)
_SWAP = "swapoff -a and remove it from /etc/fstab, or set kubelet_allow_swap: true"
_TWIN = "rm /etc/machine-id && systemd-machine-id-setup, then reboot"
_MODULES = "use proxy.mode nftables, or install the kernel's extra modules"
_OLD_KERNEL = "use proxy.mode iptables"


def check_hosts(
    facts: Mapping[str, Facts], nodes: Sequence[str], proxy: Proxy, *, swap: bool, small: bool = False
) -> None:
    """Raises ProvisionError naming every fault of every host. `swap`: `nodes` may use swap; `small`: they may be so."""
    known = {name: facts[name] for name in nodes if name in facts}
    faults = [
        *_clocks(facts),
        *(() if swap else _swapping(known)),
        *(() if small else _small(known)),
        *_twins(known),
        *_leaving({name: each for name, each in facts.items() if name not in nodes}),
        *_proxy(known, proxy),
    ]
    if faults:
        hints = dict.fromkeys(each.hint for each in faults if each.hint)
        raise ProvisionError("\n".join(each.reason for each in faults), "; ".join(hints))


def _clocks(facts: Mapping[str, Facts]) -> Iterator[_Fault]:
    """The controller is one of many: it issues the certificates, so its clock counts as well."""
    skews = {name: each.clock_skew for name, each in facts.items()}
    middle = median([0.0, *skews.values()])
    if abs(middle) > CLOCK_SECONDS:
        yield _Fault(f"this machine's clock is {_apart(-middle)} most hosts'", _CLOCK)
        return
    for name, skew in skews.items():
        if abs(skew) > CLOCK_SECONDS:
            yield _Fault(f"{name}: its clock is {_apart(skew)} this machine's", _CLOCK)


def _apart(seconds: float) -> str:
    return f"{abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'}"


def _swapping(nodes: Mapping[str, Facts]) -> Iterator[_Fault]:
    for name, each in nodes.items():
        if each.swap:
            yield _Fault(f"{name}: swap is on, and the kubelet does not start beside it", _SWAP)


def _small(nodes: Mapping[str, Facts]) -> Iterator[_Fault]:
    for name, each in nodes.items():
        if each.memory < MEMORY_KIB:
            needed = MEMORY_KIB // 1024
            yield _Fault(f"{name}: has {each.memory // 1024} MiB of memory, a node needs {needed}")


def _twins(nodes: Mapping[str, Facts]) -> Iterator[_Fault]:
    """Machines that were cloned: DHCP, systemd's journal and several network plug-ins tell hosts apart by this id."""
    seen: dict[str, str] = {}
    for name, each in nodes.items():
        number = each.machine_id
        if number and seen.setdefault(number, name) != name:
            yield _Fault(f"{name}: has the same /etc/machine-id as {seen[number]}", _TWIN)


def _leaving(others: Mapping[str, Facts]) -> Iterator[_Fault]:
    for name, each in others.items():
        if each.kubelet_certificate:
            reason = "is a node of the cluster, and the inventory says that it is none (node: false)"
            yield _Fault(f"{name}: {reason}", _LEAVE)


def _proxy(nodes: Mapping[str, Facts], proxy: Proxy) -> Iterator[_Fault]:
    for name, each in nodes.items():
        kernel = each.kernel
        if proxy.mode == "nftables" and version_of(kernel) < NFTABLES_KERNEL:
            reason = f"kube-proxy's mode nftables needs Linux 5.13, this host runs {kernel}"
            yield _Fault(f"{name}: {reason}", _OLD_KERNEL)
        if proxy.mode == "ipvs" and (missing := _missing(each, proxy)):
            reason = f"kube-proxy's mode ipvs needs {', '.join(missing)}, which the kernel {kernel} has not"
            yield _Fault(f"{name}: {reason}", _MODULES)


def _missing(facts: Facts, proxy: Proxy) -> list[str]:
    """Modules for mode ipvs that the kernel has not."""
    needed = ("ip_vs", f"ip_vs_{proxy.ipvs.scheduler}")
    missing = [each for each in needed if each not in facts.modules]
    if not {"nf_conntrack", "nf_conntrack_ipv4"} & set(facts.modules):
        missing.append("nf_conntrack")
    return missing


def version_of(kernel: str) -> tuple[int, ...]:
    """The first two numbers of a kernel's release."""
    numbers = re.match(r"(\d+)\.(\d+)", kernel)
    return tuple(map(int, numbers.groups())) if numbers else (0,)
