"""Who of a cluster's hosts sends what to whom, and which of all those pairs are tried.

Ports and their users: kubernetes.io/docs/reference/networking/ports-and-protocols, etcd.io/docs (op-guide,
configuration); those of the pod network: network.needs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from provisioner.action.firewall import ETCD, KUBELET, NODE_PORTS
from provisioner.inventory.addresses import is_ip
from provisioner.inventory.model import Inventory
from provisioner.network.needs import needs_of
from provisioner.spec.model import ClusterSpec

ALL_PAIRS = 400
"""As many pairs of a flow are all tried: those of 20 nodes. Of more, each host sends to the 1st, 2nd, 4th, 8th … host
behind it, and the last ones to the first: one that is cut off is missed by all that send to it, and by all to whom it
sends, which are as many as the number of hosts has binary digits."""


@dataclass(frozen=True)
class Flow:
    """`protocol` is tcp, udp or ipip, which has no ports and goes over IPv4 alone."""

    protocol: str
    port: int
    senders: tuple[str, ...]
    receivers: tuple[str, ...]

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
    """One that is sent. `size` in bytes is that of the whole IP packet, 0 for a small one."""

    protocol: str
    port: int
    sender: str
    receiver: str
    size: int = 0

    @property
    def what(self) -> str:
        """As people name it ("UDP 8472")."""
        return "IP protocol 4" if self.protocol == "ipip" else f"{self.protocol.upper()} {self.port}"

    def of_size(self, size: int) -> Packet:
        return replace(self, size=size)


def flows_of(inventory: Inventory, spec: ClusterSpec, hosts: Collection[str]) -> list[Flow]:
    """Between those of `hosts` that are known by IP addresses."""
    usable = [name for name in inventory.hosts if name in hosts and is_ip(spec.nodes[name].address)]
    of = {
        group: tuple(host.name for host in inventory.group(group) if host.name in usable)
        for group in ("etcd", "kube_control_plane", "load_balancer", "registry")
    }
    nodes = tuple(name for name in usable if spec.nodes[name].node)
    ipv4 = tuple(name for name in nodes if ":" not in spec.nodes[name].address)
    planes, balancers = of["kube_control_plane"], of["load_balancer"]
    needs = needs_of(spec)
    clients, peers = ETCD
    flows = [
        *(Flow("udp", port, nodes, nodes) for port in (needs.udp or (size_port(spec),))),
        *(Flow("tcp", port, nodes, nodes) for port in needs.tcp),
        *(Flow(protocol, 0, ipv4, ipv4) for protocol in needs.protocols),
        Flow("tcp", KUBELET, planes, nodes),
        Flow("tcp", 6443, _both(nodes, balancers, planes), planes),
        Flow("tcp", clients, _both(planes, of["etcd"]), of["etcd"]),
        Flow("tcp", peers, of["etcd"], of["etcd"]),
        Flow("tcp", spec.endpoint.port, nodes, balancers),
        Flow("tcp", spec.registry.port, nodes, of["registry"]),
    ]
    return [flow for flow in flows if flow.senders and flow.receivers]


def _both(*groups: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for group in groups for name in group))


def size_port(spec: ClusterSpec) -> int:
    """The UDP port to which packets of full size go: one of the pod network's, or the last of the node ports."""
    return next(iter(needs_of(spec).udp), NODE_PORTS[1])


def packets_of(flows: Iterable[Flow], fresh: Collection[str]) -> list[Packet]:
    """What is sent by, or to, one of `fresh`: the others have talked with each other for long."""
    return list(
        dict.fromkeys(
            Packet(flow.protocol, flow.port, sender, receiver)
            for flow in flows
            for sender, receiver in flow.pairs()
            if sender in fresh or receiver in fresh
        )
    )
