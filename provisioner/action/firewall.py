"""Which ports a cluster needs on each host, and whether the host's own firewall lets them, and pods, through."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from types import MappingProxyType

from provisioner.action.families import senders_of, written_addresses
from provisioner.action.frontends import firewalld_lets_through, ufw_lets_through
from provisioner.action.nftables import tables
from provisioner.action.packets import Packets, Range, range_of
from provisioner.errors import ProvisionError
from provisioner.inventory.addresses import is_ip
from provisioner.inventory.model import Inventory
from provisioner.network.needs import needs_of
from provisioner.playbook.facts import Facts
from provisioner.spec.model import ClusterSpec

NODE_PORTS = (30000, 32767)
"""kube-apiserver's default service-node-port-range."""
KUBELET, ETCD = 10250, (2379, 2380)
_SPOKEN = {"vrrp": ("VRRP", 112), "ipip": ("IP in IP", 4)}
"""Protocols without ports: their names for people, and numbers."""
_SHOWN = 4


@dataclass(frozen=True)
class Ports:
    """Ports of a host that others of the cluster reach, each as it is written in rules ("2379-2380"); `vrrp` and `ipip`
    are the addresses of those who send it VRRP and IP in IP, protocols without ports. What is sent to `node_tcp` and
    `node_udp` comes from `nodes` (addresses) alone, to `router_tcp` from `routers`, with whom there are sessions: no
    packet of a tunnel proves who has sent it.
    """

    tcp: tuple[str, ...] = ()
    udp: tuple[str, ...] = ()
    vrrp: tuple[str, ...] = ()
    ipip: tuple[str, ...] = ()
    node_tcp: tuple[str, ...] = ()
    node_udp: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    router_tcp: tuple[str, ...] = ()
    routers: tuple[str, ...] = ()

    def each(self) -> Iterator[tuple[str, str]]:
        """(protocol, ports) that are for everybody."""
        yield from (("tcp", each) for each in self.tcp)
        yield from (("udp", each) for each in self.udp)

    def narrow(self) -> Iterator[tuple[str, str, Sequence[str]]]:
        """(protocol, ports, addresses of those who they are for)."""
        if self.nodes:
            yield from (("tcp", each, self.nodes) for each in self.node_tcp)
            yield from (("udp", each, self.nodes) for each in self.node_udp)
        if self.routers:
            yield from (("tcp", each, self.routers) for each in self.router_tcp)

    def spoken(self) -> Iterator[tuple[str, Sequence[str]]]:
        """(protocol without ports, addresses of those who send it)."""
        yield from (("vrrp", self.vrrp), ("ipip", self.ipip))


def ports_of(
    inventory: Inventory, spec: ClusterSpec, facts: Mapping[str, Facts] = MappingProxyType({})
) -> dict[str, Ports]:
    """By host (kubernetes.io/docs/reference/networking/ports-and-protocols). From `facts` come addresses of nodes that
    are not written."""
    tcp: dict[str, list[Range]] = {name: [] for name in inventory.hosts}
    udp: dict[str, list[Range]] = {name: [] for name in inventory.hosts}
    for role, ports in (
        ("registry", (spec.registry.port,) * 2),
        ("etcd", ETCD),
        ("kube_control_plane", (6443, 6443)),
        ("load_balancer", (spec.endpoint.port,) * 2),
    ):
        for host in inventory.group(role):
            tcp[host.name].append((ports[0], ports[1]))
    needs, senders = needs_of(spec), senders_of(spec, facts)
    for name, node in spec.nodes.items():
        if node.node:
            tcp[name] += [(KUBELET, KUBELET), NODE_PORTS]
            udp[name].append(NODE_PORTS)
            if senders is None:
                tcp[name] += [(port, port) for port in needs.tcp]
                udp[name] += [(port, port) for port in needs.udp]
    balancers = [host.name for host in inventory.group("load_balancer")] if spec.load_balancer.vip else []
    return {
        name: replace(
            _between_nodes(name, spec, senders or {}),
            tcp=_written(tcp[name]),
            udp=_written(udp[name]),
            vrrp=_peers(name, balancers, spec),
            ipip=_tunnels(name, spec),
        )
        for name in inventory.hosts
    }


def both(first: Mapping[str, Ports], second: Mapping[str, Ports]) -> dict[str, Ports]:
    """By host what either needs."""
    return {name: _joined(each, second[name]) for name, each in first.items()}


