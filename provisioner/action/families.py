"""A node's addresses: that of the second IP family, where pods have two, without which the kubelet tells of one; and
whether the plug-in finds the same ones."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from provisioner.errors import ProvisionError
from provisioner.inventory.addresses import is_ip
from provisioner.network.autodetect import Address, found_by
from provisioner.network.mtu import link_of
from provisioner.playbook.facts import Facts
from provisioner.spec.calico import AUTODETECTION
from provisioner.spec.model import ClusterSpec, NodeSpec


def node_addresses(spec: ClusterSpec, name: str, facts: Facts) -> tuple[str, ...]:
    """The node's addresses, that of the first family first: what is written, else the only one that its link has."""
    node = spec.nodes[name]
    if len(spec.network.pod_cidrs) < 2 or not node.node:
        return (node.address,)
    found = (node.second_address,) if node.second_address else _found(node.address, facts)
    return (node.address, *(found if len(found) == 1 else ()))


def senders_of(spec: ClusterSpec, facts: Mapping[str, Facts]) -> dict[str, tuple[str, ...]] | None:
    """By node, the addresses that its packets to other nodes may come from: its own, and the IPv4 addresses of the link
    that they leave by, because one may be translated, or the plug-in take another. None where that is not known of some
    node: it has no IP address, or none of the second family is written and there are no facts of it."""
    found, vip = {}, str(spec.load_balancer.vip)
    for name, node in spec.nodes.items():
        if not node.node:
            continue
        known = facts.get(name)
        if not is_ip(node.address):
            return None
        addresses = node_addresses(spec, name, known) if known else written_addresses(node)
        if len(spec.network.pod_cidrs) > len(addresses):
            return None
        link = known.addresses.get(link_of(spec, name, known), ()) if known else ()
        more = [str(each.ip) for each in map(ipaddress.ip_interface, link) if each.version == 4]
        found[name] = tuple(dict.fromkeys([*addresses, *(each for each in more if each != vip)]))
    return found


def written_addresses(node: NodeSpec) -> tuple[str, ...]:
    """Those that the inventory has, that of the first family first."""
    return tuple(each for each in (node.address, node.second_address) if each)


def check_families(spec: ClusterSpec, facts: Mapping[str, Facts]) -> None:
    """Raises ProvisionError naming each node of which it is not known."""
    faults = []
    for name, each in facts.items():
        node = spec.nodes[name]
        if len(spec.network.pod_cidrs) < 2 or not node.node or node.second_address:
            continue
        found = _found(node.address, each)
        family = "IPv4" if ":" in node.address else "IPv6"
        if not found:
            faults.append(f"{name}: pods have {family} addresses, and the node's link has none")
        elif len(found) > 1:
            faults.append(f"{name}: its link has several {family} addresses ({', '.join(found)})")
    if faults:
        raise ProvisionError(
            "\n".join(faults), "give the nodes one each, and write it as node_address_second"
        )


def check_autodetection(spec: ClusterSpec, facts: Mapping[str, Facts]) -> None:
    """Raises ProvisionError naming each node for whose address Calico would take another one: of a link that is there
    for logging in, say, or one that several hosts share. Nodes would then send to where the others are not."""
    calico = spec.network.calico
    if spec.network.plugin != "calico":
        return
    faults = []
    for name, each in facts.items():
        for own in map(
            ipaddress.ip_address, node_addresses(spec, name, each) if spec.nodes[name].node else ()
        ):
            try:
                found = found_by(calico.method(own.version), each, own.version)
            except LookupError:
                continue
            if found is None:
                faults.append(f"{name}: {calico.autodetection} finds no IPv{own.version} address")
            elif found[1] != own and _has(own, each):
                faults.append(
                    f"{name}: {calico.autodetection} finds {found[1]} on {found[0]}, the others know it by {own}"
                )
    if faults:
        hint = f"set network.calico.autodetection: {AUTODETECTION}, which is the address that others know"
        raise ProvisionError("\n".join(faults), hint)


def _has(own: Address, facts: Facts) -> bool:
    """Not one that is translated on the way, as some clouds do."""
    return any(
        ipaddress.ip_interface(each).ip == own for written in facts.addresses.values() for each in written
    )


def _found(address: str, facts: Facts) -> tuple[str, ...]:
    """Of the other family, on the link that has the address; what is good on the link alone does not count."""
    own = ipaddress.ip_address(address)
    for written in facts.addresses.values():
        on_link = [ipaddress.ip_interface(each).ip for each in written]
        if own in on_link:
            return tuple(
                str(each) for each in on_link if each.version != own.version and not each.is_link_local
            )
    return ()
