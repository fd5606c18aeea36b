"""What cannot change once a cluster runs: it is kept with the cluster's state and held against the spec."""

from __future__ import annotations

from collections.abc import Mapping

from provisioner.errors import InputError, Problem
from provisioner.inventory.model import Inventory
from provisioner.pki.cluster import ClusterState, Fixed
from provisioner.spec.model import ClusterSpec

_PLACES: Mapping[str, tuple[str, ...]] = {
    "pod_cidrs": ("network", "pod_cidrs"),
    "service_cidrs": ("network", "service_cidrs"),
    "node_cidr_mask": ("network", "node_cidr_mask"),
    "node_cidr_mask_ipv6": ("network", "node_cidr_mask_ipv6"),
    "domain": ("dns", "domain"),
}
_REASONS = {
    "pod_cidrs": "nodes keep the part of it that they were given",
    "service_cidrs": "services keep their addresses, the cluster's DNS service among them",
    "domain": "pods have it in their resolv.conf, and tokens are issued in its name",
}


def fixed_of(spec: ClusterSpec) -> Fixed:
    """The spec's values of what is fixed."""
    network = spec.network
    return {
        "pod_cidrs": list(network.pod_cidrs),
        "service_cidrs": list(network.service_cidrs),
        "node_cidr_mask": network.node_cidr_mask,
        "node_cidr_mask_ipv6": network.node_cidr_mask_ipv6,
        "domain": spec.dns.domain,
    }


def check_fixed(inventory: Inventory, spec: ClusterSpec, state: ClusterState) -> None:
    """Raises InputError at each value of the spec that is another one than the running cluster's."""
    problems = []
    for name, wanted in fixed_of(spec).items():
        has = state.fixed.get(name, wanted)
        if has != wanted:
            place = inventory.origin(None, "cluster", *_PLACES[name])
            why = _REASONS.get(name, _REASONS["pod_cidrs"])
            reason = f"{name}: the cluster runs with {_said(has)}, and that cannot be changed: {why}"
            problems.append(Problem(*place, reason, f"write {_said(has)} again, or build another cluster"))
    if problems:
        raise InputError(problems)


def _said(value: object) -> str:
    return f"[{', '.join(value)}]" if isinstance(value, list) else str(value)