def _joined(one: Ports, other: Ports) -> Ports:
    whole = {
        each.name: tuple(dict.fromkeys((*getattr(one, each.name), *getattr(other, each.name))))
        for each in fields(Ports)
    }
    return Ports(**whole)


def _between_nodes(host: str, spec: ClusterSpec, senders: Mapping[str, Sequence[str]]) -> Ports:
    """What only nodes send it, and external peers of BGP."""
    needs, bgp = needs_of(spec), spec.network.calico.bgp
    others = {each: None for name, found in senders.items() if name != host for each in found}
    if not spec.nodes[host].node or not senders:
        return Ports()
    peers = [peer.address for peer in bgp.peers if peer.address] if bgp.listen_port in needs.tcp else []
    return Ports(
        node_tcp=tuple(map(str, needs.tcp)) if others else (),
        node_udp=tuple(map(str, needs.udp)) if others else (),
        nodes=tuple(others) if needs.tcp or needs.udp else (),
        router_tcp=(str(bgp.listen_port),) if peers else (),
        routers=tuple(dict.fromkeys(peers)),
    )


def _peers(host: str, balancers: Sequence[str], spec: ClusterSpec) -> tuple[str, ...]:
    """Those that share an address with the host."""
    others = (each for each in balancers if each != host)
    return tuple(spec.nodes[each].address for each in others) if host in balancers else ()


def _tunnels(host: str, spec: ClusterSpec) -> tuple[str, ...]:
    """Nodes that send the host what pods send, with an IPv4 header before it and nothing between (RFC 2003)."""
    if "ipip" not in needs_of(spec).protocols or not spec.nodes[host].node:
        return ()
    others = (each.address for name, each in spec.nodes.items() if each.node and name != host)
    return tuple(each for each in others if is_ip(each) and ":" not in each)


def check_firewalls(facts: Mapping[str, Facts], ports: Mapping[str, Ports], spec: ClusterSpec) -> None:
    """Raises ProvisionError naming hosts, the ports that their firewalls drop, and what opens them."""
    addresses = [node.address for node in spec.nodes.values()]
    faults, hints = [], []
    for host, each in facts.items():
        needed, own = ports.get(host, Ports()), addresses_of(spec, host)
        closed = [
            (protocol, port)
            for protocol, port in needed.each()
            if not is_open(each, protocol, port, addresses, own)
        ]
        closed_in = [
            (protocol, port, senders)
            for protocol, port, senders in needed.narrow()
            if not all(is_open(each, protocol, port, [sender], own) for sender in senders)
        ]
        deaf = {
            protocol: [sender for sender in senders if not is_open(each, protocol, "", [sender], own)]
            for protocol, senders in needed.spoken()
        }
        kept = kept_in(each, spec.network.pod_cidrs, iptables=False) if spec.nodes[host].node else []
        said = [f"{port}/{protocol}" for protocol, port, *_ in (*closed, *closed_in)]
        said += [_unheard(protocol, senders) for protocol, senders in deaf.items() if senders]
        said += [f"what pods send (chain {chain})" for chain in kept]
        if said:
            faults.append(f"{host}: its firewall ({each.firewall}) would drop {', '.join(said)}")
            commands = list(_commands(each.firewall, closed))
            for protocol, port, senders in closed_in:
                commands += _answering(each.firewall, protocol, port, senders)
            for protocol, senders in deaf.items():
                commands += _hearing(each.firewall, protocol, senders)
            commands += _passing(kept, spec.network.pod_cidrs)
            hints.append(f"{host}: {'; '.join(commands)}")
    if faults:
        raise ProvisionError(
            "\n".join(faults),
            "set firewall: manage in the cluster section, or open them:\n  " + "\n  ".join(hints),
        )


def addresses_of(spec: ClusterSpec, host: str) -> tuple[str, ...]:
    """Those by which the others know it, as far as they are written."""
    return tuple(filter(is_ip, written_addresses(spec.nodes[host])))


def is_open(facts: Facts, protocol: str, port: str, others: Sequence[str], own: Sequence[str] = ()) -> bool:
    """Whether the host lets through what `others` (addresses) send to the port, or range of ports; "" without ports.
    `own` are the addresses that they send it to, where those are known.

    Where a rule's condition cannot be judged from its text it counts as one that lets through.
    """
    sent = Packets(protocol, range_of(port), tuple(filter(is_ip, others)), targets=tuple(own))
    return all(_lets_through(facts, each) for each in sent.each(facts.filters))


