"""What cannot change once a cluster runs: it is kept with the cluster's state and held against the spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from provisioner.errors import InputError, Problem
from provisioner.inventory.model import Inventory
from provisioner.pki.cluster import ClusterState, Fixed
from provisioner.playbook.facts import Facts
from provisioner.resources.model import Owned
from provisioner.spec.model import ClusterSpec

_PLACES: Mapping[str, tuple[str, ...]] = {
    "pod_cidrs": ("network", "pod_cidrs"),
    "service_cidrs": ("network", "service_cidrs"),
    "node_cidr_mask": ("network", "node_cidr_mask"),
    "node_cidr_mask_ipv6": ("network", "node_cidr_mask_ipv6"),
    "domain": ("dns", "domain"),
    "existing": ("existing",),
    "plugin": ("network", "plugin"),
    "backend": ("network",),
    "ipam": ("network", "cilium"),
    "services": ("network", "cilium"),
    "install": ("network",),
}
_API_SERVER = "file:/etc/systemd/system/kube-apiserver.service"
_REASONS = {
    "pod_cidrs": "nodes keep the part of it that they were given",
    "service_cidrs": "services keep their addresses, the cluster's DNS service among them",
    "existing": "its services are its builder's, and the other way round",
    "plugin": "pods keep the addresses and the links that the other one gave them",
    "backend": "nodes that have changed already and those that have not do not reach each other's pods",
    "ipam": "pods have addresses of the parts that nodes were given so",
    "services": "connections of pods are translated by the one, and the other does not know of them",
    "install": "the operator would make a second set of agents beside the first, which nothing takes away",
    "domain": "pods have it in their resolv.conf, and tokens are issued in its name",
}


def fixed_of(spec: ClusterSpec) -> Fixed:
    """The spec's values of what is fixed."""
    network = spec.network
    existing: Fixed = {"existing": spec.existing.preset} if spec.existing else {}
    cilium: Fixed = {}
    if network.plugin == "cilium":
        services = "kube-proxy" if network.kube_proxy else "cilium"
        cilium = {"ipam": network.cilium.ipam, "services": services}
    installed: Fixed = {"install": network.calico.install} if network.plugin == "calico" else {}
    return {
        **existing,
        **installed,
        "pod_cidrs": list(network.pod_cidrs),
        "service_cidrs": list(network.service_cidrs),
        "node_cidr_mask": network.node_cidr_mask,
        "node_cidr_mask_ipv6": network.node_cidr_mask_ipv6,
        "domain": spec.dns.domain,
        "plugin": network.plugin,
        "backend": network.backend,
        **cilium,
    }


def with_fixed(
    spec: ClusterSpec,
    state: ClusterState,
    facts: Mapping[str, Facts],
    owned: Mapping[str, Mapping[str, Owned]],
) -> ClusterState:
    """`state` with the spec's values as long as the cluster is known never to have run, else with those alone that it
    does not have (an older format's). `owned` is what the hosts remember, by host and resource id."""
    wanted = fixed_of(spec)
    return replace(state, fixed=wanted if never_ran(spec, facts, owned) else {**wanted, **state.fixed})


def never_ran(
    spec: ClusterSpec, facts: Mapping[str, Facts], owned: Mapping[str, Mapping[str, Owned]]
) -> bool:
    """Of all hosts that could know. An API server gives the first Service its address before any node is there, and
    is seen even where all nodes of a cluster have left the inventory."""
    nodes = {name for name, node in spec.nodes.items() if node.node}
    return (
        nodes <= facts.keys()
        and not any(each.kubelet_certificate for each in facts.values())
        and not any(_API_SERVER in each for each in owned.values())
    )


def check_fixed(inventory: Inventory, spec: ClusterSpec, state: ClusterState) -> None:
    """Raises InputError at each value of the spec that is another one than the running cluster's."""
    problems = []
    # What a state says nothing of is as the spec has it; but who has built the cluster, every state says.
    ours: Fixed = {"existing": "none"}
    for name, wanted in {**ours, **fixed_of(spec)}.items():
        has = state.fixed.get(name, ours.get(name, wanted))
        if has != wanted:
            place = inventory.origin(None, "cluster", *_PLACES[name])
            why = _REASONS.get(name, _REASONS["pod_cidrs"])
            reason = f"{name}: the cluster runs with {_said(has)}, and that cannot be changed: {why}"
            problems.append(Problem(*place, reason, f"write {_said(has)} again, or build another cluster"))
    if problems:
        raise InputError(problems)


def _said(value: object) -> str:
    return f"[{', '.join(value)}]" if isinstance(value, list) else str(value)
