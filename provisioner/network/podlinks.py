"""Pods that run with another MTU than new ones get: a plug-in sets it once, when it makes a pod's link.

Facts: containernetworking/plugins 1.x, plugins/main/bridge (links of pods are named veth…); Calico 3.28, cni-plugin
(cali…). Cilium has the MTU in pods' routes, which their links do not tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from provisioner.inventory.words import some
from provisioner.network.mtu import Misfit, link_of, pod_mtu
from provisioner.playbook.facts import Facts
from provisioner.spec.model import ClusterSpec

_LINKS = {"flannel": "veth", "calico": "cali", "canal": "cali"}
"""How the hosts' ends of pods' links begin, by plug-in."""
_HINT = (
    "restart what runs there once the network is changed, workload by workload "
    "(`kubectl rollout restart`, or drain node after node): large packets of theirs may be lost"
)


def outdated_links(spec: ClusterSpec, facts: Mapping[str, Facts]) -> Iterator[Misfit]:
    """Of nodes at work. Each works among its like; between old and new ones datagrams may be too large."""
    found: dict[tuple[int, int], list[str]] = {}
    for name, each in facts.items():
        if not spec.nodes[name].node or not each.kubelet_certificate:
            continue
        wanted = pod_mtu(spec, each, link_of(spec, name, each))
        for has in _mtus(spec, each):
            if wanted is not None and has != wanted:
                found.setdefault((has, wanted), []).append(name)
    for (has, wanted), names in found.items():
        reason = f"{some(names)}: pods keep the MTU {has} that they began with, new ones get {wanted}"
        yield Misfit(reason, _HINT, doubtful=True)


def _mtus(spec: ClusterSpec, facts: Facts) -> list[int]:
    start = _LINKS.get(spec.network.plugin)
    if start == "veth" and any(each.type == "bridge" for each in spec.network.attachments):
        return []  # pods' links to those are named alike, and have an MTU of their own
    return sorted({mtu for link, mtu in facts.mtus.items() if start and link.startswith(start)})
