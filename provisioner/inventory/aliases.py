"""Group names: ours, and the other spellings that mean the same groups (kubeasz's, and hyphens)."""

from __future__ import annotations

from types import MappingProxyType

ETCD = "etcd"
CONTROL_PLANE = "kube_control_plane"
NODE = "kube_node"
REGISTRY = "registry"
LOAD_BALANCER = "load_balancer"
ROLES = (ETCD, CONTROL_PLANE, NODE, REGISTRY, LOAD_BALANCER)

SPELLINGS = MappingProxyType(
    {
        "kube_master": CONTROL_PLANE,
        "kube-master": CONTROL_PLANE,
        "kube-control-plane": CONTROL_PLANE,
        "kube-node": NODE,
        "ex_lb": LOAD_BALANCER,
        "ex-lb": LOAD_BALANCER,
        "load-balancer": LOAD_BALANCER,
        "harbor": REGISTRY,
    }
)


def canonical(group: str) -> str:
    """Our name of a group; any other name is its own."""
    return SPELLINGS.get(group, group)


def spellings(group: str) -> tuple[str, ...]:
    """Every name under which the group `group` (a canonical name) may be written, the canonical one first."""
    return (group, *(name for name, ours in SPELLINGS.items() if ours == group))
