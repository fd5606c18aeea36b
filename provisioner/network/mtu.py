"""The MTU of the whole chain: the link that carries packets from node to node, what the mode adds to each, what is left
for pods. Too much of it and small packets pass while large ones hang.

Facts: flannel 0.28, pkg/backend; Calico 3.28, felix/dataplane/linux/int_dataplane.go (findHostMTU, determinePodMTU);
Cilium 1.16, pkg/mtu.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from provisioner.inventory.addresses import is_ip
from provisioner.network import cilium
from provisioner.playbook.facts import Facts
from provisioner.spec.goregexp import compiled
from provisioner.spec.model import ClusterSpec

IPV6_LEAST = 1280
"""Bytes that every link of IPv6 carries (RFC 8200, 5)."""
_FLANNEL = {"vxlan": 50, "wireguard": 80, "ipip": 20, "udp": 28, "host-gw": 0}
_OUTER = ("flannel", "cilium")
"""Plug-ins whose key is the MTU of the hosts' links; Calico's is that of the pods."""
_ETHERNET = 1500
"""Bytes of a link of which nothing else is said (IEEE 802.3)."""
_CALICO_BLIND = 1460
"""What Felix takes for the hosts' MTU where it sees no such link."""


@dataclass(frozen=True)
class Misfit:
    """`hint` is what mends it. One that is `doubtful` works, but not as one would think."""

    reason: str
    hint: str
    doubtful: bool = False


def link_of(spec: ClusterSpec, name: str, facts: Facts) -> str:
    """The link by which the node `name` sends to other nodes; "" where that is not known."""
    flannel = spec.network.flannel
    if spec.network.carrier == "flannel" and flannel.interface:
        return flannel.interface
    if spec.network.carrier == "flannel" and flannel.interface_regex:
        return _matching(flannel.interface_regex, facts)
    own = link_with(spec.nodes[name].address, facts)
    return own or facts.default_link


def overhead_of(spec: ClusterSpec) -> int:
    """Bytes that the mode adds to a pod's packet, the most of any."""
    if spec.network.carrier == "flannel":
        return _FLANNEL.get(spec.network.flannel.backend, 0) + _unreckoned(spec)
    if spec.network.plugin == "cilium":
        return cilium.overhead(spec.network)
    calico = spec.network.calico
    return max(
        (_of_pool(each.encapsulation, ":" in each.cidr, calico.wireguard) for each in calico.pools), default=0
    )


def _unreckoned(spec: ClusterSpec) -> int:
    """Bytes that flannel does not know of: it takes 50 off for VXLAN also where the outer header is one of IPv6
    (pkg/backend/vxlan, encapOverhead and v6Dev), which is 20 longer."""
    six = any(":" in cidr for cidr in spec.network.pod_cidrs)
    return 20 if six and spec.network.flannel.backend == "vxlan" else 0


def flannel_mtu(spec: ClusterSpec) -> int | None:
    """What flannel is told of the hosts' links, which are not seen by then; None where it looks by itself."""
    mtu, unreckoned = spec.network.flannel.mtu, _unreckoned(spec)
    return (mtu or _ETHERNET) - unreckoned if unreckoned else mtu


def given_mtu(spec: ClusterSpec) -> int:
    """What pods get where Calico is there for policies alone, on all hosts alike: its plug-in is told, and looks at no
    link."""
    outer = spec.network.flannel.mtu if spec.network.plugin == "canal" else None
    return spec.network.calico.mtu or (outer or _ETHERNET) - overhead_of(spec)


def _is_given(spec: ClusterSpec) -> bool:
    return spec.network.plugin == "canal" or (
        spec.network.plugin == "calico" and spec.network.calico.policy_only
    )


def pod_mtu(spec: ClusterSpec, facts: Facts, link: str) -> int | None:
    """What pods get on a host; None where that is not known."""
    if _is_given(spec):
        return given_mtu(spec)
    if spec.network.plugin in _OUTER:
        outer = wire_mtu(spec) or facts.mtus.get(link)
        return outer - overhead_of(spec) if outer else None
    if spec.network.calico.mtu:
        return spec.network.calico.mtu
    looked_at = compiled(spec.network.calico.mtu_links)
    # Felix passes over links that are not up (felix/ifacemonitor, LinkIsOperUp).
    seen = [
        mtu for name, mtu in facts.mtus.items() if looked_at.search(name) and name not in facts.idle_links
    ]
    return min(seen, default=_CALICO_BLIND) - overhead_of(spec) if facts.mtus else None


def wire_mtu(spec: ClusterSpec) -> int:
    """The size of the largest packet between nodes that the spec asks for; 0 where it leaves that to links."""
    if _is_given(spec):
        return given_mtu(spec) + overhead_of(spec)
    if spec.network.plugin == "flannel":
        return spec.network.flannel.mtu or (_ETHERNET if _unreckoned(spec) else 0)
    if spec.network.plugin == "cilium":
        return spec.network.cilium.mtu
    mtu = spec.network.calico.mtu
    return mtu + overhead_of(spec) if mtu else 0


