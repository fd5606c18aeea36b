"""How many pods a node may have."""

from __future__ import annotations

from collections.abc import Iterator

from provisioner.errors import Problem
from provisioner.spec.draft import Draft, Unusable
from provisioner.spec.model import Network, NodeSpec

_TAKEN = 3
"""Of a node's IPv4 pod CIDR: the network's own address, the bridge's, and the broadcast address. Cilium's router is in
the bridge's place, and the check of the node's health has one more (docs, network/concepts/routing)."""


def pods_have_addresses(draft: Draft) -> Iterator[Problem]:
    """Pods beyond the node's addresses would be scheduled, and never start."""
    room = _room(draft)
    if room is None:
        return
    hint = "lower it, or give each node a wider part of the pod CIDR (node_cidr_mask)"
    wanted = draft.get("nodes", "max_pods")
    if isinstance(wanted, int) and wanted > room:
        yield draft.problem(
            ("nodes", "max_pods"), f"max_pods: {wanted} pods, but a node has {room} addresses", hint
        )
    for host in draft.inventory.hosts.values():
        wanted = draft.host_value(host.name, "node_max_pods")
        if isinstance(wanted, int) and wanted > room:
            reason = f"node_max_pods: {wanted} pods, but {host.name} has {room} addresses"
            yield draft.host_problem(host.name, "node_max_pods", reason, hint)


def pods_at_most(draft: Draft) -> int:
    """How many a node takes when nobody says: the kubelet's default, or as many as there are addresses."""
    room = _room(draft)
    return NodeSpec.max_pods if room is None else min(NodeSpec.max_pods, room)


def _room(draft: Draft) -> int | None:
    """A node's IPv4 addresses for pods; None when they have none, or that is not known, or Calico gives a node as many
    blocks of a pool as it needs (docs, networking/ipam/get-started-ip-addresses)."""
    mask = draft.get("network", "node_cidr_mask", default=Network.node_cidr_mask)
    if isinstance(mask, Unusable) or all(each.network.version != 4 for each in draft.networks("pod_cidrs")):
        return None
    plugin = draft.get("network", "plugin", default=Network.plugin)
    return None if plugin == "calico" else int((1 << (32 - mask)) - _TAKEN - (plugin == "cilium"))
