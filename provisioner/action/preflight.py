"""What is refused before anything changes, because it would fail late or only some day: judged from facts alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
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


def check_hosts(facts: Mapping[str, Facts], nodes: Sequence[str], proxy: Proxy, *, swap: bool) -> None:
    """Raises ProvisionError naming every fault of every host. `swap`: `nodes` may use swap."""
    faults = [
        *_clocks(facts),
        *(
            f"{name}: swap is on, and the kubelet does not start beside it"
            for name in _swapping(facts, nodes, swap)
        ),
        *(
            f"{name}: has {facts[name].memory // 1024} MiB of memory, a node needs {MEMORY_KIB // 1024}"
            for name in nodes
            if name in facts and facts[name].memory < MEMORY_KIB
        ),
        *_twins(facts, nodes),
        *(
            f"{name}: is a node of the cluster, and the inventory says that it is none (node: false)"
            for name, each in facts.items()
            if each.kubelet_certificate and name not in nodes
        ),
        *_proxy(facts, nodes, proxy),
    ]
    if faults:
        raise ProvisionError(
            "nothing was changed:\n" + "\n".join(f"  {each}" for each in faults), _hint(faults)
        )


def _clocks(facts: Mapping[str, Facts]) -> Iterator[str]:
    """The controller is one of many: it issues the certificates, so its clock counts as well."""
    skews = {name: each.clock_skew for name, each in facts.items()}
    middle = median([0.0, *skews.values()])
    if abs(middle) > CLOCK_SECONDS:
        yield f"this machine's clock is {_apart(-middle)} most hosts'"
        return
    for name, skew in skews.items():
        if abs(skew) > CLOCK_SECONDS:
            yield f"{name}: its clock is {_apart(skew)} this machine's"


def _apart(seconds: float) -> str:
    return f"{abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'}"


def _swapping(facts: Mapping[str, Facts], nodes: Sequence[str], allowed: bool) -> list[str]:
    return [name for name in nodes if name in facts and facts[name].swap and not allowed]


def _twins(facts: Mapping[str, Facts], nodes: Sequence[str]) -> Iterator[str]:
    """Machines that were cloned: DHCP, systemd's journal and several network plug-ins tell hosts apart by this id."""
    seen: dict[str, str] = {}
    for name in nodes:
        number = facts[name].machine_id if name in facts else ""
        if number and seen.setdefault(number, name) != name:
            yield f"{name}: has the same /etc/machine-id as {seen[number]}"


def _proxy(facts: Mapping[str, Facts], nodes: Sequence[str], proxy: Proxy) -> Iterator[str]:
    for name in nodes:
        if name not in facts:
            continue
        kernel = facts[name].kernel
        if proxy.mode == "nftables" and _version(kernel) < NFTABLES_KERNEL:
            yield f"{name}: kube-proxy's mode nftables needs Linux 5.13, this host runs {kernel}"
        if proxy.mode == "ipvs":
            missing = [
                each for each in ("ip_vs", f"ip_vs_{proxy.ipvs.scheduler}") if each not in facts[name].modules
            ]
            if not {"nf_conntrack", "nf_conntrack_ipv4"} & set(facts[name].modules):
                missing.append("nf_conntrack")
            if missing:
                yield f"{name}: kube-proxy's mode ipvs needs {', '.join(missing)}, which the kernel {kernel} has not"


def _version(kernel: str) -> tuple[int, ...]:
    numbers = re.match(r"(\d+)\.(\d+)", kernel)
    return tuple(map(int, numbers.groups())) if numbers else (0,)


def _hint(faults: Sequence[str]) -> str:
    hints = {
        "clock": "let chrony or systemd-timesyncd set the clocks",
        "node: false": "first take it away: kubectl drain NAME --ignore-daemonsets; there `systemctl disable --now "
        "kubelet` and `rm -r /var/lib/kubelet/pki`; kubectl delete node NAME; and reboot it, which ends its containers",
        "swap": "swapoff -a and remove it from /etc/fstab, or set kubelet_allow_swap: true",
        "mode ipvs": "use proxy.mode nftables, or install the kernel's extra modules",
        "mode nftables": "use proxy.mode iptables",
        "machine-id": "rm /etc/machine-id && systemd-machine-id-setup, then reboot",
    }
    return "; ".join(hint for word, hint in hints.items() if any(word in each for each in faults))
