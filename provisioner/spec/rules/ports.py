"""Ports that roles take on a host that has several."""

from __future__ import annotations

from collections.abc import Iterator

from provisioner.errors import Problem
from provisioner.inventory.model import Host
from provisioner.spec.draft import API_PORT, CONTROL_PLANE, ETCD, LOAD_BALANCER, REGISTRY, Draft
from provisioner.spec.model import Registry
from provisioner.spec.rules.networkports import KUBELET, PROXY, sockets

_FIXED = {
    ETCD: (2379, 2380),
    CONTROL_PLANE: (API_PORT, 10257, 10259),
}
BESIDE_API_SERVERS = 8443
"""What to propose for load balancers on hosts where API_PORT is taken."""


def ports_are_free(draft: Draft) -> Iterator[Problem]:
    """A registry or a load balancer may share a host with other roles when its port is its own."""
    chosen = {
        REGISTRY: (("registry", "port"), Registry.port),
        LOAD_BALANCER: (("endpoint", "port"), API_PORT),
    }
    for role, (path, default) in chosen.items():
        port = draft.get(*path, default=default)
        if not isinstance(port, int):
            continue
        for host in draft.group(role):
            owner = _taken(draft, host).get(port)
            if owner:
                reason = f"port {port} of {role} on {host.name} is taken there by {owner}"
                yield _at(draft, path, role, reason)
    yield from _both_chosen(draft)


def _taken(draft: Draft, host: Host) -> dict[int, str]:
    taken = {port: role for role, ports in _FIXED.items() if role in host.groups for port in ports}
    if draft.get("load_balancer", "mode") == "local" and draft.is_node(host):
        taken = {API_PORT: "its own load balancer"} | taken
    if draft.is_node(host):
        taken |= {each.port: each.owner for each in sockets(draft) if each.protocol == "tcp"}
        taken |= dict.fromkeys((*KUBELET, *PROXY), "kubelet and kube-proxy")
    return taken


def _both_chosen(draft: Draft) -> Iterator[Problem]:
    registry = draft.get("registry", "port", default=Registry.port)
    balancer = draft.get("endpoint", "port", default=API_PORT)
    for host in draft.group(REGISTRY):
        if LOAD_BALANCER in host.groups and isinstance(registry, int) and registry == balancer:
            reason = f"port {registry} of {REGISTRY} on {host.name} is taken there by {LOAD_BALANCER}"
            yield _at(draft, ("registry", "port"), REGISTRY, reason)


def _at(draft: Draft, path: tuple[str, str], role: str, reason: str) -> Problem:
    hint = f"choose another {'.'.join(path)}, or another host"
    if role == LOAD_BALANCER:
        hint = f"set {'.'.join(path)} to {BESIDE_API_SERVERS}, or choose another host"
    if draft.get(*path) is None:
        return draft.group_problem(role, reason, hint)
    return draft.problem(path, reason, hint)
