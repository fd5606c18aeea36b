"""What the spec says of Cilium, as a value that has been checked. Words are those of its ConfigMap cilium-config and of
its chart (Cilium 1.16, install/kubernetes/cilium)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from provisioner.spec.values import cidr

ROUTING_MODES = ("tunnel", "native")
TUNNEL_PORTS: Mapping[str, int] = MappingProxyType({"vxlan": 8472, "geneve": 6081})
"""UDP, by protocol (docs, operations/system_requirements)."""
IPAM = ("cluster-pool", "kubernetes")


@dataclass(frozen=True)
class Hubble:
    """What becomes of flows: `enabled`, agents remember them; with `relay` somebody collects those of all nodes, which
    `ui` shows."""

    enabled: bool = False
    relay: bool = False
    ui: bool = False


@dataclass(frozen=True)
class Cilium:
    """`tunnel_protocol` and `tunnel_port` (UDP, 0: the protocol's own) are of the routing mode tunnel. In native mode
    the wire carries pods' addresses: what goes to `native_routing_cidrs`, one for each IP family, keeps them, and with
    `auto_direct_node_routes` nodes, which share a subnet then, find each other's pods by themselves.

    `ipam`: nodes get their part of the `pools` from Cilium's operator (cluster-pool), or of the pod CIDRs from
    kube-controller-manager (kubernetes). With `kube_proxy_replacement` there is no kube-proxy. `mtu` is the hosts', 0:
    as their link has it. `devices` face other hosts; none: those that agents find. `config` are further keys of
    cilium-config.
    """

    routing_mode: str = "tunnel"
    tunnel_protocol: str = "vxlan"
    tunnel_port: int = 0
    native_routing_cidrs: tuple[str, ...] = ()
    auto_direct_node_routes: bool = True
    ipam: str = "cluster-pool"
    pools: tuple[str, ...] = ()
    kube_proxy_replacement: bool = False
    hubble: Hubble = field(default_factory=Hubble)
    mtu: int = 0
    wireguard: bool = False
    devices: tuple[str, ...] = ()
    config: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def tunnelled(self) -> bool:
        return self.routing_mode == "tunnel"

    @property
    def backend(self) -> str:
        """How packets get from node to node: vxlan, geneve or native."""
        return self.tunnel_protocol if self.tunnelled else self.routing_mode

    @property
    def udp_port(self) -> int:
        """The tunnel's; 0 without one."""
        return (self.tunnel_port or TUNNEL_PORTS[self.tunnel_protocol]) if self.tunnelled else 0


def build_cilium(written: Mapping[str, Any], pod_cidrs: Sequence[str]) -> Cilium:
    """With the pod CIDRs where neither pools nor native routing CIDRs are written."""
    given = dict(written)
    for name in ("pools", "native_routing_cidrs"):
        given[name] = tuple(str(cidr(each)) for each in given.get(name, pod_cidrs))
    hubble = dict(given.pop("hubble", {}))
    hubble.setdefault("enabled", bool(hubble.get("relay")))
    if "devices" in given:
        given["devices"] = tuple(given["devices"])
    given["config"] = MappingProxyType(dict(given.get("config", {})))
    return Cilium(**given, hubble=Hubble(**hubble))
