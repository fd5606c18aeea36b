"""Ports that a network plug-in takes on nodes: none is another's there, or one that services get."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from provisioner.errors import Problem
from provisioner.spec.calico import BGP, TYPHA_NODES
from provisioner.spec.cilium import TUNNEL_PORTS
from provisioner.spec.draft import API_PORT, CONTROL_PLANE, ETCD, Draft
from provisioner.spec.model import Flannel
from provisioner.spec.rules.calicoreach import encapsulations, policy_only, spoken
from provisioner.spec.rules.felix import setting_of
from provisioner.spec.validation import Path
from provisioner.spec.versions import BACKENDS

_CALICO, _FLANNEL, _CILIUM = (("network", name) for name in ("calico", "flannel", "cilium"))
_AGENT = (4240, 4244, 9234, 9878, 9879, 9890, 9891, 9963, 9964)
"""Cilium's, docs, operations/system_requirements (1.16); those behind the second on localhost, or for metrics."""
_ENCRYPTED = 51871
"""Cilium's WireGuard (1.16, pkg/wireguard/types)."""
_TYPHA = (5473, 9098)
"""Its own, and that of its health on localhost (Calico 3.28, manifests/calico-typha.yaml)."""
_FELIX = (
    ("healthPort", 9099, "", "Felix's health"),
    ("prometheusMetricsPort", 9091, "prometheusMetricsEnabled", "Felix's metrics"),
)
"""Fields of a port, its default, and of whether it is there, "" for always (docs, reference/felix/configuration)."""
_WIREGUARD = (("wireguardListeningPort", 51820, 4), ("wireguardListeningPortV6", 51821, 6))
_TRUE = ("true", "1", "yes", "y", "t")
"""As Felix reads a variable (3.28, felix/config/param_types.go)."""
KUBELET, PROXY = (10248, 10250), (10249, 10256)
_ROLES = {
    CONTROL_PLANE: {API_PORT: "the API server", 10257: "kube-controller-manager", 10259: "kube-scheduler"},
    ETCD: dict.fromkeys((2379, 2380, 2381), "etcd"),
}
_NODE_PORTS = (30000, 32767)
"""kube-apiserver's default service-node-port-range."""


@dataclass(frozen=True)
class Socket:
    """A port by tcp or udp, or those up to `last`; () where it is written nowhere."""

    protocol: str
    port: int
    owner: str
    path: Path = ()
    last: int = 0

    def meets(self, other: Socket) -> bool:
        return self.protocol == other.protocol and self.port <= other.port <= max(self.port, self.last)


def the_network_s_ports_are_its_own(draft: Draft) -> Iterator[Problem]:
    """Of two sockets of a node at one port the second is none; and a service may get any node port."""
    own = list(sockets(draft))
    others = list(_of_nodes(draft))
    for place, each in enumerate(own):
        # Of two that are written the second is told; those that are not are apart.
        taken = [
            other for index, other in enumerate(own) if index < place or (index > place and not other.path)
        ]
        owner = next((other.owner for other in (*taken, *others) if other.meets(each)), "")
        if each.path and owner:
            reason = f"{each.path[-1]}: {each.protocol.upper()} port {each.port} is taken on nodes by {owner}"
            yield draft.problem(each.path, reason, "choose another")


def sockets(draft: Draft) -> Iterator[Socket]:
    """The plug-in's, on every node."""
    plugin = draft.get("network", "plugin", default="flannel")
    if plugin in ("calico", "canal"):
        yield from _of_felix(draft)
    if plugin == "calico":
        yield from _of_calico(draft)
    if plugin in ("flannel", "canal"):
        yield from _of_flannel(draft)
    if plugin == "cilium":
        yield from _of_cilium(draft)


def _of_felix(draft: Draft) -> Iterator[Socket]:
    for name, default, switch, owner in _FELIX:
        if not switch or str(setting_of(draft, switch)[1]).lower() in _TRUE:
            yield from _setting(draft, "tcp", name, default, owner)


