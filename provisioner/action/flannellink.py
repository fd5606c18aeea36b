"""Whether the link that flannel sends by, and whose address it tells the others, is the one that they know a node by.

Facts: flannel 0.28, pkg/ipmatch/match.go (LookupExtIface) and pkg/ip/iface.go.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping

from provisioner.action.families import node_addresses
from provisioner.errors import ProvisionError
from provisioner.network.flannel import goes_by_node_address
from provisioner.network.mtu import link_of, link_with
from provisioner.playbook.facts import Facts
from provisioner.spec.model import ClusterSpec


def check_flannel_link(spec: ClusterSpec, facts: Mapping[str, Facts]) -> None:
    """Raises ProvisionError naming each node on which flannel would take a link without the node's address: that of the
    default route, say, which is there for logging in, or has one address on all hosts. What is tried between hosts goes
    to the node's address, and says nothing of another link."""
    if spec.network.carrier != "flannel":
        return
    faults: list[str] = []
    links: dict[str, None] = {}
    for name, each in facts.items():
        addresses = node_addresses(spec, name, each) if spec.nodes[name].node else ()
        for address in addresses:
            own = link_with(address, each)
            # One that no link has is translated on the way, as some clouds do.
            if own and (why := _elsewhere(spec, name, each, address)):
                faults.append(f"{name}: {why}, the others know it by {address} on {own}")
                links[own] = None
    if faults:
        raise ProvisionError("\n".join(dict.fromkeys(faults)), _hint(list(links)))


def _elsewhere(spec: ClusterSpec, name: str, facts: Facts, address: str) -> str:
    """What flannel finds where that is not the link of the address; "" where it is, or links do not tell."""
    six = ":" in address
    try:
        link, said = _found(spec, name, facts, six=six)
    except LookupError:
        return ""
    there = [each for each in _on(link, facts) if (":" in each) == six]
    if str(ipaddress.ip_address(address)) in there:
        return ""
    return f"{said} ({', '.join(there) or f'without an IPv{6 if six else 4} address'})"


def _found(spec: ClusterSpec, name: str, facts: Facts, *, six: bool) -> tuple[str, str]:
    """A link, "" for none, and how flannel comes to it. Raises LookupError where links do not tell: of default routes
    that of IPv4 alone is known. With two families flannel wants one link for both."""
    flannel = spec.network.flannel
    if flannel.can_reach:
        link = next(iter(facts.towards[flannel.can_reach]), "")
        return link, f"flannel.can_reach: {flannel.can_reach} leads to {link or 'no link'}"
    if flannel.interface or flannel.interface_regex:
        key = "interface" if flannel.interface else "interface_regex"
        link = link_of(spec, name, facts)
        return link, f"flannel.{key} means {link or 'no link'}"
    if goes_by_node_address(spec):
        own = link_with(spec.nodes[name].address, facts)
        return own, f"flannel takes the link of the node's address, {own}"
    if six and len(spec.network.pod_cidrs) == 1:
        raise LookupError
    if not facts.default_link:
        return "", "flannel looks for the link of the default route, and there is none"
    return facts.default_link, f"flannel takes the link of the default route, {facts.default_link}"


def _on(link: str, facts: Facts) -> Iterator[str]:
    return (str(ipaddress.ip_interface(each).ip) for each in facts.addresses.get(link, ()))


def _hint(links: list[str]) -> str:
    if len(links) == 1:
        return f"set network.flannel.interface: {links[0]}"
    return f"set network.flannel.interface_regex: ^({'|'.join(map(re.escape, links))})$"