def _lets_through(facts: Facts, packets: Packets) -> bool:
    if facts.firewall == "nftables":
        return not any(table.refusing("input", packets) for table in tables(facts.filters))
    if facts.firewall == "firewalld":
        return firewalld_lets_through(facts.filters, packets)
    return facts.firewall != "ufw" or ufw_lets_through(facts.filters, packets)


def kept_in(facts: Facts, pod_cidrs: Sequence[str], *, iptables: bool) -> list[str]:
    """The chains of nftables ("inet filter forward") that drop, for sure, what pods send through the host: those of
    `iptables`, or all others.

    In iptables' own chain the policy does not count, and no rule after flannel's: flannel and kube-proxy put rules in
    there which let pods through, also where Docker left a policy to drop. No other table learns of those.
    """
    if facts.firewall != "nftables":
        return []
    found = {
        f"{table.family} {table.name} {chain}": None
        for table in tables(facts.filters)
        if table.of_iptables is iptables
        for cidr in pod_cidrs
        if (chain := table.refusing("forward", Packets("tcp", None, (cidr,)), policies=not iptables))
    }
    return list(found)


def _commands(firewall: str, closed: Iterable[tuple[str, str]]) -> Iterator[str]:
    for protocol, port in closed:
        if firewall == "firewalld":
            yield f"firewall-cmd --permanent --add-port={port}/{protocol} && firewall-cmd --reload"
        elif firewall == "ufw":
            yield f"ufw allow {port.replace('-', ':')}/{protocol}"
        else:
            yield f"nft insert rule inet filter input {protocol} dport {port} accept"


def _answering(firewall: str, protocol: str, port: str, senders: Sequence[str]) -> Iterator[str]:
    """Lets those alone reach the port."""
    for each in senders if firewall != "nftables" else ():
        if firewall == "ufw":
            yield f"ufw allow from {each} to any port {port} proto {protocol}"
        else:
            family = f"ipv{6 if ':' in each else 4}"
            rule = f'rule family="{family}" source address="{each}" port port="{port}" protocol="{protocol}" accept'
            yield f"firewall-cmd --permanent --add-rich-rule='{rule}' && firewall-cmd --reload"
    for family in ("ip", "ip6") if firewall == "nftables" else ():
        if mine := [each for each in senders if (":" in each) == (family == "ip6")]:
            to = f"{family} saddr {{ {', '.join(mine)} }} {protocol} dport {port}"
            yield f"nft insert rule inet filter input {to} accept"


def _unheard(protocol: str, senders: Sequence[str]) -> str:
    name, number = _SPOKEN[protocol]
    more = f" and {len(senders) - _SHOWN} more" if len(senders) > _SHOWN else ""
    return f"{name} (IP protocol {number}) from {', '.join(senders[:_SHOWN])}{more}"


def _hearing(firewall: str, protocol: str, senders: Sequence[str]) -> Iterator[str]:
    """Lets the protocol of the senders through, and nobody else's. ufw has no word for IP in IP."""
    number = _SPOKEN[protocol][1]
    value = "vrrp" if protocol == "vrrp" else number
    for each in senders:
        six = ":" in each
        if firewall == "firewalld":
            rule = (
                f'rule family="ipv{6 if six else 4}" source address="{each}" protocol value="{value}" accept'
            )
            yield f"firewall-cmd --permanent --add-rich-rule='{rule}' && firewall-cmd --reload"
        elif firewall == "ufw":
            yield f"ufw allow from {each}" + (" proto vrrp" if protocol == "vrrp" else "")
        else:
            family = "ip6" if six else "ip"
            yield f"nft insert rule inet filter input {family} saddr {each} meta l4proto {number} accept"


def _passing(chains: Iterable[str], pod_cidrs: Iterable[str]) -> Iterator[str]:
    for chain in chains:
        for cidr in pod_cidrs:
            family = "ip6" if ":" in cidr else "ip"
            for way in ("saddr", "daddr"):
                yield f"nft insert rule {chain} {family} {way} {cidr} accept"


def doubts(facts: Mapping[str, Facts], spec: ClusterSpec) -> dict[str, str]:
    """By node, iptables' chain that refuses what pods send, unless the network plug-in's rule comes before."""
    chains = {
        host: kept_in(each, spec.network.pod_cidrs, iptables=True)
        for host, each in facts.items()
        if spec.nodes[host].node
    }
    return {host: ", ".join(each) for host, each in chains.items() if each}


def _written(ranges: Iterable[Range]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(low) if low == high else f"{low}-{high}" for low, high in ranges))
