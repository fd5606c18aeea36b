"""A node's address of the second IP family, where pods have two: without it the kubelet tells of one, and the plug-in
finds none."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from provisioner.errors import ProvisionError
from provisioner.playbook.facts import Facts
from provisioner.spec.model import ClusterSpec


def node_addresses(spec: ClusterSpec, name: str, facts: Facts) -> tuple[str, ...]:
    """The node's addresses, that of the first family first: what is written, else the only one that its link has."""
    node = spec.nodes[name]
    if len(spec.network.pod_cidrs) < 2 or not node.node:
        return (node.address,)
    found = (node.second_address,) if node.second_address else _found(node.address, facts)
    return (node.address, *(found if len(found) == 1 else ()))


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