def _of_calico(draft: Draft) -> Iterator[Socket]:
    if spoken(draft):
        yield from _key(draft, "tcp", (*_CALICO, "bgp", "listen_port"), BGP.listen_port, "BGP of calico-node")
    typha = draft.get(*_CALICO, "typha", default=len(draft.nodes()) > TYPHA_NODES)
    if typha is True or policy_only(draft) or draft.get(*_CALICO, "install") == "operator":
        yield from (Socket("tcp", port, "Typha") for port in _TYPHA)
    if any(each.startswith("VXLAN") for each in encapsulations(draft)):
        yield from _setting(draft, "udp", "vxlanPort", 4789, "VXLAN")
    for name, default, version in _WIREGUARD:
        if draft.get(*_CALICO, "wireguard") is True and version in _versions(draft):
            yield from _setting(draft, "udp", name, default, f"WireGuard over IPv{version}")


def _of_flannel(draft: Draft) -> Iterator[Socket]:
    backend = draft.get(*_FLANNEL, "backend", default=Flannel.backend)
    if backend not in BACKENDS or backend not in Flannel.PORTS:
        return
    two = backend == "wireguard" and draft.get(*_FLANNEL, "mode", default=Flannel.mode) == "separate"
    if not two or 4 in _versions(draft):
        owner = f"flannel's {backend}{' over IPv4' * two}"
        yield from _key(draft, "udp", (*_FLANNEL, "port"), Flannel.PORTS[backend], owner)
    if two and 6 in _versions(draft):
        path = (*_FLANNEL, "port_ipv6")
        yield from _key(draft, "udp", path, Flannel.port_ipv6, "flannel's wireguard over IPv6")


def _of_cilium(draft: Draft) -> Iterator[Socket]:
    yield from (Socket("tcp", port, "cilium") for port in _AGENT)
    if draft.get(*_CILIUM, "wireguard") is True:
        yield Socket("udp", _ENCRYPTED, "Cilium's WireGuard")
    protocol = draft.get(*_CILIUM, "tunnel_protocol", default="vxlan")
    if draft.get(*_CILIUM, "routing_mode", default="tunnel") == "tunnel" and protocol in TUNNEL_PORTS:
        yield from _key(
            draft, "udp", (*_CILIUM, "tunnel_port"), TUNNEL_PORTS[protocol], f"Cilium's {protocol}"
        )


def _of_nodes(draft: Draft) -> Iterator[Socket]:
    """What else listens on some node."""
    yield from (Socket("tcp", port, "the kubelet") for port in KUBELET)
    if draft.get(*_CILIUM, "kube_proxy_replacement") is not True:
        yield from (Socket("tcp", port, "kube-proxy") for port in PROXY)
    for role, ports in _ROLES.items():
        if any(role in host.groups for host in draft.nodes()):
            yield from (Socket("tcp", port, owner) for port, owner in ports.items())
    if draft.get("load_balancer", "mode") == "local":
        yield Socket("tcp", API_PORT, "the node's own load balancer")
    first, last = _NODE_PORTS
    for protocol in ("tcp", "udp"):
        yield Socket(protocol, first, f"services that have node ports ({first}-{last})", last=last)


def _setting(draft: Draft, protocol: str, name: str, default: int, owner: str) -> Iterator[Socket]:
    path, value = setting_of(draft, name, default)
    text = str(value)
    if path not in draft.bad and text.isascii() and text.isdecimal() and 0 < int(text[:6]) < 1 << 16:
        yield Socket(protocol, int(text), owner, path)


def _key(draft: Draft, protocol: str, path: Path, default: int, owner: str) -> Iterator[Socket]:
    written = draft.get(*map(str, path))
    if isinstance(written or default, int):
        yield Socket(protocol, written or default, owner, path if written else ())


def _versions(draft: Draft) -> set[int]:
    """Of IP, that pods have."""
    return {placed.network.version for placed in draft.networks("pod_cidrs")}