def with_wire_mtu(spec: ClusterSpec, size: int) -> str:
    """What is to be set so that no packet on the wire is larger: a key of the spec, with its value, if it can."""
    if spec.network.plugin == "flannel":
        own = spec.network.flannel.backend in {"vxlan", "wireguard"}  # the others take the link's
        return f"{_key(spec)}: {size}" if own else f"the MTU of the nodes' links to {size}"
    return f"{_key(spec)}: {size - (0 if spec.network.plugin in _OUTER else overhead_of(spec))}"


def mtu_misfits(spec: ClusterSpec, facts: Mapping[str, Facts]) -> Iterator[Misfit]:
    """What does not fit, of the nodes whose links are known; with the MTU that does."""
    yield from _of_tunnel(spec)
    nodes = {name: each for name, each in facts.items() if spec.nodes[name].node}
    links = {name: link_of(spec, name, each) for name, each in nodes.items()}
    outer = {name: each.mtus[links[name]] for name, each in nodes.items() if links[name] in each.mtus}
    pods = {name: mtu for name in outer if (mtu := pod_mtu(spec, nodes[name], links[name])) is not None}
    if not pods:
        return
    over, key = overhead_of(spec), _key(spec)
    fits = min(outer.values()) - (0 if spec.network.plugin in _OUTER else over)
    for name, mtu in pods.items():
        if mtu + over > outer[name]:
            carried = f"its link {links[name]} carries {outer[name]}"
            reason = f"{name}: pods would have the MTU {mtu}, the network adds {over}, and {carried}"
            yield Misfit(reason, f"set {key}: {fits}, or give all links between nodes the MTU {mtu + over}")
        elif mtu < IPV6_LEAST and any(":" in cidr for cidr in spec.network.pod_cidrs):
            reason = f"{name}: pods would have the MTU {mtu}, and IPv6 needs {IPV6_LEAST}"
            yield Misfit(reason, f"give all links between nodes the MTU {IPV6_LEAST + over} or more")
    yield from _apart(pods, key, fits)
    least = min(outer.values())
    if _unreckoned(spec) and not spec.network.flannel.mtu and least > _ETHERNET:
        reason = f"links between nodes carry {least} bytes, and flannel, which has IPv6 pods, is told of {_ETHERNET}"
        yield Misfit(reason, f"set network.flannel.mtu: {least}", doubtful=True)


def _of_tunnel(spec: ClusterSpec) -> Iterator[Misfit]:
    """Canal's pods are told their MTU, and flannel its own."""
    told, over = spec.network.flannel.mtu, overhead_of(spec)
    if spec.network.plugin == "canal" and told and given_mtu(spec) + over > told:
        adds = f"flannel's tunnel, whose network.flannel.mtu is {told}, adds {over}"
        reason = f"pods would have the MTU {given_mtu(spec)}, and {adds}"
        yield Misfit(reason, f"leave network.calico.mtu out, or set it to {told - over}")


def _apart(pods: Mapping[str, int], key: str, fits: int) -> Iterator[Misfit]:
    """UDP does not find out what the other side takes as TCP does."""
    least, most = min(pods, key=lambda name: pods[name]), max(pods, key=lambda name: pods[name])
    if pods[least] != pods[most]:
        sizes = f"{pods[most]} on {most} and {pods[least]} on {least}"
        reason = f"pods' MTU is {sizes}: large datagrams between them are lost"
        yield Misfit(
            reason, f"set {key}: {fits}, where the back end has that, or make the links alike", doubtful=True
        )


def _key(spec: ClusterSpec) -> str:
    return f"network.{'calico' if spec.network.plugin == 'canal' else spec.network.plugin}.mtu"


def _of_pool(encapsulation: str, ipv6: bool, wireguard: bool) -> int:
    tunnel = 70 if ipv6 else 50
    found = {"VXLAN": tunnel, "IPIP": 20}.get(encapsulation.removesuffix("CrossSubnet"), 0)
    return max(found, (80 if ipv6 else 60) if wireguard else 0)


def _matching(pattern: str, facts: Facts) -> str:
    """The first one by name or address, as flannel looks for it."""
    for link in facts.mtus:
        texts = [link, *(each.partition("/")[0] for each in facts.addresses.get(link, ()))]
        if any(compiled(pattern).search(text) for text in texts):
            return link
    return ""


def link_with(address: str, facts: Facts) -> str:
    """The link that has the address; "" where none is known to."""
    if is_ip(address):
        own = ipaddress.ip_address(address)
        for link, written in facts.addresses.items():
            if any(ipaddress.ip_interface(each).ip == own for each in written):
                return link
    return ""
