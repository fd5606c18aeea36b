"""How many bytes the pod network's mode adds to each packet of pods, and how large packets are on the wire."""

from __future__ import annotations

from provisioner.spec.model import ClusterSpec

_FLANNEL = {"vxlan": 50, "wireguard": 80, "ipip": 20, "udp": 28}
"""flannel, pkg/backend/*; less than 50 for none of them."""
_OVER_IPV6 = 20
"""An IPv6 header is longer by this."""


def overhead(spec: ClusterSpec, *, ipv6: bool = False) -> int:
    """Bytes between a pod's packet and the one on the wire between nodes, by IPv4 or IPv6 addresses of nodes."""
    if spec.network.plugin != "calico":
        plain = _FLANNEL.get(spec.network.flannel.backend, 0)
        return plain + (_OVER_IPV6 if ipv6 and spec.network.flannel.backend == "vxlan" else 0)
    calico = spec.network.calico  # docs, networking/configuring/mtu
    if calico.wireguard:
        return 80 if ipv6 else 60
    if any(each.startswith("VXLAN") for each in calico.encapsulations):
        return 70 if ipv6 else 50
    return 20 if any(each.startswith("IPIP") for each in calico.encapsulations) else 0


def wire_mtu(spec: ClusterSpec, *, ipv6: bool = False) -> int:
    """The size of the largest packet between nodes that the spec asks for; 0 where it leaves that to links."""
    if spec.network.plugin != "calico":
        return spec.network.flannel.mtu or 0
    mtu = spec.network.calico.mtu
    return mtu + overhead(spec, ipv6=ipv6) if mtu else 0


def with_wire_mtu(spec: ClusterSpec, size: int, *, ipv6: bool = False) -> str:
    """What is to be set so that no packet on the wire is larger: a key of the spec, with its value, if it can."""
    if spec.network.plugin != "calico":
        own = spec.network.flannel.backend in {"vxlan", "wireguard"}  # the others take the link's
        return f"network.flannel.mtu: {size}" if own else f"the MTU of the nodes' links to {size}"
    return f"network.calico.mtu: {size - overhead(spec, ipv6=ipv6)}"
