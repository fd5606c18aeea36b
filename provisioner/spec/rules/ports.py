"""Ports that roles take on a host that has several."""

from __future__ import annotations

from collections.abc import Iterator

from provisioner.errors import Problem
from provisioner.inventory.model import Host
from provisioner.spec.calico import BGP, TYPHA_NODES
from provisioner.spec.draft import API_PORT, CONTROL_PLANE, ETCD, LOAD_BALANCER, REGISTRY, Draft
from provisioner.spec.model import Registry
from provisioner.spec.rules.calicoreach import policy_only, spoken
from provisioner.spec.rules.felix import setting_of

_BGP = ("network", "calico", "bgp")

_FIXED = {
    ETCD: (2379, 2380),
    CONTROL_PLANE: (API_PORT, 10257, 10259),
}
BESIDE_API_SERVERS = 8443
"""What to propose for load balancers on hosts where API_PORT is taken."""
_CILIUM = (4240, 4244, 9234, 9878, 9879, 9890, 9891, 9963, 9964)
"""docs, operations/system_requirements (1.16); those behind the second on localhost, or for metrics."""
_TYPHA = (5473, 9098)
"""Its own, and that of its health on localhost (Calico 3.28, manifests/calico-typha.yaml)."""
_FELIX = (("healthPort", 9099, ""), ("prometheusMetricsPort", 9091, "prometheusMetricsEnabled"))
"""Fields of a port and its default, and of whether it is there, "" for always (docs, reference/felix/configuration)."""
_TRUE = ("true", "1", "yes", "y", "t")
"""As Felix reads a variable (3.28, felix/config/param_types.go)."""
_NODE = (10248, 10249, 10250, 10256)


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
    if draft.get("network", "plugin") == "cilium" and draft.is_node(host):
        taken |= dict.fromkeys(_CILIUM, "cilium")
    if draft.get("network", "plugin") in ("calico", "canal") and draft.is_node(host):
        taken |= dict(_of_calico(draft))
    return taken | (dict.fromkeys(_NODE, "kubelet and kube-proxy") if draft.is_node(host) else {})


def _of_calico(draft: Draft) -> Iterator[tuple[int, str]]:
    for name, default, switch in _FELIX:
        on = not switch or str(setting_of(draft, switch)[1]).lower() in _TRUE
        port = str(setting_of(draft, name, default)[1])
        if on and port.isascii() and port.isdecimal():
            yield int(port), "calico-node"
    if draft.get("network", "plugin") != "calico":
        return
    if spoken(draft) and isinstance(port := draft.get(*_BGP, "listen_port", default=BGP.listen_port), int):
        yield port, "BGP of calico-node"
    typha = draft.get("network", "calico", "typha", default=len(draft.nodes()) > TYPHA_NODES)
    if typha is True or policy_only(draft) or draft.get("network", "calico", "install") == "operator":
        yield from ((port, "Typha") for port in _TYPHA)


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
