"""What in the hosts' own network settings will be in the way of pods, or of other hosts: judged from facts alone."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator, Mapping

from provisioner.action.podnetwork import network_of
from provisioner.engine.events import Note
from provisioner.errors import ProvisionError
from provisioner.inventory.addresses import is_ip
from provisioner.network.mtu import overhead, wire_mtu
from provisioner.playbook.facts import Facts, is_loopback
from provisioner.spec.model import ClusterSpec

_RESOLV = "/etc/resolv.conf"
_LEAST = 1280
"""The smallest MTU over which IPv6 goes (RFC 8200, section 5)."""
_SAME_MAC = "two virtual machines were cloned with it: give one a new hardware address"
_RESOLVER = "name servers in /etc/resolv.conf that pods can reach, too, or name those in dns.upstreams"


def check_host_networks(spec: ClusterSpec, facts: Mapping[str, Facts], fresh: Collection[str]) -> None:
    """Raises ProvisionError naming every fault of every host; of resolvers, those of `fresh` ones: where a node is at
    work it is seen whether names are found."""
    nodes = {name: each for name, each in facts.items() if spec.nodes[name].node}
    resolving = {name: each for name, each in nodes.items() if name in fresh}
    faults = [*_same_macs(spec, facts), *_mtus(spec, nodes), *_resolvers(spec, resolving)]
    if faults:
        hints = dict.fromkeys(hint for _, hint in faults)
        raise ProvisionError("\n".join(reason for reason, _ in faults), "; ".join(hints))


def doubtful_networks(spec: ClusterSpec, facts: Mapping[str, Facts]) -> Iterator[Note]:
    """What may be in the way."""
    nodes = {name: each for name, each in facts.items() if spec.nodes[name].node}
    yield from _different_mtus(spec, nodes)
    yield from _same_names(facts)
    yield from _strict_ways(spec, nodes)
    yield from _two_worlds(nodes)


def link_with(address: str, facts: Facts) -> str | None:
    """The link that has the address."""
    if is_ip(address):
        own = ipaddress.ip_address(address)
        for link, written in facts.addresses.items():
            if any(ipaddress.ip_interface(each).ip == own for each in written):
                return link
    return None


def link_mtu(address: str, facts: Facts) -> int:
    """Of the link that has the address, in bytes; 0 where none is known."""
    return facts.mtus.get(link_with(address, facts) or "", 0)


def _same_macs(spec: ClusterSpec, facts: Mapping[str, Facts]) -> Iterator[tuple[str, str]]:
    """Of links that carry the hosts' addresses, in one subnet: beyond a router nobody sees it."""
    seen: dict[tuple[str, str], str] = {}
    for name, each in facts.items():
        link = link_with(spec.nodes[name].address, each)
        mac = each.macs.get(link or "")
        if not mac:
            continue
        network = str(network_of(ipaddress.ip_address(spec.nodes[name].address), each))
        other = seen.setdefault((mac, network), name)
        if other != name:
            yield f"{name}: its link {link} has the same hardware address as {other}'s, {mac}", _SAME_MAC


def _mtus(spec: ClusterSpec, nodes: Mapping[str, Facts]) -> Iterator[tuple[str, str]]:
    for name, each in nodes.items():
        ipv6 = ":" in spec.nodes[name].address
        link, wanted = link_mtu(spec.nodes[name].address, each), wire_mtu(spec, ipv6=ipv6)
        more = overhead(spec, ipv6=ipv6)
        if link and wanted > link:
            reason = f"{name}: packets between nodes are to have {wanted} bytes, its link takes {link}"
            key = (
                "flannel.mtu (that of packets between nodes)"
                if spec.network.plugin == "flannel"
                else "calico.mtu"
            )
            most = link - (more if spec.network.plugin == "calico" else 0)
            yield reason, f"set network.{key} to {most} at most, or a larger MTU of the links"
        elif (
            link and (wanted or link) - more < _LEAST and any(":" in cidr for cidr in spec.network.pod_cidrs)
        ):
            reason = f"{name}: pods would have an MTU of {(wanted or link) - more} bytes, IPv6 needs {_LEAST}"
            yield reason, f"give its link an MTU of {_LEAST + more} or more"


def _resolvers(spec: ClusterSpec, nodes: Mapping[str, Facts]) -> Iterator[tuple[str, str]]:
    """CoreDNS forwards to what its pod inherits from the node, unless the spec names others."""
    if _RESOLV not in spec.dns.upstreams:
        return
    for name, each in nodes.items():
        if each.name_servers == ():
            yield (
                f"{name}: its {each.resolver} names no server, without which CoreDNS does not start",
                _RESOLVER,
            )
        elif each.name_servers and all(map(is_loopback, each.name_servers)):
            said = ", ".join(each.name_servers)
            yield (
                f"{name}: its {each.resolver} names {said} only: CoreDNS would ask itself for ever",
                _RESOLVER,
            )


def _different_mtus(spec: ClusterSpec, nodes: Mapping[str, Facts]) -> Iterator[Note]:
    if wire_mtu(spec):
        return
    found: dict[int, list[str]] = {}
    for name, each in nodes.items():
        if mtu := link_mtu(spec.nodes[name].address, each):
            found.setdefault(mtu, []).append(name)
    if len(found) > 1:
        said = "; ".join(f"{mtu} bytes on {', '.join(names)}" for mtu, names in sorted(found.items()))
        hint = "set one MTU on all links, or that of the smallest for pods (network.flannel.mtu, network.calico.mtu)"
        yield Note(level="warning", message=f"the nodes' links have different MTUs: {said}", hint=hint)


def _same_names(facts: Mapping[str, Facts]) -> Iterator[Note]:
    found: dict[str, list[str]] = {}
    for name, each in facts.items():
        found.setdefault(each.hostname, []).append(name)
    for hostname, names in found.items():
        if len(names) > 1:
            said = f"{', '.join(names)} have the same hostname, {hostname}; their nodes are named as in the inventory"
            yield Note(level="warning", message=said, hint="hostnamectl set-hostname NAME on each of them")


def _strict_ways(spec: ClusterSpec, nodes: Mapping[str, Facts]) -> Iterator[Note]:
    """A strict filter takes packets from where it would send to: from other subnets by the default route's link."""
    for name, each in nodes.items():
        address = spec.nodes[name].address
        link = link_with(address, each)
        if link is None or ":" in address or link not in each.strict_links or link == each.default_link:
            continue
        network = network_of(ipaddress.ip_address(address), each)
        beyond = [
            other
            for other in nodes
            if network and is_ip(at := spec.nodes[other].address) and ipaddress.ip_address(at) not in network
        ]
        if beyond:
            said = f"{name}: rp_filter is strict on {link}, and {', '.join(beyond)} may be behind {each.default_link}"
            hint = f"have routes to them by {link}, or sysctl net.ipv4.conf.{link}.rp_filter=2"
            yield Note(level="warning", message=said, hint=hint)


def _two_worlds(nodes: Mapping[str, Facts]) -> Iterator[Note]:
    for name, each in nodes.items():
        if {"legacy", "nft"} <= set(each.iptables):
            said = (
                f"{name}: iptables has rules both in its old world and in nftables; packets have to pass both"
            )
            yield Note(
                level="warning", message=said, hint="take away those that `iptables-legacy-save` shows"
            )
        if "legacy drop" in each.iptables:
            said = f"{name}: iptables' old world drops what pods send (the policy of FORWARD)"
            yield Note(level="warning", message=said, hint="iptables-legacy -P FORWARD ACCEPT")
