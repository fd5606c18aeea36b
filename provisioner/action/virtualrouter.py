"""The load balancers' virtual router (VRRP, RFC 5798): who is in it, in which order, and on which link."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from provisioner.errors import InputError, Problem, ProvisionError
from provisioner.inventory.model import Inventory
from provisioner.playbook.facts import Facts
from provisioner.resources.owned import parse_owned
from provisioner.spec.model import ClusterSpec

FIRST_PRIORITY = 200
"""Of the first load balancer; each further one has one less. 255 is for who owns the address (RFC 5798, 5.2.4)."""


BALANCES = "systemd:api-load-balancer.service"
SHARES = "systemd:keepalived.service"
"""What a host owns (playbooks/load-balancer.yaml) that balances, and that has the VIP together with others."""


@dataclass(frozen=True)
class VirtualRouter:
    """One load balancer's part. `vip` has the prefix length of a single address, so that no second route to the link's
    network comes with it."""

    vip: str
    id: int
    link: str
    address: str
    priority: int
    peers: tuple[str, ...]


def virtual_router(
    spec: ClusterSpec, balancers: Sequence[str], host: str, facts: Facts
) -> VirtualRouter | None:
    """None for a host that has no part in it."""
    vip = spec.load_balancer.vip
    if vip is None or host not in balancers:
        return None
    return VirtualRouter(
        vip=f"{vip}/{ipaddress.ip_address(vip).max_prefixlen}",
        id=spec.load_balancer.virtual_router_id,
        link=link_of(vip, facts) or facts.default_link,
        address=spec.nodes[host].address,
        priority=FIRST_PRIORITY - balancers.index(host),
        peers=tuple(spec.nodes[each].address for each in balancers if each != host),
    )


def link_of(vip: str, facts: Facts) -> str | None:
    """The link in whose network the address lies; that it has it already does not count."""
    address = ipaddress.ip_address(vip)
    for link, written in facts.addresses.items():
        for each in map(ipaddress.ip_interface, written):
            if each.network.prefixlen < address.max_prefixlen and address in each.network:
                return link
    return None


def check_virtual_address(spec: ClusterSpec, balancers: Sequence[str], facts: Mapping[str, Facts]) -> None:
    """Raises ProvisionError naming the load balancers with no link in the VIP's network, those that are known by an
    address of another link, or who else has the VIP."""
    vip = spec.load_balancer.vip
    if vip is None:
        return
    strangers = [host for host in balancers if host in facts and link_of(vip, facts[host]) is None]
    if strangers:
        said = "; ".join(f"{host} has {', '.join(_networks(facts[host]))}" for host in strangers)
        raise ProvisionError(
            f"the virtual address {vip} lies in no network of {', '.join(strangers)}: {said}",
            "it moves between hosts on one link: choose a free address of that link's network as cluster.endpoint.host",
        )
    _check_heard(spec, vip, [host for host in balancers if host in facts], facts)
    _check_silent(vip, balancers, facts)


def _check_heard(spec: ClusterSpec, vip: str, balancers: Sequence[str], facts: Mapping[str, Facts]) -> None:
    """keepalived binds to the VIP's link (unicast too: keepalived.conf(5), interface) and its peers send to node
    addresses: on another link they would not be heard, and each would take the VIP. Both are of one IP family."""
    family = ipaddress.ip_address(vip).version
    faults = []
    for host in balancers:
        link, address = link_of(vip, facts[host]), spec.nodes[host].address
        there = [ipaddress.ip_interface(each).ip for each in facts[host].addresses.get(link or "", ())]
        same = [each for each in there if each.version == family]
        if ipaddress.ip_address(address) not in same:
            has = ", ".join(str(each) for each in same if not each.is_link_local and str(each) != vip)
            faults.append(
                f"{host} is {address}, and its link {link}, which is to carry the virtual address {vip}, has {has}"
            )
    if faults:
        raise ProvisionError(
            "\n".join(faults),
            "load balancers hear each other on that link only: set their node_address to their address there, or "
            "choose cluster.endpoint.host in the network of their node_address",
        )


def _check_silent(vip: str, balancers: Sequence[str], facts: Mapping[str, Facts]) -> None:
    """Nobody answers for the VIP, unless it is one of ours: where one has it, or was given it by an earlier run, the
    others hear that one. Of a load balancer that was not read nothing is known."""
    known = [facts[host] for host in balancers if host in facts]
    if len(known) < len(balancers) or any(each.claimed == "kept" or has_address(vip, each) for each in known):
        return
    claims = {facts[host].claimed: host for host in reversed(balancers) if facts[host].claimed}
    if not claims:
        return
    owners = [host for host, each in facts.items() if has_address(vip, each)]
    who = ", ".join(owners) or "another machine"
    said = ", ".join(f"{mac} answers {host} for it" for mac, host in claims.items())
    raise ProvisionError(
        f"the virtual address {vip} is taken by {who}: {said}",
        "choose a free address of that network as cluster.endpoint.host, or take it from that machine",
    )


def strangers_of(spec: ClusterSpec, facts: Mapping[str, Facts]) -> dict[str, list[str]]:
    """By address, peers that load balancers had until now and that are no host of the inventory, and whose they were:
    while such a one runs it takes the VIP beside those who do not hear it any more."""
    known = {node.address for node in spec.nodes.values()}
    found: dict[str, list[str]] = {}
    for host, each in facts.items():
        if SHARES in parse_owned(each.owned):
            for peer in each.peers:
                if peer not in known:
                    found.setdefault(peer, []).append(host)
    return found


def check_peers_are_cleared(inventory: Inventory, spec: ClusterSpec, facts: Mapping[str, Facts]) -> None:
    """A host of the inventory that balanced until now, and has no part in this run: nothing would stop its keepalived,
    which takes the VIP as soon as the others are told that it is no peer. Raises InputError at such hosts."""
    peers = {peer for each in facts.values() if SHARES in parse_owned(each.owned) for peer in each.peers}
    balancing = {host.name for host in inventory.group("load_balancer")}
    problems = []
    for name, host in inventory.hosts.items():
        if name in facts or name in balancing or host.connection.address not in peers:
            continue
        place = inventory.sources.names.get(name, (str(inventory.path), 0, 0))
        reason = f"{name} was a load balancer, and its keepalived would take {spec.load_balancer.vip} beside the others"
        hint = (
            f"put it back into load_balancer, and take it out by `provision remove {inventory.path} {name}`"
        )
        if spec.existing is not None:
            hint = f"on {name}: systemctl disable --now keepalived api-load-balancer; then leave it out here"
        problems.append(Problem(*place, reason, hint))
    if problems:
        raise InputError(problems)


def has_address(vip: str, facts: Facts) -> bool:
    """Whether one of the host's links has the address now."""
    return any(
        ipaddress.ip_interface(each).ip == ipaddress.ip_address(vip)
        for written in facts.addresses.values()
        for each in written
    )


def _networks(facts: Facts) -> list[str]:
    found = [ipaddress.ip_interface(each) for written in facts.addresses.values() for each in written]
    return [str(each.network) for each in found if not each.ip.is_loopback and not each.ip.is_link_local]
