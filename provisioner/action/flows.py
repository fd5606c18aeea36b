"""Who of a cluster's hosts sends what to whom, and which of all those pairs are tried.

Ports and their users: kubernetes.io/docs/reference/networking/ports-and-protocols, etcd.io/docs (op-guide,
configuration); those of the pod network: network.needs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from provisioner.action.firewall import ETCD, KUBELET, NODE_PORTS
from provisioner.inventory.addresses import is_ip
from provisioner.inventory.model import Inventory
from provisioner.network.needs import needs_of
from provisioner.network.ways import way_of
from provisioner.spec.model import ClusterSpec

ALL_PAIRS = 400
"""As many pairs of a flow are all tried: those of 20 nodes. Of more, each host sends to the 1st, 2nd, 4th, 8th … host
behind it, and the last ones to the first: one that is cut off is missed by all that send to it, and by all to whom it
sends, which are as many as the number of hosts has binary digits."""


@dataclass(frozen=True)
class Flow:
    """`protocol` is tcp, udp or ipip, which has no ports and goes over IPv4 alone. `version` of IP; 0: that of the
    receiver's own address."""

    protocol: str
    port: int
    senders: tuple[str, ...]
    receivers: tuple[str, ...]
    version: int = 0

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Of a sender and a receiver: those that are tried."""
        every = len(self.senders) * len(self.receivers) <= ALL_PAIRS
        for number, sender in enumerate(self.senders):
            for receiver in self.receivers if every else _behind(number, self.receivers):
                if receiver != sender:
                    yield sender, receiver


def _behind(number: int, receivers: Sequence[str]) -> Iterator[str]:
    step = 1
    while step < len(receivers):
        yield receivers[(number + step) % len(receivers)]
        step *= 2


@dataclass(frozen=True)
class Packet:
    """One that is sent. `size` in bytes is that of the whole IP packet, 0 for a small one. `version`: as of a Flow."""

    protocol: str
    port: int
    sender: str
    receiver: str
    size: int = 0
    version: int = 0

    @property
    def what(self) -> str:
        """As people name it ("UDP 8472", "UDP 8472 over IPv6")."""
        if self.protocol == "ipip":
            return "IP protocol 4"
        return f"{self.protocol.upper()} {self.port}" + f" over IPv{self.version}" * bool(self.version)

    def of_size(self, size: int) -> Packet:
        return replace(self, size=size)


def flows_of(
    inventory: Inventory,
    spec: ClusterSpec,
    hosts: Collection[str],
    seconds: Mapping[str, str] = MappingProxyType({}),
) -> list[Flow]:
    """Between those of `hosts` that are known by IP addresses. `seconds`: nodes' addresses of the other IP family."""
    usable = [name for name in inventory.hosts if name in hosts and is_ip(spec.nodes[name].address)]
    of = {
        group: tuple(host.name for host in inventory.group(group) if host.name in usable)
        for group in ("etcd", "kube_control_plane", "load_balancer", "registry")
    }
    nodes = tuple(name for name in usable if spec.nodes[name].node)
    planes, balancers = of["kube_control_plane"], of["load_balancer"]
    clients, peers = ETCD
    addresses = {name: (spec.nodes[name].address, *filter(None, [seconds.get(name)])) for name in nodes}
    flows = [
        *(_of_both if len(spec.network.pod_cidrs) > 1 else _of_one)(spec, addresses),
        Flow("tcp", KUBELET, planes, nodes),
        Flow("tcp", 6443, _both(nodes, balancers, planes), planes),
        Flow("tcp", clients, _both(planes, of["etcd"]), of["etcd"]),
        Flow("tcp", peers, of["etcd"], of["etcd"]),
        Flow("tcp", spec.endpoint.port, nodes, balancers),
        Flow("tcp", spec.registry.port, nodes, of["registry"]),
    ]
    return [flow for flow in flows if flow.senders and flow.receivers]


def _of_one(spec: ClusterSpec, addresses: Mapping[str, Sequence[str]]) -> Iterator[Flow]:
    """The pod network's own."""
    needs, nodes, ipv4 = needs_of(spec), tuple(addresses), _having(4, addresses)
    yield from (Flow("udp", port, nodes, nodes) for port in (needs.udp or (size_port(spec),)))
    yield from (Flow("tcp", port, nodes, nodes) for port in needs.tcp)
    yield from (Flow(protocol, 0, ipv4, ipv4) for protocol in needs.protocols)


def _of_both(spec: ClusterSpec, addresses: Mapping[str, Sequence[str]]) -> Iterator[Flow]:
    """The same where pods have both IP families, of each over those that it goes by."""
    nodes, sessions = tuple(addresses), set()
    for version in (4, 6):
        way, those = way_of(spec.network, version), _having(version, addresses)
        sessions |= {*way.bgp}
        yield from (Flow("udp", port, those, those, version) for port in _tried(spec, version))
        yield from (Flow("tcp", port, those, those, version) for port in way.bgp)
        yield from (Flow(protocol, 0, those, those, version) for protocol in way.protocols)
    yield from (Flow("tcp", port, nodes, nodes) for port in needs_of(spec).tcp if port not in sessions)


def _having(version: int, addresses: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    return tuple(
        name for name, found in addresses.items() if any((":" in each) is (version == 6) for each in found)
    )


def _tried(spec: ClusterSpec, version: int) -> tuple[int, ...]:
    """UDP ports that are tried over one of two IP families; where pods' packets are in none, that of `size_port`."""
    way = way_of(spec.network, version)
    return way.udp or ((NODE_PORTS[1],) if way.plain or way.protocols else ())


def _both(*groups: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for group in groups for name in group))


def size_port(spec: ClusterSpec) -> int:
    """The UDP port to which packets of full size go: one of the pod network's, or the last of the node ports."""
    return next(iter(needs_of(spec).udp), NODE_PORTS[1])


def is_of_size(packet: Packet, spec: ClusterSpec) -> bool:
    """Whether it is one that goes once more in full size."""
    port = next(iter(_tried(spec, packet.version)), 0) if packet.version else size_port(spec)
    return (packet.protocol, packet.port) == ("udp", port)


def packets_of(flows: Iterable[Flow], fresh: Collection[str]) -> list[Packet]:
    """What is sent by, or to, one of `fresh`: the others have talked with each other for long."""
    return list(
        dict.fromkeys(
            Packet(flow.protocol, flow.port, sender, receiver, version=flow.version)
            for flow in flows
            for sender, receiver in flow.pairs()
            if sender in fresh or receiver in fresh
        )
    )
