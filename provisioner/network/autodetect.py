"""Which address Calico takes for a node's, by a method of its own: told from the links before anything runs.

Facts: Calico 3.28, node/pkg/lifecycle/startup/autodetection. Links are looked at from the last one to the first, names
are matched anywhere, and the first address that is good beyond the link and the host counts.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence

from provisioner.inventory.addresses import is_ip
from provisioner.playbook.facts import Facts
from provisioner.spec.goregexp import compiled
from provisioner.spec.model import Network

_NEVER = (
    "^(?:docker|cbr|dummy|podman|virbr|lxcbr|veth|lo|br-|cali|tunl|flannel|kube-ipvs|cni|nodelocaldns)",
    r"^(?:vxlan\.calico|vxlan-v6\.calico|wireguard\.cali|wg-v6\.cali)",
)
"""Links that first-found and skip-interface pass over."""
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def found_by(method: str, facts: Facts, version: int) -> tuple[str, Address] | None:
    """Link and address; None where nothing is found. Raises LookupError where links do not tell: kubernetes-internal-ip
    is the kubelet's word, and can-reach of a name the name servers'."""
    name, _, value = method.partition("=")
    words = re.split(r"\s*,\s*", value)
    if name == "first-found":
        return next(_candidates(facts, version, but=_NEVER), None)
    if name == "interface":
        return next(_candidates(facts, version, only=words), None)
    if name == "skip-interface":
        return next(_candidates(facts, version, but=(*_NEVER, *words)), None)
    if name == "cidr":
        networks = [ipaddress.ip_network(each, strict=False) for each in words]
        fit = (
            each for each in _candidates(facts, version) if any(each[1] in network for network in networks)
        )
        return next(fit, None)
    if name == "can-reach" and value in facts.towards:
        link, address = facts.towards[value] or ("", "")
        return (link, ipaddress.ip_address(address)) if link else None
    raise LookupError(method)


def target_of(network: Network) -> str:
    """The address whose way tells the plug-in its link; "" where it goes by something else, or by a name."""
    if network.carrier == "flannel":
        return network.flannel.can_reach or ""
    name, _, value = network.calico.autodetection.partition("=")
    return value if network.carrier == "calico" and name == "can-reach" and is_ip(value) else ""


def _candidates(
    facts: Facts, version: int, only: Sequence[str] = (), but: Sequence[str] = ()
) -> Iterator[tuple[str, Address]]:
    for link, written in reversed(list(facts.addresses.items())):
        if (only and not _matches(only, link)) or _matches(but, link):
            continue
        for each in written:
            address = ipaddress.ip_interface(each).ip
            local = address.is_loopback or address.is_link_local or address.is_multicast
            if address.version == version and not local and not address.is_unspecified:
                yield link, address


def _matches(patterns: Sequence[str], link: str) -> bool:
    return any(compiled(each).search(link) for each in patterns)
