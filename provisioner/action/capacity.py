"""Whether what a node keeps back from pods fits the host. A kubelet whose reservations are more than the host has does
not start (kubelet, cm/node_container_manager_linux.go: validateNodeAllocatable)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from provisioner.errors import InputError, Problem
from provisioner.inventory.model import Inventory, Position
from provisioner.kube.reserved import kube_reserved, system_reserved
from provisioner.playbook.facts import Facts
from provisioner.spec.model import ClusterSpec
from provisioner.spec.quantities import part_of

_MIB = 1024**2
_SIGNALS = {"memory": "memory.available"}
"""By resource, the hard threshold of eviction that counts as kept back."""


@dataclass(frozen=True)
class _Kept:
    """`amount` of a resource as it is written, or our own, under `name`; `size` in bytes or CPUs."""

    name: str
    key: str
    amount: str
    size: Decimal


def servers_of(inventory: Inventory) -> frozenset[str]:
    """The hosts on which parts of the control plane, or etcd, run beside the kubelet."""
    return frozenset(host.name for group in ("kube_control_plane", "etcd") for host in inventory.group(group))


def check_capacity(inventory: Inventory, spec: ClusterSpec, facts: Mapping[str, Facts]) -> None:
    """Raises InputError for every host that keeps back all of its memory or CPUs, or more, at what is written of it."""
    problems = [
        problem
        for host, each in facts.items()
        if spec.nodes[host].node
        for resource, has in (("memory", each.memory * 1024), ("cpu", each.cpus))
        if has
        for problem in _problems(inventory, spec, host, resource, Decimal(has), each.memory)
    ]
    if problems:
        raise InputError(problems)


def _problems(
    inventory: Inventory, spec: ClusterSpec, host: str, resource: str, has: Decimal, memory: int
) -> Iterator[Problem]:
    kept = list(_kept(inventory, spec, host, resource, has, memory))
    total = sum((each.size for each in kept), Decimal())
    if total < has:
        return
    parts = ", ".join(f"{each.name} {each.amount}" for each in kept)
    ends = "the kubelet would not start" if total > has else "nothing would be left to pods"
    whole = _said(resource, has)
    what = "memory" if resource == "memory" else "CPU"
    reason = f"{host} has {whole} of {what}, and {_said(resource, total)} are kept back ({parts}): {ends}"
    yield Problem(*_place(inventory, host, kept), reason, f"keep back less than {whole} in all")


def _kept(
    inventory: Inventory, spec: ClusterSpec, host: str, resource: str, has: Decimal, memory: int
) -> Iterator[_Kept]:
    node = spec.nodes[host]
    servers = host in servers_of(inventory)
    for name, amounts, key in (
        ("kube_reserved", kube_reserved(node, memory), resource),
        ("system_reserved", system_reserved(node, memory, servers=servers), resource),
        ("eviction_hard", node.eviction_hard, _SIGNALS.get(resource, "")),
    ):
        if key in amounts:
            yield _Kept(name, key, amounts[key], part_of(amounts[key], has))


def _place(inventory: Inventory, host: str, kept: list[_Kept]) -> Position:
    """Of the largest amount that is written; the host's, where all are our own."""
    for each in sorted(kept, key=lambda one: one.size, reverse=True):
        if each.key in inventory.hosts[host].vars.get(f"node_{each.name}", {}):
            return inventory.origin(host, f"node_{each.name}", each.key)
        if each.key in inventory.variables["cluster"].get("nodes", {}).get(each.name, {}):
            return inventory.origin(None, "cluster", "nodes", each.name, each.key)
    return inventory.origin(host)


def _said(resource: str, size: Decimal) -> str:
    if resource == "memory":
        return f"{size / _MIB:.0f}Mi"
    return f"{size * 1000:.0f}m" if size % 1 else f"{size:.0f}"
