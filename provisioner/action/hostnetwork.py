"""What in the hosts' own network settings will be in the way of pods, or of other hosts: judged from facts alone."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping

from provisioner.action.podnetwork import network_of
from provisioner.engine.events import Note
from provisioner.errors import ProvisionError
from provisioner.inventory.addresses import is_ip
from provisioner.network.mtu import link_with
from provisioner.playbook.facts import Facts
from provisioner.spec.model import ClusterSpec

_SAME_MAC = "two virtual machines were cloned with it: give one a new hardware address"


def check_host_networks(spec: ClusterSpec, facts: Mapping[str, Facts]) -> None:
    """Raises ProvisionError naming every host that has another's hardware address."""
    faults = list(_same_macs(spec, facts))
    if faults:
        raise ProvisionError("\n".join(faults), _SAME_MAC)


def doubtful_networks(spec: ClusterSpec, facts: Mapping[str, Facts]) -> Iterator[Note]:
    """What may be in the way."""
    nodes = {name: each for name, each in facts.items() if spec.nodes[name].node}
    yield from _same_names(facts)
    yield from _strict_ways(spec, nodes)
    yield from _two_worlds(nodes)


def link_mtu(address: str, facts: Facts) -> int:
    """Of the link that has the address, in bytes; 0 where none is known."""
    return facts.mtus.get(link_with(address, facts), 0)


def _same_macs(spec: ClusterSpec, facts: Mapping[str, Facts]) -> Iterator[str]:
    """Of links that carry the hosts' addresses, in one subnet: beyond a router nobody sees it."""
    seen: dict[tuple[str, str], str] = {}
    for name, each in facts.items():
        link = link_with(spec.nodes[name].address, each)
        mac = each.macs.get(link)
        if not mac:
            continue
        network = str(network_of(ipaddress.ip_address(spec.nodes[name].address), each))
        other = seen.setdefault((mac, network), name)
        if other != name:
            yield f"{name}: its link {link} has the same hardware address as {other}'s, {mac}"


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
        if not link or ":" in address or link not in each.strict_links or link == each.default_link:
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
